//! Messages: to standard error, or to the file of `--log`, in the two forms of logrus that containerd,
//! Podman and dockerd read.

use crate::error::{Error, Step as _};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};

/// How much a message matters, as logrus names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Debug,
    Warning,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Where messages go.
#[derive(Debug, Default)]
pub(crate) struct Report {
    file: Option<File>,
    json: bool,
    debug: bool,
}

/// A line of the log. The fields are in the order in which logrus sorts them.
#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: &'a str,
}

impl Report {
    /// Opens the file of `--log`, which is made when it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(path: Option<&str>, json: bool, debug: bool) -> Result<Self, Error> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
        let open = |path| {
            rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))
                .map(File::from)
                .step(|| format!("open {path}"))
        };
        Ok(Self {
            file: path.map(open).transpose()?,
            json,
            debug,
        })
    }

    /// What is being done, for `--debug`; the text is made only when it is wanted.
    pub(crate) fn debug(&self, message: impl FnOnce() -> String) {
        if self.debug {
            self.write(Level::Debug, &message());
        }
    }

    /// Something the user should know that stops nothing.
    pub(crate) fn warning(&self, message: &str) {
        self.write(Level::Warning, message);
    }

    /// Why the command fails: the last line of the log, and plain on standard error if that is elsewhere.
    pub(crate) fn error(&self, message: &str) {
        self.write(Level::Error, message);
        if self.file.is_some() {
            // Nobody is left to tell.
            let _ = writeln!(std::io::stderr(), "{}", message.trim_end());
        }
    }

    fn write(&self, level: Level, message: &str) {
        let time = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let line = if self.json {
            json(level, message, &time)
        } else if self.file.is_none() && std::io::stderr().is_terminal() {
            coloured(level, message)
        } else {
            text(level, message, &time)
        };
        // A log that cannot be written must not stop the container.
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

fn json(level: Level, message: &str, time: &str) -> String {
    let line = Line {
        level: level.name(),
        msg: message,
        time,
    };
    let mut line = html_safe(&serde_json::to_string(&line).unwrap_or_default());
    line.push('\n');
    line
}

/// JSON as Go's encoder writes it, which thinks of web pages.
pub(crate) fn html_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn text(level: Level, message: &str, time: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    let message = if message.chars().all(plain) {
        message.to_owned()
    } else {
        quoted(message)
    };
    let level = level.name();
    format!("time=\"{time}\" level={level} msg={message}\n")
}

/// For people: the level in colour, then the message.
fn coloured(level: Level, message: &str) -> String {
    let (colour, name) = match level {
        Level::Debug => (37, "DEBU"),
        Level::Warning => (33, "WARN"),
        Level::Error => (31, "ERRO"),
    };
    format!("\x1b[{colour}m{name}\x1b[0m[0000] {message:<44} \n")
}

/// A text in Go's double quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        // Writing to a String cannot fail.
        let _ = match letter {
            '"' => write!(quoted, "\\\""),
            '\\' => write!(quoted, "\\\\"),
            '\n' => write!(quoted, "\\n"),
            '\t' => write!(quoted, "\\t"),
            '\r' => write!(quoted, "\\r"),
            '\u{7}' => write!(quoted, "\\a"),
            '\u{8}' => write!(quoted, "\\b"),
            '\u{b}' => write!(quoted, "\\v"),
            '\u{c}' => write!(quoted, "\\f"),
            letter if letter.is_ascii_control() => write!(quoted, "\\x{:02x}", u32::from(letter)),
            letter if letter.is_control() => write!(quoted, "\\u{:04x}", u32::from(letter)),
            letter => write!(quoted, "{letter}"),
        };
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_logrus() {
        let line = |message| text(Level::Error, message, "T");
        assert_eq!(line("plain"), "time=\"T\" level=error msg=plain\n");
        assert_eq!(
            line("a \"b\"\n\u{1b}ü"),
            "time=\"T\" level=error msg=\"a \\\"b\\\"\\n\\x1bü\"\n"
        );
        assert_eq!(
            json(Level::Warning, "<a> \"b\"", "T"),
            "{\"level\":\"warning\",\"msg\":\"\\u003ca\\u003e \\\"b\\\"\",\"time\":\"T\"}\n"
        );
    }
}
