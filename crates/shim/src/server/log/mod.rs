//! The log: output is cut into lines, written down as Docker's drivers `json-file` and `local` write them,
//! and kept in files that are bounded ([`mod@file`]).
//!
//! A line of output that fills 16 KiB before it ends becomes several entries, as in Docker. What goes to a log server
//! goes there beside ([`remote`]).

mod file;
mod json;
mod local;
mod remote;
mod ring;

use super::Error;
use crate::{Launch, LogConfig, LogFormat};
use file::Rotated;
use json::Json;
use local::Local;
pub(super) use remote::Remote;
use ring::Ring;
use std::io;

/// Where Docker cuts lines, bytes.
const MAX_LINE: usize = 16 << 10;

/// A container's log.
#[derive(Debug)]
pub(super) struct Log {
    files: Option<Files>,
    pub(super) remote: Option<Remote>,
}

impl Log {
    /// Opens what is asked for; `None` for nothing.
    pub(super) fn open(launch: &Launch) -> Result<Option<Self>, Error> {
        let files = launch.log.as_ref().map(Files::open).transpose();
        let files = files.map_err(super::step("open the log"))?;
        let remote = launch.receiver.as_ref();
        let remote = remote
            .map(|receiver| Remote::start(&launch.id, receiver))
            .transpose()?;
        Ok((files.is_some() || remote.is_some()).then_some(Self { files, remote }))
    }

    /// Takes output of stream 1 or 2 that came now.
    pub(super) fn write(&mut self, stream: u8, bytes: &[u8]) {
        if let Some(files) = &mut self.files {
            // A log that cannot be written (a full disk) does not stop the container; nor does it in Docker.
            let _ = files.write(stream, bytes);
        }
        if let Some(remote) = &mut self.remote {
            remote.write(stream, bytes);
        }
    }

    /// Whether the container is to wait.
    pub(super) fn is_full(&self) -> bool {
        self.remote.as_ref().is_some_and(Remote::is_full)
    }

    /// Whether a container that waited may go on.
    pub(super) fn has_room(&self) -> bool {
        self.remote.as_ref().is_none_or(Remote::has_room)
    }

    /// Writes what has come of lines that will not end, and waits for what is under way.
    pub(super) fn finish(self) {
        if let Some(files) = self.files {
            let _ = files.finish();
        }
        if let Some(remote) = self.remote {
            remote.finish();
        }
    }
}

/// What of a log is in files.
#[derive(Debug)]
enum Files {
    /// Written at once: a slow disk makes the container wait.
    Direct(Writer),
    /// Written by a thread: what comes while too much waits is lost.
    Ring(Ring),
}

impl Files {
    fn open(config: &LogConfig) -> io::Result<Self> {
        let writer = Writer::open(config)?;
        Ok(match config.buffer {
            Some(bytes) => Self::Ring(Ring::start(writer, bytes)?),
            None => Self::Direct(writer),
        })
    }

    /// Takes output of stream 1 or 2 that came now.
    fn write(&mut self, stream: u8, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Direct(writer) => writer.write(stream, bytes),
            Self::Ring(ring) => {
                ring.write(stream, bytes);
                Ok(())
            }
        }
    }

    /// Writes what has come of lines that will not end, and waits for what is under way.
    fn finish(self) -> io::Result<()> {
        match self {
            Self::Direct(writer) => writer.finish(),
            Self::Ring(ring) => ring.finish(),
        }
    }
}

/// How an entry is written down.
#[derive(Debug)]
enum Format {
    Json(Json),
    Local(Local),
}

/// One entry: a line, or a part of one.
#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    stderr: bool,
    bytes: &'a [u8],
    /// Of a line cut into several entries: which one, from 1.
    part: Option<u32>,
}

/// When entries came, in both forms.
#[derive(Clone, Debug)]
struct Moment {
    nanoseconds: i64,
    text: String,
}

impl Moment {
    fn now() -> Self {
        let now = jiff::Timestamp::now();
        Self {
            nanoseconds: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
            text: now.to_string(),
        }
    }
}

