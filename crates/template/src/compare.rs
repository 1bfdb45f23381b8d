//! `eq`, `ne`, `lt`, `le`, `gt`, `ge`.

use crate::data::Data;
use std::cmp::Ordering;

/// Kinds whose values can be compared with each other.
#[derive(PartialEq, Eq)]
enum Kind {
    Bool,
    Number,
    Text,
}

fn kind(value: &Data) -> Result<Kind, String> {
    match value {
        Data::Bool(_) => Ok(Kind::Bool),
        Data::Int(_) | Data::Float(_) => Ok(Kind::Number),
        Data::Text(_) => Ok(Kind::Text),
        _ => Err("invalid type for comparison".to_owned()),
    }
}

fn incompatible(first: &Data, second: &Data) -> String {
    let name = crate::functions::type_name;
    format!(
        "incompatible types for comparison: {} and {}",
        name(first),
        name(second)
    )
}

fn is_nothing(value: &Data) -> bool {
    matches!(value, Data::Null | Data::Missing | Data::NullOf(_))
}

/// Whether `first` is one of `others`.
pub(crate) fn equal(first: &Data, others: &[Data]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if same(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn same(first: &Data, second: &Data) -> Result<bool, String> {
    if is_nothing(first) || is_nothing(second) {
        return Ok(is_nothing(first) && is_nothing(second));
    }
    let non_comparable = |value: &Data| {
        let name = crate::functions::type_name(value);
        format!("non-comparable type {value}: {name}")
    };
    for value in [first, second] {
        if kind(value).is_err() {
            return Err(non_comparable(value));
        }
    }
    if kind(first)? != kind(second)? {
        return Err(incompatible(first, second));
    }
    Ok(match (first, second) {
        (Data::Int(_) | Data::Float(_), _) => numbers(first, second) == Some(Ordering::Equal),
        _ => first == second,
    })
}

/// How the two are ordered.
pub(crate) fn order(first: &Data, second: &Data) -> Result<Option<Ordering>, String> {
    if kind(first)? != kind(second)? {
        return Err(incompatible(first, second));
    }
    match (first, second) {
        (Data::Text(a), Data::Text(b)) => Ok(Some(a.cmp(b))),
        (Data::Bool(_), _) => Err("invalid type for comparison".to_owned()),
        _ => Ok(numbers(first, second)),
    }
}

fn numbers(first: &Data, second: &Data) -> Option<Ordering> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "compared with a number that has no more digits"
    )]
    let float = |value: &Data| match value {
        Data::Int(number) => Some(*number as f64),
        Data::Float(number) => Some(*number),
        _ => None,
    };
    match (first, second) {
        (Data::Int(a), Data::Int(b)) => Some(a.cmp(b)),
        _ => float(first)?.partial_cmp(&float(second)?),
    }
}
