//! The functions of templates: Go's own and Docker's.

use crate::compare;
use crate::data::Data;
use crate::printf::{print, printf, println};
use crate::quote;

const KNOWN: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower",
    "lt", "ne", "not", "or", "pad", "print", "printf", "println", "slice", "split", "title",
    "truncate", "upper", "urlquery",
];

/// The most that `pad` adds.
const WIDEST: i64 = 1_000_000;

pub(crate) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Go's name of a value's type.
pub(crate) fn type_name(value: &Data) -> &'static str {
    match value {
        Data::Null | Data::Missing => "interface {}",
        Data::Bool(_) => "bool",
        Data::Int(_) => "int",
        Data::Float(_) => "float64",
        Data::Text(_) => "string",
        Data::List(_) | Data::NullOf(crate::data::Empty::List) => "[]interface {}",
        Data::Object(_) | Data::Struct(..) | Data::NullOf(crate::data::Empty::Map) => {
            "map[string]interface {}"
        }
        Data::Record(record) => record.type_name,
    }
}

/// What is wrong with a call.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The function says so itself.
    Calling(String),
    /// The number of arguments: at least or exactly how many are wanted.
    Count { least: bool, want: usize },
    /// The argument of this number is not what is taken.
    Argument(usize, &'static str),
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self::Calling(message)
    }
}

/// How many arguments a function takes: at least, and at most.
fn arity(name: &str) -> (usize, Option<usize>) {
    match name {
        "json" | "lower" | "upper" | "title" | "len" | "not" => (1, Some(1)),
        "join" | "split" | "truncate" | "ne" | "lt" | "le" | "gt" | "ge" => (2, Some(2)),
        "pad" => (3, Some(3)),
        "print" | "println" | "html" | "js" | "urlquery" => (0, None),
        _ => (1, None),
    }
}

/// Functions that, in the heading of a table, leave their argument as it is.
fn changes_nothing_in_headings(name: &str) -> bool {
    matches!(
        name,
        "json" | "split" | "join" | "title" | "lower" | "upper" | "pad" | "truncate"
    )
}

/// Calls a function.
pub(crate) fn call(name: &str, mut args: Vec<Data>, header: bool) -> Result<Data, Failed> {
    let (least, most) = arity(name);
    if args.len() < least || most.is_some_and(|most| args.len() > most) {
        let least = most.is_none();
        let want = arity(name).0;
        return Err(Failed::Count { least, want });
    }
    if header && changes_nothing_in_headings(name) {
        return Ok(args.swap_remove(0));
    }
    match name {
        "json" => Ok(args[0].to_json().into()),
        "lower" => Ok(text(&args, 0)?.to_lowercase().into()),
        "upper" => Ok(text(&args, 0)?.to_uppercase().into()),
        "title" => Ok(title(text(&args, 0)?).into()),
        "join" | "split" | "pad" | "truncate" => dockers(name, &args),
        "print" => Ok(print(&args).into()),
        "println" => Ok(println(&args).into()),
        "printf" => Ok(printf(text(&args, 0)?, &args[1..]).into()),
        "html" => Ok(html(&words(&args)).into()),
        "js" => Ok(js(&words(&args)).into()),
        "urlquery" => Ok(urlquery(&words(&args)).into()),
        "call" => Err(format!("non-function {} of type {}", args[0], type_name(&args[0])).into()),
        "len" => Ok(len(&args[0])?),
        "index" => Ok(args[1..].iter().try_fold(args[0].clone(), index)?),
        "slice" => Ok(slice(&args[0], &args[1..])?),
        "not" => Ok(Data::Bool(!args[0].is_true())),
        "and" => Ok(pick(args, |value| !value.is_true())),
        "or" => Ok(pick(args, Data::is_true)),
        "eq" => Ok(Data::Bool(compare::equal(&args[0], &args[1..])?)),
        "ne" => Ok(Data::Bool(!compare::equal(&args[0], &args[1..])?)),
        _ => {
            let order = compare::order(&args[0], &args[1])?;
            Ok(Data::Bool(order.is_some_and(|order| match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            })))
        }
    }
}

fn text(args: &[Data], at: usize) -> Result<&str, Failed> {
    match &args[at] {
        Data::Text(text) => Ok(text),
        _ => Err(Failed::Argument(at, "string")),
    }
}

fn int(args: &[Data], at: usize) -> Result<i64, Failed> {
    match &args[at] {
        Data::Int(number) => Ok(*number),
        _ => Err(Failed::Argument(at, "int")),
    }
}

/// A text as it is, several values as `print` does.
fn words(args: &[Data]) -> String {
    print(args)
}

