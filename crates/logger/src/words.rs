//! Values and errors in the words of Docker's language: its clients, and people, know them.

use std::io;
use std::time::Duration;

/// `strconv.ParseBool`.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

/// `strconv.ParseUint` with a number of bits.
pub(crate) fn unsigned(text: &str, bits: u32) -> Result<u64, String> {
    let wrong = |why: &str| format!("strconv.ParseUint: parsing {text:?}: {why}");
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("invalid syntax"));
    }
    let value = text.parse::<u64>().ok();
    value
        .filter(|value| bits == 64 || *value < 1 << bits)
        .ok_or_else(|| wrong("value out of range"))
}

/// `time.ParseDuration`: `1h2m3.5s`, `100ms`, `-1s`; `None` for a negative one.
pub(crate) fn duration(text: &str) -> Result<Option<Duration>, String> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("μs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 6e10),
        ("h", 3.6e12),
    ];
    let wrong = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Some(Duration::ZERO));
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'));
        let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let scale = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, scale) =
            scale.ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        nanoseconds += number * scale;
        rest = after;
    }
    // Go counts in 63 bits.
    if nanoseconds >= 9.2e18 {
        return Err(wrong());
    }
    let value = Duration::from_secs_f64(nanoseconds / 1e9);
    Ok((!negative || value.is_zero()).then_some(value))
}

/// `net.SplitHostPort` as far as it gets: host, and the port if there is one.
pub(crate) fn host_and_port(text: &str) -> Result<(&str, Option<&str>), String> {
    let wrong = |why: &str| format!("address {text}: {why}");
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| wrong("missing ']' in address"))?;
        return match after.strip_prefix(':') {
            Some(port) if !port.contains(':') => Ok((host, Some(port))),
            Some(_) => Err(wrong("too many colons in address")),
            None => Ok((host, None)),
        };
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Err(wrong("too many colons in address")),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

/// What the system says, as Go words it: `connection refused`.
pub(crate) fn cause(error: &io::Error) -> String {
    if matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    ) {
        return "i/o timeout".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    match error.raw_os_error() {
        Some(_) => {
            let mut letters = text.chars();
            let first = letters.next().map(|c| c.to_lowercase().to_string());
            first.unwrap_or_default() + letters.as_str()
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_does() {
        let milliseconds = |text: &str| duration(text).unwrap().unwrap().as_millis();
        assert_eq!(milliseconds("1m2.5s"), 62_500);
        assert_eq!(milliseconds("100ms"), 100);
        assert_eq!(milliseconds("0"), 0);
        assert_eq!(duration("-1s").unwrap(), None);
        let refused = |text: &str| duration(text).unwrap_err();
        assert_eq!(refused("x"), "time: invalid duration \"x\"");
        assert_eq!(refused("5"), "time: missing unit in duration \"5\"");
        assert_eq!(refused("5y"), "time: unknown unit \"y\" in duration \"5y\"");
        assert_eq!(refused(""), "time: invalid duration \"\"");
        assert!(duration("1e9h").is_err() && duration("9999999999h").is_err());
    }

    #[test]
    fn numbers_are_refused_in_gos_words() {
        assert_eq!(unsigned("65535", 16), Ok(65_535));
        assert!(unsigned("65536", 16).unwrap_err().ends_with("out of range"));
        assert!(unsigned("-1", 16).unwrap_err().ends_with("invalid syntax"));
        assert!(boolean("x").is_err() && boolean("T") == Ok(true));
    }

    #[test]
    fn hosts_and_ports() {
        assert_eq!(host_and_port("a:1"), Ok(("a", Some("1"))));
        assert_eq!(host_and_port("[::1]:2"), Ok(("::1", Some("2"))));
        assert_eq!(host_and_port("a"), Ok(("a", None)));
        assert_eq!(
            host_and_port("a:1:2"),
            Err("address a:1:2: too many colons in address".to_owned())
        );
    }

    #[test]
    fn errors_of_the_system_are_worded_as_go_does() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(cause(&refused), "connection refused");
    }
}
