//! What containers wrote.

mod read;

use bytes::Bytes;
use jiff::Timestamp;

/// Which part of a log to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Nothing before.
    pub since: Option<Timestamp>,
    /// Nothing after.
    pub until: Option<Timestamp>,
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Go on until the container ends.
    pub follow: bool,
}

/// A line, or a part of one longer than 16 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Standard error.
    pub stderr: bool,
    /// When it was written.
    pub at: Timestamp,
    /// With its newline, if it has one.
    pub line: Bytes,
}

/// A container's log. The lines come in the order in which they were written.
pub struct Logs {
    /// Whether the container has a terminal, whose output is not framed.
    pub tty: bool,
    /// The lines.
    pub entries: futures_util::stream::BoxStream<'static, crate::Result<LogEntry>>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}
