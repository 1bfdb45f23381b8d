//! Times, in the formats of Go that Docker's clients print and take.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Seconds since 1970, now.
pub(crate) fn now_seconds() -> f64 {
    Timestamp::now().as_duration().as_secs_f64()
}

/// Go's `time.Time.String()` of a time in seconds: `2026-11-21 05:35:20 +0000 UTC`.
pub(crate) fn created_at(seconds: i64) -> String {
    let Ok(timestamp) = Timestamp::from_second(seconds) else {
        return String::new();
    };
    local(timestamp)
        .strftime("%Y-%m-%d %H:%M:%S %z %Z")
        .to_string()
}

/// Go's `time.ANSIC` of an RFC 3339 time: `Tue Sep 15 11:02:57 2026`; other texts stay as they are.
pub(crate) fn ansic(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(timestamp) => timestamp.strftime("%a %b %e %H:%M:%S %Y").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// An event's time: local, RFC 3339 with nine digits.
pub(crate) fn rfc3339_nano(nanoseconds: i64) -> String {
    rfc3339_as(nanoseconds.into(), "%Y-%m-%dT%H:%M:%S.%9f")
}

/// Seconds since 1970: local, RFC 3339.
pub(crate) fn rfc3339(seconds: i64) -> String {
    rfc3339_as(i128::from(seconds) * 1_000_000_000, "%Y-%m-%dT%H:%M:%S")
}

fn rfc3339_as(nanoseconds: i128, format: &str) -> String {
    let Ok(timestamp) = Timestamp::from_nanosecond(nanoseconds) else {
        return String::new();
    };
    let zoned = local(timestamp);
    let offset = zoned.strftime("%:z").to_string();
    let offset = if offset == "+00:00" { "Z" } else { &offset };
    format!("{}{offset}", zoned.strftime(format))
}

fn local(timestamp: Timestamp) -> Zoned {
    timestamp.to_zoned(TimeZone::system())
}

/// What `--since` and `--until` take: a duration before now, a date or time (local unless it has a
/// zone), or seconds since 1970. The result is `SECONDS.NANOSECONDS`.
pub(crate) fn log_time(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    if let Ok(nanoseconds) = hull_spec::parse_duration(text)
        && text != "0"
    {
        let then = Timestamp::now().as_nanosecond() - i128::from(nanoseconds);
        return Timestamp::from_nanosecond(then)
            .map(dotted)
            .map_err(|error| error.to_string());
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(dotted(timestamp));
    }
    let civil = text
        .parse::<DateTime>()
        .or_else(|_| text.parse::<Date>().map(DateTime::from));
    if let Ok(civil) = civil {
        return civil
            .to_zoned(TimeZone::system())
            .map(|zoned| dotted(zoned.timestamp()))
            .map_err(|error| error.to_string());
    }
    let (seconds, nanoseconds) = text.split_once('.').unwrap_or((text, "0"));
    if seconds.parse::<i64>().is_err() || nanoseconds.parse::<u32>().is_err() {
        return Err(format!(
            "failed to parse value as time or duration: \"{text}\""
        ));
    }
    Ok(text.to_owned())
}

fn dotted(timestamp: Timestamp) -> String {
    format!(
        "{}.{:09}",
        timestamp.as_second(),
        timestamp.subsec_nanosecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_out_as_go_writes_them() {
        assert_eq!(
            ansic("2026-09-15T11:02:57.000000000+00:00"),
            "Tue Sep 15 11:02:57 2026"
        );
        assert_eq!(ansic("2026-09-05T01:02:07Z"), "Sat Sep  5 01:02:07 2026");
        assert_eq!(ansic("unknown"), "unknown");
    }

    #[test]
    fn times_come_in_in_many_ways() {
        assert_eq!(log_time("").unwrap(), "");
        assert_eq!(log_time("1795239748").unwrap(), "1795239748");
        assert_eq!(log_time("1795239748.5").unwrap(), "1795239748.5");
        assert_eq!(
            log_time("2026-11-21T05:42:28.5Z").unwrap(),
            "1795239748.500000000"
        );
        assert!(log_time("42m").unwrap().contains('.'));
        assert!(log_time("2026-11-21").is_ok() && log_time("2026-11-21T05:42").is_ok());
        assert!(log_time("yesterday").is_err());
    }
}
