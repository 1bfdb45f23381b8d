//! Go's `Print`, `Println` and `Printf`.

use crate::data::Data;
use crate::functions::type_name;
use crate::quote;

/// Wider is not printed, as in Go.
const WIDEST: usize = 1_000_000;

/// `Print`: spaces between operands when neither is a string.
pub(crate) fn print(values: &[Data]) -> String {
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

/// `Println`.
pub(crate) fn println(values: &[Data]) -> String {
    let words: Vec<String> = values.iter().map(Data::to_string).collect();
    format!("{}\n", words.join(" "))
}

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// `Printf`.
pub(crate) fn printf(format: &str, values: &[Data]) -> String {
    let mut out = String::new();
    let mut left = values.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (spec, after, wrong) = spec(&rest[at + 1..], &mut left);
        out.push_str(wrong);
        let Some(verb) = after.chars().next() else {
            out.push_str("%!(NOVERB)");
            rest = "";
            break;
        };
        rest = &after[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        match left.next() {
            Some(value) => out.push_str(&formatted(value, verb, spec)),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    out.push_str(rest);
    let extra: Vec<String> = left
        .map(|value| format!("{}={value}", type_name(value)))
        .collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

/// Reads flags, width and precision; what is wrong with them is printed.
fn spec<'t>(
    text: &'t str,
    values: &mut std::slice::Iter<'_, Data>,
) -> (Spec, &'t str, &'static str) {
    let mut spec = Spec::default();
    let mut rest = text;
    let mut wrong = "";
    while let Some(c) = rest.chars().next() {
        match c {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '#' => spec.sharp = true,
            ' ' => spec.space = true,
            '0' => spec.zero = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let mut number = |rest: &mut &'t str| -> Option<Option<i64>> {
        if let Some(after) = rest.strip_prefix('*') {
            *rest = after;
            return Some(match values.next() {
                Some(Data::Int(value)) => Some(*value),
                _ => None,
            });
        }
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let digits = &rest[..end];
        *rest = &rest[end..];
        (!digits.is_empty()).then(|| digits.parse().ok())
    };
    let limited = |value: i64| {
        let size = usize::try_from(value.unsigned_abs()).unwrap_or(usize::MAX);
        Some(size).filter(|size| *size <= WIDEST)
    };
    if let Some(width) = number(&mut rest) {
        spec.minus |= width.is_some_and(|width| width < 0);
        match width.and_then(limited) {
            Some(width) => spec.width = width,
            None => wrong = "%!(BADWIDTH)",
        }
    }
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        spec.precision = match number(&mut rest) {
            None => Some(0),
            Some(precision) => {
                let precision = precision.and_then(limited);
                if precision.is_none() {
                    wrong = "%!(BADPREC)";
                }
                precision
            }
        };
    }
    (spec, rest, wrong)
}

fn formatted(value: &Data, verb: char, spec: Spec) -> String {
    match (value, verb) {
        (Data::List(items), 's' | 'd' | 'q' | 'x' | 'X' | 'v') => {
            let items: Vec<String> = items
                .iter()
                .map(|item| formatted(item, verb, spec))
                .collect();
            format!("[{}]", items.join(" "))
        }
        _ => {
            let (text, numeric) = match plain(value, verb, spec) {
                Some(found) => found,
                None => (format!("%!{verb}({}={value})", type_name(value)), false),
            };
            padded(&text, spec, numeric)
        }
    }
}

fn padded(text: &str, spec: Spec, numeric: bool) -> String {
    let width = spec.width;
    let missing = width.saturating_sub(text.chars().count());
    if spec.minus {
        return format!("{text}{}", " ".repeat(missing));
    }
    if spec.zero && numeric {
        let signed = usize::from(text.starts_with(['-', '+']));
        return format!(
            "{}{}{}",
            &text[..signed],
            "0".repeat(missing),
            &text[signed..]
        );
    }
    let fill = if spec.zero { "0" } else { " " };
    format!("{}{text}", fill.repeat(missing))
}

/// A value without its padding, and whether it is a number; none where the verb does not fit.
fn plain(value: &Data, verb: char, spec: Spec) -> Option<(String, bool)> {
    let text = |text: String| Some((text, false));
    let cut = |text: &str| match spec.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text.to_owned(),
    };
    match (verb, value) {
        ('T', _) => text(type_name(value).to_owned()),
        ('v', Data::Text(content)) if spec.sharp => text(quote(content)),
        ('v', Data::Text(content)) | ('s', Data::Text(content)) => text(cut(content)),
        ('v', Data::Int(number)) | ('d', Data::Int(number)) => Some((signed(*number, spec), true)),
        ('v' | 'g' | 'G', Data::Float(number)) => Some((shortest(*number, 21), true)),
        ('v', _) => text(value.to_string()),
        ('q', Data::Text(content)) if spec.sharp && !content.contains('`') => {
            text(format!("`{content}`"))
        }
        ('q', Data::Text(content)) => text(quote(&cut(content))),
        ('q', Data::Int(number)) => text(format!("'{}'", letter(*number))),
        ('x', Data::Text(content)) => text(content.bytes().map(|b| format!("{b:02x}")).collect()),
        ('X', Data::Text(content)) => text(content.bytes().map(|b| format!("{b:02X}")).collect()),
        ('t', Data::Bool(value)) => text(value.to_string()),
        ('s', Data::Object(_) | Data::Struct(..) | Data::Record(_) | Data::NullOf(_)) => {
            text(value.to_string())
        }
        ('c', Data::Int(number)) => text(letter(*number).to_string()),
        ('U', Data::Int(number)) => text(format!("U+{number:04X}")),
        ('x' | 'X' | 'o' | 'b', Data::Int(number)) => Some((based(*number, verb, spec), true)),
        ('f' | 'F', Data::Float(number)) => {
            let digits = spec.precision.unwrap_or(6);
            let plus = if spec.plus && *number >= 0.0 { "+" } else { "" };
            Some((format!("{plus}{number:.digits$}"), true))
        }
        ('e' | 'E', Data::Float(number)) => {
            let digits = spec.precision.unwrap_or(6);
            let text = exponent(&format!("{number:.digits$e}"));
            Some((
                if verb == 'E' {
                    text.to_uppercase()
                } else {
                    text
                },
                true,
            ))
        }
        _ => None,
    }
}

fn letter(number: i64) -> char {
    let code = u32::try_from(number).ok();
    code.and_then(char::from_u32).unwrap_or('\u{fffd}')
}

fn signed(number: i64, spec: Spec) -> String {
    match (spec.plus, spec.space) {
        (true, _) if number >= 0 => format!("+{number}"),
        (false, true) if number >= 0 => format!(" {number}"),
        _ => number.to_string(),
    }
}

fn based(number: i64, verb: char, spec: Spec) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let size = number.unsigned_abs();
    let (prefix, digits) = match verb {
        'x' => ("0x", format!("{size:x}")),
        'X' => ("0X", format!("{size:X}")),
        'o' => ("0", format!("{size:o}")),
        _ => ("0b", format!("{size:b}")),
    };
    let prefix = if spec.sharp { prefix } else { "" };
    format!("{sign}{prefix}{digits}")
}

/// An exponent with its sign and two digits.
fn exponent(text: &str) -> String {
    match text.split_once('e') {
        Some((digits, power)) => {
            let (sign, power) = match power.strip_prefix('-') {
                Some(power) => ('-', power),
                None => ('+', power),
            };
            format!("{digits}e{sign}{power:0>2}")
        }
        None => text.to_owned(),
    }
}

/// The fewest digits that mean the number; from `large` digits on with an exponent.
pub(crate) fn shortest(number: f64, large: i32) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let power: i32 = scientific
        .split_once('e')
        .and_then(|(_, power)| power.parse().ok())
        .unwrap_or_default();
    if power < -4 || power >= large {
        return exponent(&scientific);
    }
    number.to_string()
}
