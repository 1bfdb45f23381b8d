//! Sizes, as Docker reads them in flags and files: its library go-units.

/// Why a text is no size. The words are go-units'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSize {
    /// No number, less than nothing, or more than an `int64` holds.
    #[error("invalid size: '{0}'")]
    Size(String),
    /// A number that is none to Go.
    #[error("strconv.ParseFloat: parsing \"{0}\": invalid syntax")]
    Number(String),
    /// A unit that there is not.
    #[error("invalid suffix: '{0}'")]
    Suffix(String),
}

/// What a `k` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thousand {
    /// 1000, also in `KiB`: go-units' `FromHumanSize`.
    Decimal,
    /// 1024, also in `KB`: go-units' `RAMInBytes`.
    Binary,
}

/// Reads a size such as `512`, `10m`, `1.5 GiB`, in bytes: 0 to 2^63 - 1.
///
/// # Errors
/// [`InvalidSize`].
pub fn parse_size(text: &str, thousand: Thousand) -> Result<i64, InvalidSize> {
    let invalid = || InvalidSize::Size(text.to_owned());
    let last = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(invalid)?;
    let (number, suffix) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    // Rust reads words such as `inf`, too.
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 = Some(number)
        .filter(|_| plain)
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| InvalidSize::Number(number.to_owned()))?;
    let power = power(suffix).ok_or_else(|| {
        let long = suffix.len() > 3;
        InvalidSize::Suffix(match long {
            true => suffix.to_owned(),
            false => suffix.to_lowercase(),
        })
    })?;
    let base: f64 = match thousand {
        Thousand::Decimal => 1000.0,
        Thousand::Binary => 1024.0,
    };
    let bytes = value * base.powi(power);
    // 2^63, the first that does not fit.
    if value < 0.0 || bytes >= 9_223_372_036_854_775_808.0 {
        return Err(invalid());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "in range, and fractions of a byte go, as in Go"
    )]
    Ok(bytes as i64)
}

/// The power that a unit stands for: nothing, `b`, or a letter, perhaps with `b` or `ib` behind it.
fn power(suffix: &str) -> Option<i32> {
    let lower = suffix.to_lowercase();
    if matches!(lower.as_str(), "" | "b") {
        return Some(0);
    }
    let mut letters = lower.chars();
    let power = match letters.next()? {
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        'p' => 5,
        _ => return None,
    };
    matches!(letters.as_str(), "" | "b" | "ib").then_some(power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Thousand::{Binary, Decimal};

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, binary, decimal) in [
            ("0", 0, 0),
            ("42", 42, 42),
            ("42b", 42, 42),
            ("1k", 1024, 1000),
            ("1KB", 1024, 1000),
            ("1.5KiB", 1536, 1500),
            ("2 m", 2 << 20, 2_000_000),
            ("1.5g", 3 << 29, 1_500_000_000),
            ("512 MiB", 512 << 20, 512_000_000),
            ("1t", 1 << 40, 1_000_000_000_000),
            ("1pb", 1 << 50, 1_000_000_000_000_000),
            ("1.9", 1, 1),
        ] {
            assert_eq!(parse_size(text, Binary), Ok(binary), "{text}");
            assert_eq!(parse_size(text, Decimal), Ok(decimal), "{text}");
        }
    }

    #[test]
    fn refusals_have_dockers_words() {
        for (text, why) in [
            ("", "invalid size: ''"),
            ("zz", "invalid size: 'zz'"),
            ("-1", "invalid size: '-1'"),
            ("9000000t", "invalid size: '9000000t'"),
            ("1x", "invalid suffix: 'x'"),
            ("1IB", "invalid suffix: 'ib'"),
            ("1kmb", "invalid suffix: 'kmb'"),
            ("1bb", "invalid suffix: 'bb'"),
            (
                "1.2.3",
                "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax",
            ),
            (
                "inf 1",
                "strconv.ParseFloat: parsing \"inf 1\": invalid syntax",
            ),
        ] {
            let error = parse_size(text, Binary).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let read = parse_size(&text, Binary);
            proptest::prop_assert!(read.is_err() || read.unwrap() >= 0);
        }
    }
}
