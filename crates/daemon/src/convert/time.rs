//! Moments as the API writes and reads them.

use crate::error::ApiError;
use crate::query::parse_int;
use jiff::Timestamp;

/// Go's zero time, which stands for "never".
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 with as many digits as are needed, or [`NEVER`].
pub(crate) fn text(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| at.to_string())
}

/// RFC 3339 with nine digits, as logs have it: columns stay aligned.
pub(crate) fn fixed(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// Reads `since` and `until`: seconds since 1970, with or without a fraction. `None` for nothing
/// and for 0.
///
/// # Errors
/// In the words of Go's strconv; dockerd answers such a request with 500.
pub(crate) fn parse(text: &str) -> Result<Option<Timestamp>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number = |text: &str| {
        parse_int(text)
            .map_err(|why| ApiError::internal(format!("strconv.ParseInt: parsing {text:?}: {why}")))
    };
    let seconds = number(seconds)?;
    let nanoseconds = if fraction.is_empty() {
        0
    } else {
        let digits: String = fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        number(&digits)?
    };
    let at = i32::try_from(nanoseconds)
        .ok()
        .and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok())
        .ok_or_else(|| ApiError::bad_request(format!("time {text:?} is out of range")))?;
    Ok((at != Timestamp::UNIX_EPOCH).then_some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_go_writes_them() {
        let at: Timestamp = "2026-11-21T05:49:11.115585010Z".parse().unwrap();
        assert_eq!(text(Some(at)), "2026-11-21T05:49:11.11558501Z");
        assert_eq!(fixed(at), "2026-11-21T05:49:11.115585010Z");
        assert_eq!(text(None), NEVER);
        let whole: Timestamp = "2026-11-21T05:49:11Z".parse().unwrap();
        assert_eq!(
            (text(Some(whole)), fixed(whole)),
            (
                "2026-11-21T05:49:11Z".to_owned(),
                "2026-11-21T05:49:11.000000000Z".to_owned()
            )
        );
    }

    #[test]
    fn moments_are_read_in_seconds() {
        let read = |text| parse(text).map_err(|error| error.message);
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("0"), Ok(None));
        assert_eq!(read("1.5").unwrap().unwrap().as_nanosecond(), 1_500_000_000);
        assert_eq!(
            read("1.000000001").unwrap().unwrap().as_nanosecond(),
            1_000_000_001
        );
        assert_eq!(
            read("abc").unwrap_err(),
            "strconv.ParseInt: parsing \"abc\": invalid syntax"
        );
        assert!(read("99999999999999").is_err());
    }
}
