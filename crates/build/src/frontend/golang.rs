//! Texts that BuildKit makes with Go's `fmt`, and the signals that it knows.

use super::Error;

/// Go's `%q` of a list.
pub(super) fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}

/// Go's `%q` of a number: the character it stands for.
pub(super) fn quoted_char(c: char) -> String {
    match c {
        '\u{7}' => "'\\a'".to_owned(),
        '\u{8}' => "'\\b'".to_owned(),
        '\u{b}' => "'\\v'".to_owned(),
        '\u{c}' => "'\\f'".to_owned(),
        '\n' | '\r' | '\t' | '\'' | '\\' => format!("{c:?}"),
        c if c < ' ' || c == '\u{7f}' => format!("'\\x{:02x}'", u32::from(c)),
        c => format!("'{c}'"),
    }
}

/// Go's text of a duration: `1h0m0s`, `1.5s`, `300ms`.
pub(super) fn duration(nanoseconds: i64) -> String {
    let all = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let small = |unit: u64, name: &str| format!("{sign}{}{name}", decimal(all, unit));
    match all {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{sign}{all}ns"),
        1_000..1_000_000 => return small(1_000, "µs"),
        1_000_000..1_000_000_000 => return small(1_000_000, "ms"),
        _ => {}
    }
    let minutes = all / 60_000_000_000;
    let seconds = decimal(all % 60_000_000_000, 1_000_000_000);
    match minutes {
        0 => format!("{sign}{seconds}s"),
        1..60 => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{}h{}m{seconds}s", minutes / 60, minutes % 60),
    }
}

/// A number of units, without zeroes at its end.
fn decimal(number: u64, unit: u64) -> String {
    let (whole, rest) = (number / unit, number % unit);
    let width = unit.ilog10() as usize;
    let rest = format!("{rest:0width$}");
    match rest.trim_end_matches('0') {
        "" => whole.to_string(),
        rest => format!("{whole}.{rest}"),
    }
}

/// A name or number that Linux has (moby/sys `signal`).
pub(super) fn check_signal(text: &str) -> Result<(), Error> {
    const NAMES: [&str; 34] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT",
        "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM",
        "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
    ];
    if let Ok(number) = text.parse::<i64>() {
        // Any number but this names a signal, as far as anyone checks.
        return match number {
            0 => Err(Error::new(format!("invalid signal: {text}"))),
            _ => Ok(()),
        };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = || {
        let number = |text: &str, most: u8| {
            text.is_empty() || text.parse::<u8>().is_ok_and(|n| (1..=most).contains(&n))
        };
        let min = name
            .strip_prefix("RTMIN")
            .map(|rest| rest.strip_prefix('+').unwrap_or(rest));
        let max = name
            .strip_prefix("RTMAX")
            .map(|rest| rest.strip_prefix('-').unwrap_or(rest));
        min.is_some_and(|rest| number(rest, 15)) || max.is_some_and(|rest| number(rest, 14))
    };
    if NAMES.contains(&name) || real_time() {
        return Ok(());
    }
    Err(Error::new(format!("invalid signal: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_gos() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1_000_000, "1ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (5_400_000_000_000, "1h30m0s"),
            (-2_000, "-2µs"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
        assert_eq!(quoted_char('\0'), "'\\x00'");
        assert_eq!(quoted_char('\u{3}'), "'\\x03'");
        assert_eq!(quoted_char('\n'), "'\\n'");
        assert_eq!(quoted_char('A'), "'A'");
        assert_eq!(quoted(&["a".into(), "b \"c".into()]), "[\"a\" \"b \\\"c\"]");
    }

    #[test]
    fn signals_are_names_or_numbers() {
        for fine in ["9", "SIGTERM", "term", "RTMIN+3", "SIGRTMAX-2", "SIGWINCH"] {
            check_signal(fine).unwrap();
        }
        for wrong in ["", "SIGNOT", "0", "RTMIN+99"] {
            assert_eq!(
                check_signal(wrong).unwrap_err().message,
                format!("invalid signal: {wrong}")
            );
        }
    }
}
