//! Errors and warnings: to standard error as text, and to the file of `--log` as `--log-format` says.

use serde::Serialize;
use std::io::Write as _;
use std::path::PathBuf;

/// Where messages go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// The file of `--log`.
    pub(crate) file: Option<PathBuf>,
    /// Whether the file's lines are JSON.
    pub(crate) json: bool,
}

/// A line of the log, in the form of logrus, which containerd and podman read.
#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
}

impl Report {
    /// Something the user should know that stops nothing.
    pub(crate) fn warning(&self, message: &str) {
        self.write("warning", message);
    }

    /// Why the command fails.
    pub(crate) fn error(&self, message: &str) {
        self.write("error", message);
    }

    fn write(&self, level: &str, message: &str) {
        let time = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let plain = format!("time=\"{time}\" level={level} msg={message:?}\n");
        if let Some(file) = &self.file {
            let line = if self.json {
                let mut line = serde_json::to_string(&Line {
                    level,
                    msg: message,
                    time,
                })
                .unwrap_or_default();
                line.push('\n');
                line
            } else {
                plain.clone()
            };
            let opened = fs_err::OpenOptions::new()
                .create(true)
                .append(true)
                .open(file);
            // There is nobody left to tell that the log cannot be written: standard error follows.
            let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        }
        if level == "error" || self.file.is_none() {
            let _ = std::io::stderr().write_all(plain.as_bytes());
        }
    }
}