impl Format {
    fn append(&self, entry: Entry<'_>, now: &Moment, to: &mut Vec<u8>) {
        match self {
            Self::Json(json) => json.append(entry, now, to),
            Self::Local(local) => local.append(entry, now, to),
        }
    }
}

/// What has come of a line that has not ended.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// How many parts of it are written.
    parts: u32,
}

/// Cuts output into entries.
#[derive(Debug, Default)]
struct Cutter {
    /// For standard output and error.
    partial: [Partial; 2],
}

impl Cutter {
    /// Gives the entries that are whole with these bytes; the first failure.
    fn cut(
        &mut self,
        stream: u8,
        mut bytes: &[u8],
        mut each: impl FnMut(Entry<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let stderr = stream == 2;
        let partial = &mut self.partial[usize::from(stderr)];
        let mut outcome = Ok(());
        while !bytes.is_empty() {
            let room = MAX_LINE - partial.bytes.len();
            let end = bytes[..bytes.len().min(room)]
                .iter()
                .position(|byte| *byte == b'\n');
            let (head, rest) = bytes.split_at(end.map_or(bytes.len().min(room), |at| at + 1));
            bytes = rest;
            let whole = if partial.bytes.is_empty() {
                head
            } else {
                partial.bytes.extend_from_slice(head);
                &partial.bytes
            };
            // Only what fills the limit is cut: shorter pieces wait for the rest of their line.
            let cut = end.is_none() && whole.len() == MAX_LINE;
            if end.is_none() && !cut {
                if partial.bytes.is_empty() {
                    partial.bytes.extend_from_slice(head);
                }
                break;
            }
            let parts = partial.parts;
            outcome = outcome.and(each(Entry {
                stderr,
                bytes: whole,
                part: (cut || parts > 0).then_some(parts + 1),
            }));
            partial.parts = if cut { parts + 1 } else { 0 };
            partial.bytes.clear();
        }
        outcome
    }

    /// Gives what has come of lines that will not end.
    fn rest(&mut self, mut each: impl FnMut(Entry<'_>) -> io::Result<()>) -> io::Result<()> {
        let mut outcome = Ok(());
        for (number, partial) in std::mem::take(&mut self.partial).iter().enumerate() {
            if !partial.bytes.is_empty() {
                outcome = outcome.and(each(Entry {
                    stderr: number == 1,
                    bytes: &partial.bytes,
                    part: Some(partial.parts + 1),
                }));
            }
        }
        outcome
    }
}

/// Cuts output into entries and writes them.
#[derive(Debug)]
pub(super) struct Writer {
    format: Format,
    file: Rotated,
    cutter: Cutter,
    /// Entries that are not written yet.
    entries: Vec<u8>,
}

impl Writer {
    fn open(config: &LogConfig) -> io::Result<Self> {
        Ok(Self {
            format: match config.format {
                LogFormat::Json => Format::Json(Json::new(&config.attributes)),
                LogFormat::Local => Format::Local(Local),
            },
            file: Rotated::open(config)?,
            cutter: Cutter::default(),
            entries: Vec::new(),
        })
    }

    fn write(&mut self, stream: u8, bytes: &[u8]) -> io::Result<()> {
        let now = Moment::now();
        let mut cutter = std::mem::take(&mut self.cutter);
        let outcome = cutter.cut(stream, bytes, |entry| self.add(entry, &now));
        self.cutter = cutter;
        outcome.and(self.flush())
    }

    fn finish(mut self) -> io::Result<()> {
        let now = Moment::now();
        let mut cutter = std::mem::take(&mut self.cutter);
        cutter.rest(|entry| self.add(entry, &now))?;
        self.flush()?;
        self.file.finish();
        Ok(())
    }

    fn add(&mut self, entry: Entry<'_>, now: &Moment) -> io::Result<()> {
        let mut outcome = Ok(());
        if self.file.is_full(self.entries.len()) {
            outcome = self.flush();
            outcome = outcome.and(self.file.rotate());
        }
        self.format.append(entry, now, &mut self.entries);
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let outcome = self.file.append(&self.entries);
        self.entries.clear();
        outcome
    }
}

#[cfg(test)]
mod tests;
