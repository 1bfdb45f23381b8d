//! Annotations `org.systemd.property.NAME`: properties of the unit by the user's own word.

use crate::error::{Error, said};
use hull_linux::systemd::{Property, Value, parse_value};
use std::collections::BTreeMap;

/// The properties; times in seconds (`TimeoutStopSec`) as systemd's files have them become the bus's own.
pub(super) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>, Error> {
    let mut properties = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix("org.systemd.property.") else {
            continue;
        };
        let wrong = |why: &str| said(format!("annotation {key} name incorrect: {why}"));
        if name.len() < 3 {
            return Err(wrong("too short"));
        }
        if !name.bytes().all(|letter| letter.is_ascii_alphabetic()) {
            return Err(wrong("contains non-alphabetic character"));
        }
        let wrong = |why: String| said(format!("annotation {key}={text} value parse error: {why}"));
        let value = parse_value(text).map_err(wrong)?;
        properties.push(match name.strip_suffix("Sec") {
            Some(stem) if stem.ends_with(|c: char| c.is_ascii_lowercase()) => {
                let value = microseconds(&value).ok_or_else(|| wrong("not a number".to_owned()))?;
                Property::new(&format!("{stem}USec"), value)
            }
            _ => Property::new(name, value),
        });
    }
    Ok(properties)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded down, and saturating"
)]
fn microseconds(seconds: &Value) -> Option<Value> {
    let whole: i64 = match seconds {
        Value::Byte(seconds) => (*seconds).into(),
        Value::I16(seconds) => (*seconds).into(),
        Value::U16(seconds) => (*seconds).into(),
        Value::I32(seconds) => (*seconds).into(),
        Value::U32(seconds) => (*seconds).into(),
        Value::I64(seconds) => *seconds,
        Value::U64(seconds) => return Some(Value::U64(seconds.saturating_mul(1_000_000))),
        Value::Double(seconds) => return Some(Value::U64((seconds * 1e6) as u64)),
        _ => return None,
    };
    let microseconds = whole.saturating_mul(1_000_000);
    Some(Value::U64(microseconds.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Result<Vec<Property>, String> {
        let annotations = BTreeMap::from([
            (format!("org.systemd.property.{name}"), text.to_owned()),
            ("other".to_owned(), "x".to_owned()),
        ]);
        properties(&annotations).map_err(|error| error.to_string())
    }

    #[test]
    fn annotations_are_properties() {
        let one = |name: &str, value| Ok(vec![Property::new(name, value)]);
        assert_eq!(
            of("CollectMode", "'inactive-or-failed'"),
            one("CollectMode", Value::text("inactive-or-failed"))
        );
        assert_eq!(
            of("TimeoutStopUSec", "uint64 5"),
            one("TimeoutStopUSec", Value::U64(5))
        );
        assert_eq!(
            of("TimeoutStopSec", "5"),
            one("TimeoutStopUSec", Value::U64(5_000_000))
        );
        assert_eq!(
            of("TimeoutStopSec", "1.5"),
            one("TimeoutStopUSec", Value::U64(1_500_000))
        );
        for (name, text, why) in [
            ("ab", "1", "name incorrect: too short"),
            ("a-bc", "1", "name incorrect: contains non-alphabetic"),
            ("TimeoutSec", "'x'", "value parse error: not a number"),
            ("Tasks", "[", "value parse error: unexpected end"),
        ] {
            let error = of(name, text).expect_err(name);
            assert!(error.contains(why), "{error}");
        }
    }
}
