//! Two images as values, compared by lines; and which differences are meant.

use crate::ask::Way;
use crate::directory;
use serde_json::Value;
use std::fmt;

/// A line that only one of the two has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    case: String,
    way: Way,
    line: String,
    /// Whether it is listed.
    pub(crate) meant: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({:?}): {}", self.case, self.way, self.line)
    }
}

/// What docker has and Hull has not (`-`), and the other way round (`+`).
pub(crate) fn differences(case: &str, way: Way, docker: &Value, ours: &Value) -> Vec<Difference> {
    let mut lines = Vec::new();
    walk("", docker, ours, &mut lines);
    let listed = listed();
    let difference = |line: String| Difference {
        case: case.to_owned(),
        way,
        meant: listed.iter().any(|meant| meant.covers(case, &line)),
        line,
    };
    lines.into_iter().map(difference).collect()
}

fn walk(at: &str, docker: &Value, ours: &Value, lines: &mut Vec<String>) {
    match (docker, ours) {
        (Value::Object(left), Value::Object(right)) => {
            let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (left, right) = (of(left), of(right));
                let at = format!("{at}/{key}");
                match (left, right) {
                    (Some(left), Some(right)) => walk(&at, &left, &right, lines),
                    (left, right) => {
                        lines.extend(left.map(|value| format!("- {at} {value}")));
                        lines.extend(right.map(|value| format!("+ {at} {value}")));
                    }
                }
            }
        }
        (Value::Array(left), Value::Array(right)) if left.iter().all(Value::is_string) => {
            let only = |list: &[Value], other: &[Value]| -> Vec<Value> {
                list.iter()
                    .filter(|one| !other.contains(one))
                    .cloned()
                    .collect()
            };
            let (missing, more) = (only(left, right), only(right, left));
            if missing.is_empty() && more.is_empty() && left != right {
                lines.push(format!("- {at} {docker} in this order\n+ {ours}"));
            }
            let line = |sign: char, value: &Value| {
                format!("{sign} {at} {}", value.as_str().unwrap_or_default())
            };
            lines.extend(missing.iter().map(|value| line('-', value)));
            lines.extend(more.iter().map(|value| line('+', value)));
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (number, (left, right)) in left.iter().zip(right).enumerate() {
                walk(&format!("{at}/{number}"), left, right, lines);
            }
        }
        _ if docker == ours => {}
        _ => {
            lines.push(format!("- {at} {docker}"));
            lines.push(format!("+ {at} {ours}"));
        }
    }
}

/// A line of `differs.txt`: `case | part of the line | why`.
struct Meant {
    case: String,
    part: String,
}

impl Meant {
    fn covers(&self, case: &str, line: &str) -> bool {
        (self.case == "*" || self.case == case) && line.contains(&self.part)
    }
}

fn listed() -> Vec<Meant> {
    let text = fs_err::read_to_string(directory().join("differs.txt")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let meant = lines.map(|line| {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [case, part, _why] = parts[..] else {
            panic!("differs.txt: not `case | part of the line | why`: {line}");
        };
        Meant {
            case: case.to_owned(),
            part: part.to_owned(),
        }
    });
    meant.collect()
}

/// Tells of listed differences that are none any more.
pub(crate) fn tell_unused(seen: &[Difference]) {
    if std::env::var_os("HULL_TEST_ONLY").is_some() {
        return;
    }
    for meant in listed() {
        if !seen.iter().any(|one| meant.covers(&one.case, &one.line)) {
            println!(
                "differs.txt: differs no more: {} | {}",
                meant.case, meant.part
            );
        }
    }
}
