//! Two runs of the same requests, compared field by field; and which differences are meant.

use crate::answer::{Answer, Exchange};
use crate::script::{NEWEST, OLDEST};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// A field that the two answer differently.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
pub(crate) struct Difference {
    file: String,
    request: String,
    /// A JSON pointer into the answer: `/status`, `/headers/…`, `/body/…`.
    field: String,
    dockerd: String,
    hull: String,
    versions: Vec<u16>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            request,
            field,
            dockerd,
            hull,
            ..
        } = self;
        write!(f, "{file} | {request} | {field}")?;
        if let (Some(first), Some(last)) = (self.versions.first(), self.versions.last()) {
            write!(f, " (1.{first} … 1.{last})")?;
        }
        write!(f, "\n      dockerd: {dockerd}\n         hull: {hull}")
    }
}

/// Where `ours` differs from what dockerd answered.
pub(crate) fn differences(file: &str, dockerd: &[Exchange], ours: &[Exchange]) -> Vec<Difference> {
    let lines = |list: &[Exchange]| {
        list.iter()
            .map(|one| one.request.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines(dockerd),
        lines(ours),
        "{file}: record it anew, the requests have changed"
    );
    let mut found: BTreeMap<(usize, String, String, String), Vec<u16>> = BTreeMap::new();
    for (at, (dockerd, ours)) in dockerd.iter().zip(ours).enumerate() {
        let versions = (OLDEST..=NEWEST).map(Some).chain([None]);
        for version in versions {
            // A version that was not asked in may lie in a run of equal answers of the one and between two of the other.
            let (Some(theirs), Some(mine)) = (dockerd.of(version), ours.of(version)) else {
                continue;
            };
            let mut fields = Vec::new();
            walk("", &value(theirs), &value(mine), &mut fields);
            for (field, theirs, mine) in fields {
                let versions = found.entry((at, field, theirs, mine)).or_default();
                versions.extend(version);
            }
        }
    }
    let difference =
        |((at, field, theirs, mine), versions): ((usize, String, String, String), Vec<u16>)| {
            Difference {
                file: file.to_owned(),
                request: dockerd[at].request.clone(),
                field,
                dockerd: theirs,
                hull: mine,
                versions,
            }
        };
    found.into_iter().map(difference).collect()
}

fn value(answer: &Answer) -> Value {
    let mut answer = answer.clone();
    answer.versions = None;
    serde_json::to_value(answer).expect("an answer is JSON")
}

/// Goes down both values; what only one has is `absent` in the other.
fn walk(at: &str, left: &Value, right: &Value, found: &mut Vec<(String, String, String)>) {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            for (name, value) in left {
                let at = format!("{at}/{}", name.replace('/', "~1"));
                match right.get(name) {
                    Some(other) => walk(&at, value, other, found),
                    None => found.push((at, value.to_string(), "absent".to_owned())),
                }
            }
            for (name, value) in right.iter().filter(|(name, _)| !left.contains_key(*name)) {
                found.push((
                    format!("{at}/{}", name.replace('/', "~1")),
                    "absent".to_owned(),
                    value.to_string(),
                ));
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (number, (left, right)) in left.iter().zip(right).enumerate() {
                walk(&format!("{at}/{number}"), left, right, found);
            }
        }
        _ if left == right => {}
        _ => found.push((at.to_owned(), left.to_string(), right.to_string())),
    }
}

/// A line of `differs.txt`: where, and why.
struct Meant {
    file: String,
    request: String,
    field: String,
    /// Not meant for ever: its reason begins so.
    pending: bool,
    used: bool,
}

impl Meant {
    fn covers(&self, difference: &Difference) -> bool {
        matches(&self.file, &difference.file)
            && matches(&self.request, &difference.request)
            && matches(&self.field, &difference.field)
    }
}

/// Whether a text fits a pattern with `*` for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Fails on differences that are not listed; tells of (`whole`) listed ones that are none.
pub(crate) fn judge(found: &[Difference], listed: &str, whole: bool) {
    let lines = listed
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut meant: Vec<Meant> = lines
        .map(|line| {
            let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let [file, request, field, why] = parts[..] else {
                panic!("differs.txt: not `file | request | field | why`: {line}");
            };
            assert!(!why.is_empty(), "differs.txt: say why: {line}");
            Meant {
                file: file.to_owned(),
                request: request.to_owned(),
                field: field.to_owned(),
                pending: why.starts_with("pending"),
                used: false,
            }
        })
        .collect();
    let strict = std::env::var_os("HULL_TEST_STRICT").is_some();
    if strict {
        meant.retain(|line| !line.pending);
    }
    let mut wrong = String::new();
    for difference in found {
        let mut covered = false;
        for line in meant.iter_mut().filter(|line| line.covers(difference)) {
            line.used = true;
            covered = true;
        }
        if !covered {
            wrong.push_str(&format!("{difference}\n"));
        }
    }
    for line in meant.iter().filter(|line| whole && !line.used) {
        let Meant {
            file,
            request,
            field,
            ..
        } = line;
        let told = format!("differs.txt: differs no more: {file} | {request} | {field}");
        if strict {
            wrong.push_str(&told);
        } else {
            println!("{told}");
        }
    }
    assert!(
        wrong.is_empty(),
        "answers differ from dockerd's (or run with HULL_TEST_RECORD=1 on dockerd):\n{wrong}"
    );
}

#[test]
fn patterns_have_stars() {
    assert!(
        matches("*", "anything")
            && matches("a*c", "abc")
            && matches("a*b*c", "a1b2c")
            && matches("ab", "ab")
    );
    assert!(!matches("a*c", "ab") && !matches("ab", "abc") && !matches("a*b*c", "acb"));
}
