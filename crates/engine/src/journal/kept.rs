//! The events in files: `events.log`, a JSON document a line, and `events.log.1`, which was before it. Both are
//! bounded; the older one goes when the newer one is full.
//!
//! They are for people and programs that look back. Nothing in the engine depends on them: what cannot be
//! written is lost, what cannot be read is passed over, and nothing waits for a disk.

use crate::event::Event;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// When the next file begins, bytes: some ten thousand events.
const MAX_SIZE: u64 = 4 << 20;
/// No line is longer: an action has a command in it, attributes are labels. A longer one is not kept.
const MAX_LINE: usize = 256 << 10;

/// Every kind of event there is.
const KINDS: [&str; 11] = [
    "builder",
    "config",
    "container",
    "daemon",
    "image",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
];

#[derive(Deserialize, Serialize)]
struct Line<'a> {
    /// Nanoseconds since 1970.
    at: i64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    attributes: Cow<'a, BTreeMap<String, String>>,
}

/// An event as it is kept; empty when it is too long for that.
pub(super) fn line(event: &Event) -> Vec<u8> {
    let line = Line {
        at: i64::try_from(event.at.as_nanosecond()).unwrap_or(i64::MAX),
        kind: event.kind.into(),
        action: event.action.as_str().into(),
        id: event.id.as_str().into(),
        attributes: Cow::Borrowed(&event.attributes),
    };
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    if bytes.len() > MAX_LINE {
        bytes.clear();
    }
    bytes
}

fn read_line(bytes: &[u8]) -> Option<Event> {
    let line: Line<'_> = serde_json::from_slice(bytes).ok()?;
    Some(Event {
        kind: KINDS.into_iter().find(|kind| *kind == line.kind)?,
        action: line.action.into_owned(),
        id: line.id.into_owned(),
        attributes: line.attributes.into_owned(),
        at: Timestamp::from_nanosecond(line.at.into()).ok()?,
    })
}

/// The files.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Kept {
    /// Opens them and reads the last events.
    pub(super) fn open(data_root: &Path) -> io::Result<(Self, VecDeque<Arc<Event>>)> {
        let path = data_root.join("events.log");
        let (file, size) = begin(&path)?;
        let mut kept = Self { path, file, size };
        let last = kept.last().unwrap_or_default();
        // Killed while it wrote: the next line is one of its own.
        if kept.is_torn()? {
            kept.append(b"\n");
        }
        Ok((kept, last))
    }

    pub(super) fn append(&mut self, line: &[u8]) {
        if self.size >= MAX_SIZE
            && fs_err::rename(&self.path, before(&self.path)).is_ok()
            && let Ok((file, size)) = begin(&self.path)
        {
            (self.file, self.size) = (file, size);
        }
        match self.file.write_all(line) {
            Ok(()) => self.size += line.len() as u64,
            // Half a line on a full disk: it would spoil the next one.
            Err(_) => drop(self.file.set_len(self.size)),
        }
    }

    /// All that is kept at this moment.
    pub(super) fn reader(&self) -> io::Result<Reader> {
        let now = fs_err::File::open(&self.path)?.into_parts().0;
        let before = fs_err::File::open(before(&self.path));
        Ok(Reader {
            before: before.ok().map(|file| file.into_parts().0),
            now,
            size: self.size,
        })
    }

    fn last(&self) -> io::Result<VecDeque<Arc<Event>>> {
        /// Enough for as many events as are remembered, of usual length.
        const TAIL: u64 = 512 << 10;
        let mut file = self.reader()?.now;
        let begin = self.size.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(begin))?;
        let mut lines = Vec::new();
        file.take(TAIL).read_to_end(&mut lines)?;
        let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
        // What the first one is a part of is not known.
        let lines = lines.get(usize::from(begin > 0)..).unwrap_or_default();
        let mut events: VecDeque<_> = lines
            .iter()
            .rev()
            .filter_map(|line| read_line(line))
            .take(super::REMEMBERED)
            .map(Arc::new)
            .collect();
        events.make_contiguous().reverse();
        Ok(events)
    }

    fn is_torn(&self) -> io::Result<bool> {
        let Some(last) = self.size.checked_sub(1) else {
            return Ok(false);
        };
        let mut file = self.reader()?.now;
        file.seek(SeekFrom::Start(last))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte != *b"\n")
    }
}

fn before(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn begin(path: &Path) -> io::Result<(File, u64)> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs_err::OpenOptions::new();
    // Labels and commands are root's to read.
    let file = options.append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file.into_parts().0, size))
}

/// The files as they were at one moment.
#[derive(Debug)]
pub(super) struct Reader {
    before: Option<File>,
    now: File,
    /// Of the newer one.
    size: u64,
}

impl Reader {
    /// The events that are wanted, in their order.
    pub(super) fn read(self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        let before = self.before.map(|file| file.take(2 * MAX_SIZE));
        for file in before.into_iter().chain([self.now.take(self.size)]) {
            let mut file = BufReader::with_capacity(64 << 10, file);
            let mut line = Vec::new();
            // What cannot be read is not there.
            while matches!(file.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                events.extend(read_line(&line).filter(&wanted));
                line.clear();
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str) -> Event {
        Event {
            kind: "container",
            action: action.to_owned(),
            id: "abc".to_owned(),
            attributes: BTreeMap::from([("label \"x\"".to_owned(), "ä\n".to_owned())]),
            at: "2026-11-22T01:02:03.000000004Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_line_is_an_event_again() {
        let event = event("exec_start: sh -c 'x'");
        assert_eq!(read_line(&line(&event)), Some(event));
        assert_eq!(read_line(b"{}"), None);
        assert!(line(&self::event(&"x".repeat(MAX_LINE))).is_empty());
    }

    #[test]
    fn files_are_bounded_and_what_is_torn_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let (mut kept, last) = Kept::open(directory.path()).unwrap();
        assert!(last.is_empty());
        kept.append(&line(&event("first"))[..30]);
        drop(kept);
        let (mut kept, last) = Kept::open(directory.path()).unwrap();
        assert!(last.is_empty());
        let long = line(&event(&"x".repeat(100 << 10)));
        for _ in 0..200 {
            kept.append(&long);
        }
        kept.append(&line(&event("last")));
        let sizes = ["events.log", "events.log.1"].map(|name| {
            let data = fs_err::metadata(directory.path().join(name)).unwrap();
            data.len() < MAX_SIZE + MAX_LINE as u64
        });
        assert_eq!(sizes, [true, true]);
        let all = kept.reader().unwrap().read(|_| true);
        assert!(all.len() > 41 && all.len() < 90, "{}", all.len());
        assert_eq!(all.last().unwrap().action, "last");
        drop(kept);
        let (_, last) = Kept::open(directory.path()).unwrap();
        assert_eq!(last.back().unwrap().action, "last");
    }
}
