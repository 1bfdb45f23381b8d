//! Durations and commands as the container list words them.

use std::time::Duration;

/// A duration as Docker's lists say it: `Less than a second`, `5 minutes`, `About an hour`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // Hours are rounded, everything else is cut: 1 h 40 min is `2 hours`.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// A command as one line: arguments with blanks are quoted.
pub(crate) fn command(path: &str, args: &[String]) -> String {
    let mut line = path.to_owned();
    for arg in args {
        line.push(' ');
        if arg.contains(' ') {
            line.push('\'');
            line.push_str(arg);
            line.push('\'');
        } else {
            line.push_str(arg);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_worded_as_by_docker() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (3600 * 47, "47 hours"),
            (3600 * 48, "2 days"),
            (3600 * 24 * 14, "2 weeks"),
            (3600 * 24 * 60, "2 months"),
            (3600 * 24 * 730, "2 years"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn arguments_with_blanks_are_quoted() {
        assert_eq!(command("sleep", &["1".to_owned()]), "sleep 1");
        let args = ["-c".to_owned(), "echo hi; sleep 1".to_owned()];
        assert_eq!(command("sh", &args), "sh -c 'echo hi; sleep 1'");
        assert_eq!(command("true", &[]), "true");
    }
}
