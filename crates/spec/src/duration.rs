//! Durations, as Go programs read them in flags and files.

/// Why a text is no duration. The words are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// No number, or more than 292 years.
    #[error("time: invalid duration \"{0}\"")]
    Syntax(String),
    /// A number alone; only 0 needs no unit.
    #[error("time: missing unit in duration \"{0}\"")]
    MissingUnit(String),
    /// A unit that there is not.
    #[error("time: unknown unit \"{unit}\" in duration \"{text}\"")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole.
        text: String,
    },
}

/// Reads a duration such as `300ms`, `-1.5h` or `2h45m`, in nanoseconds: Go's `time.ParseDuration`.
///
/// # Errors
/// [`InvalidDuration`].
pub fn parse_duration(text: &str) -> Result<i64, InvalidDuration> {
    let invalid = || InvalidDuration::Syntax(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let (whole, behind) = digits(rest);
        let (fraction, behind) = behind.strip_prefix('.').map_or(("", behind), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, behind) = behind.split_at(unit.unwrap_or(behind.len()));
        let part = times(whole, fraction, nanoseconds(unit, text)?);
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(invalid)?;
        rest = behind;
    }
    Ok(if negative { -total } else { total })
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn nanoseconds(unit: &str, text: &str) -> Result<i64, InvalidDuration> {
    Ok(match unit {
        "ns" => 1,
        // Both letters there are for micro.
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err(InvalidDuration::MissingUnit(text.to_owned())),
        unit => {
            let (unit, text) = (unit.to_owned(), text.to_owned());
            return Err(InvalidDuration::UnknownUnit { unit, text });
        }
    })
}

/// A decimal number times a unit, cut off below one.
fn times(whole: &str, fraction: &str, unit: i64) -> Option<i64> {
    let number = |text: &str| match text {
        "" => Some(0),
        text => text.parse::<i64>().ok(),
    };
    // More digits say nothing: the largest unit has thirteen.
    let fraction = &fraction[..fraction.len().min(15)];
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let part = i128::from(number(fraction)?) * i128::from(unit) / scale;
    number(whole)?
        .checked_mul(unit)?
        .checked_add(i64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5ms", 500_000),
            ("1.s", 1_000_000_000),
            ("2us", 2_000),
            ("1µs1μs", 2_000),
            ("-1m2s", -62_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("+1h1ns", 3_600_000_000_001),
        ] {
            assert_eq!(parse_duration(text), Ok(nanoseconds), "{text:?}");
        }
        let refused = |text| parse_duration(text).unwrap_err().to_string();
        for text in ["", "-", "x", ".s", "s", "1h-", "9999999999h", "1s2562048h"] {
            let said = format!("time: invalid duration \"{text}\"");
            let unknown = text == "1h-";
            assert_eq!(refused(text) == said, !unknown, "{text:?}");
        }
        assert_eq!(refused("10"), "time: missing unit in duration \"10\"");
        assert_eq!(
            refused("1.2.3s"),
            "time: missing unit in duration \"1.2.3s\""
        );
        assert_eq!(refused("3x"), "time: unknown unit \"x\" in duration \"3x\"");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.µmshnu ]{0,24}") {
            let _ = parse_duration(&text);
        }
    }
}
