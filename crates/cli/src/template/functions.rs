//! The functions of templates: Go's own and Docker's.

use super::data::Data;
use crate::format::quote;
use std::cmp::Ordering;

const KNOWN: &[&str] = &[
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
];

pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Go's name of a value's type.
pub(super) fn type_name(value: &Data) -> &'static str {
    match value {
        Data::Null => "interface {}",
        Data::Bool(_) => "bool",
        Data::Int(_) => "int",
        Data::Float(_) => "float64",
        Data::Text(_) => "string",
        Data::List(_) => "[]interface {}",
        Data::Object(_) => "map[string]interface {}",
        Data::Record(record) => record.type_name,
    }
}

/// Calls a function. In the heading of a table, those that change their argument do not.
pub(super) fn call(name: &str, mut args: Vec<Data>, header: bool) -> Result<Data, String> {
    if header
        && matches!(
            name,
            "json" | "split" | "join" | "title" | "lower" | "upper" | "pad" | "truncate"
        )
    {
        return Ok(if args.is_empty() {
            Data::Null
        } else {
            args.swap_remove(0)
        });
    }
    match (name, args.as_slice()) {
        ("json", [value]) => Ok(value.to_json().into()),
        ("join", [Data::List(items), separator]) => {
            let items: Vec<String> = items.iter().map(Data::to_string).collect();
            Ok(items.join(&separator.to_string()).into())
        }
        ("split", [Data::Text(text), Data::Text(separator)]) => Ok(Data::List(
            text.split(separator.as_str()).map(Data::from).collect(),
        )),
        ("lower", [value]) => Ok(value.to_string().to_lowercase().into()),
        ("upper", [value]) => Ok(value.to_string().to_uppercase().into()),
        ("title", [value]) => Ok(title(&value.to_string()).into()),
        ("pad", [value, Data::Int(before), Data::Int(after)]) => {
            let text = value.to_string();
            let spaces = |count: &i64| " ".repeat(usize::try_from(*count).unwrap_or_default());
            Ok(if text.is_empty() {
                text.into()
            } else {
                format!("{}{text}{}", spaces(before), spaces(after)).into()
            })
        }
        ("truncate", [Data::Text(text), Data::Int(count)]) => {
            let count = usize::try_from(*count).unwrap_or_default();
            Ok(text.chars().take(count).collect::<String>().into())
        }
        ("print", values) => Ok(print(values).into()),
        ("println", values) => {
            let words: Vec<String> = values.iter().map(Data::to_string).collect();
            Ok(format!("{}\n", words.join(" ")).into())
        }
        ("printf", [Data::Text(format), values @ ..]) => Ok(printf(format, values).into()),
        ("len", [value]) => len(value),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), index),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("not", [value]) => Ok(Data::Bool(!value.is_true())),
        ("and", [.., _]) => Ok(pick(args, |value| !value.is_true())),
        ("or", [.., _]) => Ok(pick(args, Data::is_true)),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Ok(Data::Bool(others.iter().any(|other| same(first, other))))
        }
        ("ne", [first, second]) => Ok(Data::Bool(!same(first, second))),
        ("lt", [first, second]) => ordered(first, second).map(|o| Data::Bool(o.is_lt())),
        ("le", [first, second]) => ordered(first, second).map(|o| Data::Bool(o.is_le())),
        ("gt", [first, second]) => ordered(first, second).map(|o| Data::Bool(o.is_gt())),
        ("ge", [first, second]) => ordered(first, second).map(|o| Data::Bool(o.is_ge())),
        _ => Err(format!("wrong number or type of args for {name}")),
    }
}

/// The first argument that decides, else the last.
fn pick(args: Vec<Data>, decides: impl Fn(&Data) -> bool) -> Data {
    let mut last = Data::Null;
    for value in args {
        let done = decides(&value);
        last = value;
        if done {
            break;
        }
    }
    last
}

fn same(first: &Data, second: &Data) -> bool {
    match (first, second) {
        (Data::Int(a), Data::Float(b)) | (Data::Float(b), Data::Int(a)) => {
            a.to_string() == b.to_string()
        }
        _ => first == second,
    }
}

fn ordered(first: &Data, second: &Data) -> Result<Ordering, String> {
    let incompatible = || "incompatible types for comparison".to_owned();
    match (first, second) {
        (Data::Int(a), Data::Int(b)) => Ok(a.cmp(b)),
        (Data::Float(a), Data::Float(b)) => a.partial_cmp(b).ok_or_else(incompatible),
        (Data::Text(a), Data::Text(b)) => Ok(a.cmp(b)),
        _ => Err(incompatible()),
    }
}

