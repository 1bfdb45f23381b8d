//! What containers wrote: their logs, read.
//!
//! | file | |
//! |---|---|
//! | `entry` | bytes of a file become lines, for each format |
//! | `files` | which files there are, compressed ones too, and what follows after which |
//! | `read` | lines in order, as far as they are asked for |
//! | `follow` | pieces for a client, without a thread while there is nothing to read |
//! | `watch` | news of changed files, by one inotify instance for all |

mod entry;
mod files;
mod follow;
mod read;
mod watch;

pub(crate) use entry::Format;
pub(crate) use files::Place;
pub(crate) use watch::Watches;

use crate::stream::Outgoing;
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
    /// Fill in [`LogLine::attributes`].
    pub details: bool,
}

/// A line, or a part of one longer than 16 KiB.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// Standard error.
    pub stderr: bool,
    /// With its newline, if it has one.
    pub line: &'a [u8],
    /// What the log's options ask to be kept with it, sorted by name; see [`LogOptions::details`].
    pub attributes: &'a [(String, String)],
    at: entry::Time<'a>,
}

impl<'a> LogLine<'a> {
    /// A line without attributes that was written at `at`.
    #[must_use]
    pub fn new(stderr: bool, at: Timestamp, line: &'a [u8]) -> Self {
        Self {
            stderr,
            line,
            attributes: &[],
            at: entry::Time::Known(at),
        }
    }

    /// When it was written; the epoch when the log does not say.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at.read().unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// A container's log, about to be read.
#[derive(Debug)]
pub struct Logs {
    /// Whether the container has a terminal, whose output is not framed.
    pub tty: bool,
    job: follow::Job,
}

impl Logs {
    /// Reads it: `write` appends a line as the client is to get it. The lines come in the order in which they
    /// were written. What is read ahead of a client that does not take it is bounded, and holds no thread.
    pub fn pieces(
        self,
        write: impl FnMut(&LogLine<'_>, &mut Vec<u8>) + Send + 'static,
    ) -> Outgoing {
        self.job.run(Box::new(write))
    }
}