fn dockers(name: &str, args: &[Data]) -> Result<Data, Failed> {
    match name {
        "join" => {
            let items = match &args[0] {
                Data::List(items) => items.as_slice(),
                Data::NullOf(_) | Data::Null => &[],
                _ => return Err(Failed::Argument(0, "[]string")),
            };
            let items: Vec<String> = items.iter().map(Data::to_string).collect();
            Ok(items.join(text(args, 1)?).into())
        }
        "split" => {
            let (whole, separator) = (text(args, 0)?, text(args, 1)?);
            // Rust gives an empty piece at either end, Go none.
            let pieces = match separator {
                "" => whole.chars().map(|c| c.to_string().into()).collect(),
                _ => whole.split(separator).map(Data::from).collect(),
            };
            Ok(Data::List(pieces))
        }
        "pad" => {
            let whole = text(args, 0)?;
            let spaces = |count: i64| {
                let count = usize::try_from(count.clamp(0, WIDEST)).unwrap_or_default();
                " ".repeat(count)
            };
            let (before, after) = (int(args, 1)?, int(args, 2)?);
            Ok(match whole {
                "" => "".into(),
                _ => format!("{}{whole}{}", spaces(before), spaces(after)).into(),
            })
        }
        _ => {
            let (whole, count) = (text(args, 0)?, int(args, 1)?);
            let count = usize::try_from(count).unwrap_or_default();
            // Bytes, as Docker counts them, but never half a character.
            let mut end = count.min(whole.len());
            while !whole.is_char_boundary(end) {
                end -= 1;
            }
            Ok(whole[..end].into())
        }
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

fn len(value: &Data) -> Result<Data, String> {
    let count = match value {
        Data::Text(text) => text.len(),
        Data::List(items) => items.len(),
        Data::Object(members) | Data::Struct(members, _) => members.len(),
        Data::NullOf(_) => 0,
        Data::Null | Data::Missing => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", type_name(other))),
    };
    Ok(Data::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// A place in something of `length` items.
fn place(at: &Data, length: usize) -> Result<usize, String> {
    match at {
        Data::Int(at) => usize::try_from(*at)
            .ok()
            .filter(|at| *at <= length)
            .ok_or_else(|| format!("index out of range: {at}")),
        Data::Null | Data::Missing => Err("cannot index slice/array with nil".to_owned()),
        other => Err(format!(
            "cannot index slice/array with type {}",
            type_name(other)
        )),
    }
}

fn index(value: Data, key: &Data) -> Result<Data, String> {
    let outside = || "reflect: slice index out of range".to_owned();
    match (&value, key) {
        (Data::List(items), _) => {
            let at = place(key, items.len())?;
            items.get(at).cloned().ok_or_else(outside)
        }
        (Data::Text(text), _) => {
            let at = place(key, text.len())?;
            let byte = text.as_bytes().get(at).ok_or_else(outside)?;
            Ok(Data::Int((*byte).into()))
        }
        (Data::Object(members) | Data::Struct(members, _), Data::Text(name)) => {
            let found = members.iter().find(|(known, _)| known == name);
            Ok(found.map_or_else(|| zero(members), |(_, value)| value.clone()))
        }
        (Data::NullOf(crate::data::Empty::Map), Data::Text(_)) => Ok("".into()),
        (Data::NullOf(crate::data::Empty::List), _) => place(key, 0).and_then(|_| Err(outside())),
        (Data::Object(_) | Data::Struct(..), other) => Err(format!(
            "value has type {}; should be string",
            type_name(other)
        )),
        (Data::Null | Data::Missing, _) => Err("index of untyped nil".to_owned()),
        _ => Err(format!("can't index item of type {}", type_name(&value))),
    }
}

/// What a map has for a key that it has not: the zero of its values' type.
fn zero(members: &[(String, Data)]) -> Data {
    match members.first() {
        Some((_, Data::List(_))) => Data::NullOf(crate::data::Empty::List),
        Some((_, Data::Object(_) | Data::Struct(..) | Data::Null)) => Data::Null,
        Some((_, Data::Int(_))) => Data::Int(0),
        Some((_, Data::Bool(_))) => Data::Bool(false),
        _ => "".into(),
    }
}

fn slice(value: &Data, bounds: &[Data]) -> Result<Data, String> {
    let length = match value {
        Data::Text(_) if bounds.len() > 2 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        _ if bounds.len() > 3 => {
            return Err(format!("too many slice indexes: {}", bounds.len()));
        }
        Data::Text(text) => text.len(),
        Data::List(items) => items.len(),
        Data::NullOf(crate::data::Empty::List) => 0,
        Data::Null | Data::Missing => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", type_name(other))),
    };
    let mut places = [0, length];
    for (number, bound) in bounds.iter().take(2).enumerate() {
        places[number] = place(bound, length)?;
    }
    if places[0] > places[1] {
        return Err(format!(
            "invalid slice index: {} > {}",
            places[0], places[1]
        ));
    }
    match value {
        Data::Text(text) => {
            let part = &text.as_bytes()[places[0]..places[1]];
            Ok(String::from_utf8_lossy(part).into_owned().into())
        }
        Data::List(items) => Ok(Data::List(items[places[0]..places[1]].to_vec())),
        _ => Ok(value.clone()),
    }
}

/// The first letter of each word large.
fn title(text: &str) -> String {
    let mut start = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        start = !(c.is_alphanumeric() || c == '_');
    }
    out
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c.is_ascii_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn urlquery(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// How an error shows a function's name.
pub(crate) fn quoted(name: &str) -> String {
    quote(name)
}