fn len(value: &Data) -> Result<Data, String> {
    let count = match value {
        Data::Text(text) => text.len(),
        Data::List(items) => items.len(),
        Data::Object(members) => members.len(),
        Data::Null => 0,
        other => {
            return Err(format!(
                "error calling len: len of type {}",
                type_name(other)
            ));
        }
    };
    Ok(Data::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

fn index(value: Data, key: &Data) -> Result<Data, String> {
    match (&value, key) {
        (Data::List(items), Data::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| items.get(at).cloned())
            .ok_or_else(|| format!("error calling index: index out of range: {at}")),
        (Data::Object(members), Data::Text(name)) => {
            let found = members.iter().find(|(known, _)| known == name);
            // A missing key gives the zero value: of most of Docker's maps, the empty string.
            Ok(found.map_or_else(|| Data::from(""), |(_, value)| value.clone()))
        }
        (Data::Null, _) => Err("error calling index: index of untyped nil".to_owned()),
        _ => Err(format!(
            "error calling index: can't index item of type {}",
            type_name(&value)
        )),
    }
}

fn slice(value: &Data, bounds: &[Data]) -> Result<Data, String> {
    let out_of_range = || "error calling slice: index out of range".to_owned();
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Data::Int(number)) => usize::try_from(*number).map_err(|_| out_of_range()),
        Some(_) => Err("error calling slice: cannot index slice/array with that type".to_owned()),
    };
    match value {
        Data::Text(text) => {
            let (from, to) = (bound(0, 0)?, bound(1, text.len())?);
            text.get(from..to).map(Data::from).ok_or_else(out_of_range)
        }
        Data::List(items) => {
            let (from, to) = (bound(0, 0)?, bound(1, items.len())?);
            let part = items.get(from..to).ok_or_else(out_of_range)?;
            Ok(Data::List(part.to_vec()))
        }
        other => Err(format!(
            "error calling slice: can't slice item of type {}",
            type_name(other)
        )),
    }
}

/// Go's `Print`: spaces between operands when neither is a string.
fn print(values: &[Data]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        let is_text = |value: &Data| matches!(value, Data::Text(_));
        if at > 0 && !is_text(value) && !is_text(&values[at - 1]) {
            out.push(' ');
        }
        out.push_str(&value.to_string());
    }
    out
}

/// Go's `Printf` with the verbs that make sense here, widths, precisions and the flags `-` and `0`.
fn printf(format: &str, values: &[Data]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let spec = &rest[at + 1..];
        let Some(end) = spec.find(|c: char| c.is_ascii_alphabetic() || c == '%') else {
            out.push_str("%!(NOVERB)");
            return out;
        };
        let verb = spec.as_bytes()[end];
        rest = &spec[end + 1..];
        if verb == b'%' {
            out.push('%');
            continue;
        }
        match values.next() {
            Some(value) => out.push_str(&formatted(value, verb, &spec[..end])),
            None => {
                out.push_str("%!");
                out.push(char::from(verb));
                out.push_str("(MISSING)");
            }
        }
    }
    out.push_str(rest);
    out
}

fn formatted(value: &Data, verb: u8, spec: &str) -> String {
    let left = spec.starts_with('-');
    let spec = spec.trim_start_matches(['-', '+', '#', ' ']);
    let zero = spec.starts_with('0');
    let (width, precision) = spec.split_once('.').unwrap_or((spec, ""));
    let width: usize = width.parse().unwrap_or_default();
    let precision: Option<usize> = precision.parse().ok();
    let mut text = match (verb, value) {
        (b'q', _) => quote(&value.to_string()),
        (b'x', Data::Int(number)) => format!("{number:x}"),
        (b'o', Data::Int(number)) => format!("{number:o}"),
        (b'f', Data::Float(number)) => format!("{number:.*}", precision.unwrap_or(6)),
        (b't' | b'd' | b's' | b'v', _) => value.to_string(),
        _ => format!("%!{}({}={value})", char::from(verb), type_name(value)),
    };
    if verb == b's'
        && let Some(max) = precision
    {
        text = text.chars().take(max).collect();
    }
    match (left, zero && verb == b'd') {
        (true, _) => format!("{text:<width$}"),
        (false, true) => format!("{text:0>width$}"),
        (false, false) => format!("{text:>width$}"),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let upper = start && c.is_alphabetic();
            start = c.is_whitespace();
            if upper { c.to_ascii_uppercase() } else { c }
        })
        .collect()
}
