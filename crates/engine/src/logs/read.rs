//! Reading a json-file log: rotated files, tail, since, until, follow.

use super::{LogEntry, LogOptions, Logs};
use crate::container::{LogDriver, Paths};
use crate::stream::{Task, pieces_of, told_by};
use crate::{Engine, Error, ErrorKind, Result};
use bytes::Bytes;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The longest line of the file that is read: 16 KiB of output, each byte escaped, and the rest.
const MAX_LINE: u64 = 256 << 10;

impl Engine {
    /// Reads a log.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` when no stream is asked for; `NotImplemented` for a log driver
    /// that cannot be read.
    pub async fn logs(self: &Arc<Self>, name: &str, options: LogOptions) -> Result<Logs> {
        let container = self.find(name)?;
        if !options.stdout && !options.stderr {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "Bad parameters: you must choose at least one stream",
            ));
        }
        let record = container.record();
        if record.config.log.driver == LogDriver::None {
            return Err(Error::new(
                ErrorKind::NotImplemented,
                "configured logging driver does not support reading",
            ));
        }
        let Paths { log, .. } = self.paths(&record);
        let (sender, entries) = mpsc::channel(256);
        let follow = options.follow && record.is_running();
        let stop = follow.then(|| end_of(&container, &sender)).transpose();
        let stop = stop.map_err(|e| {
            Error::new(ErrorKind::Internal, "could not follow the log").caused_by(e)
        })?;
        let work = tokio::task::spawn_blocking(move || {
            if let Err(error) = (Reader {
                options,
                sender: &sender,
            })
            .run(&log, stop)
            {
                let error =
                    Error::new(ErrorKind::Internal, "could not read the log").caused_by(error);
                // The error means that nobody listens any more.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(Logs {
            tty: record.config.tty,
            entries: told_by(pieces_of(entries), Task(work).ended()),
        })
    }
}

/// A pipe that ends when the container does, or when nobody listens to its log any more.
fn end_of(
    container: &Arc<crate::container::live::Container>,
    sender: &mpsc::Sender<Result<LogEntry>>,
) -> io::Result<io::PipeReader> {
    let (reader, writer) = io::pipe()?;
    let mut progress = container.progress.subscribe();
    let sender = sender.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = progress.wait_for(|now| !now.running || now.removed) => {}
            () = sender.closed() => {}
        }
        drop(writer);
    });
    Ok(reader)
}

/// One line of the file.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    time: Timestamp,
}

struct Reader<'s> {
    options: LogOptions,
    sender: &'s mpsc::Sender<Result<LogEntry>>,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Going {
    On,
    Enough,
}

impl Reader<'_> {
    fn run(&self, path: &Path, stop: Option<io::PipeReader>) -> io::Result<()> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        if let (Some(_), Some(directory)) = (&stop, path.parent()) {
            // Before reading, so that nothing written meanwhile is slept over.
            inotify::add_watch(
                &watch,
                directory,
                inotify::WatchFlags::MODIFY
                    | inotify::WatchFlags::CREATE
                    | inotify::WatchFlags::MOVED_TO,
            )?;
        }
        let mut current = None;
        for file in self.opened(path)? {
            if let Some(done) = current.replace(file)
                && self.pass_on(&mut BufReader::new(done))? == Going::Enough
            {
                return Ok(());
            }
        }
        let Some(file) = current else { return Ok(()) };
        let mut file = BufReader::new(file);
        loop {
            if self.pass_on(&mut file)? == Going::Enough {
                return Ok(());
            }
            let Some(stop) = &stop else { return Ok(()) };
            if let Some(next) = rotated(file.get_ref(), path)? {
                // What was written before the rotation, and after the last look.
                if self.pass_on(&mut file)? == Going::Enough {
                    return Ok(());
                }
                file = BufReader::new(next);
                continue;
            }
            if wait(&watch, stop)? {
                // The container has ended: what it wrote last is in the file by now.
                self.pass_on(&mut file)?;
                return Ok(());
            }
        }
    }

    /// The log's files, oldest first, the first one at the line where `tail` begins.
    fn opened(&self, path: &Path) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        let mut lines = self.options.tail;
        for number in 0.. {
            let mut name = path.to_owned().into_os_string();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            let Ok(file) = fs_err::File::open(PathBuf::from(name)) else {
                break;
            };
            let mut file = file.into_parts().0;
            if let Some(wanted) = lines {
                let found = seek_to_tail(&mut file, wanted)?;
                lines = Some(wanted - found);
            }
            files.push(file);
            if lines == Some(0) {
                break;
            }
        }
        files.reverse();
        Ok(files)
    }

    /// Passes on the whole lines that there are.
    fn pass_on(&self, file: &mut BufReader<File>) -> io::Result<Going> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let length = file.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)?;
            if length == 0 {
                return Ok(Going::On);
            }
            if bytes.last() != Some(&b'\n') {
                // Half a line: its rest is still being written.
                file.seek_relative(-i64::try_from(length).unwrap_or(0))?;
                return Ok(Going::On);
            }
            let Ok(line) = serde_json::from_slice::<Line>(&bytes) else {
                continue;
            };
            let stderr = line.stream == "stderr";
            if self.options.until.is_some_and(|until| line.time > until) {
                return Ok(Going::Enough);
            }
            let wanted = if stderr {
                self.options.stderr
            } else {
                self.options.stdout
            };
            if !wanted || self.options.since.is_some_and(|since| line.time < since) {
                continue;
            }
            let entry = LogEntry {
                stderr,
                at: line.time,
                line: Bytes::from(line.log),
            };
            if self.sender.blocking_send(Ok(entry)).is_err() {
                return Ok(Going::Enough);
            }
        }
    }
}

/// The file that has taken the place of `file`.
fn rotated(file: &File, path: &Path) -> io::Result<Option<File>> {
    let own = file.metadata()?;
    let Ok(now) = fs_err::metadata(path) else {
        return Ok(None);
    };
    if (own.dev(), own.ino()) == (now.dev(), now.ino()) {
        return Ok(None);
    }
    Ok(fs_err::File::open(path)
        .ok()
        .map(|file| file.into_parts().0))
}

/// Waits for a change in the log's directory; `true` when it is over.
fn wait(watch: &impl std::os::fd::AsFd, stop: &io::PipeReader) -> io::Result<bool> {
    let mut ready = [
        PollFd::new(watch, PollFlags::IN),
        PollFd::new(stop, PollFlags::IN),
    ];
    match poll(&mut ready, None) {
        Err(rustix::io::Errno::INTR) => return Ok(false),
        other => drop(other?),
    }
    let over = !ready[1].revents().is_empty();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    while events.next().is_ok() {}
    Ok(over)
}

/// Sets the file to where its last `lines` lines begin and tells how many there are, at most `lines`.
fn seek_to_tail(file: &mut File, lines: usize) -> io::Result<usize> {
    const CHUNK: u64 = 64 << 10;
    let mut end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(0);
    }
    let mut found = 0;
    let mut chunk = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(CHUNK);
        chunk.resize(usize::try_from(end - begin).unwrap_or(0), 0);
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut chunk)?;
        for (at, byte) in chunk.iter().enumerate().rev() {
            if *byte != b'\n' {
                continue;
            }
            // The line break at the very end ends the last line; each one before begins one more.
            if found == lines {
                file.seek(SeekFrom::Start(begin + at as u64 + 1))?;
                return Ok(found);
            }
            found += 1;
        }
        end = begin;
    }
    file.rewind()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize, stream: &str) -> String {
        format!(
            "{{\"log\":\"{number}\\n\",\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{number:02}Z\"}}\n"
        )
    }

    fn read(path: &Path, options: LogOptions) -> Vec<String> {
        let (sender, mut entries) = mpsc::channel(100);
        (Reader {
            options,
            sender: &sender,
        })
        .run(path, None)
        .unwrap();
        drop(sender);
        std::iter::from_fn(|| entries.blocking_recv())
            .map(|entry| {
                String::from_utf8_lossy(&entry.unwrap().line)
                    .trim()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of what to read")]
    fn files_are_read_in_order_and_cut_as_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let write = |name: &str, numbers: std::ops::Range<usize>| {
            let text: String = numbers
                .map(|number| line(number, if number % 2 == 0 { "stdout" } else { "stderr" }))
                .collect();
            fs_err::write(directory.path().join(name), text).unwrap();
        };
        write("x.log.2", 0..3);
        write("x.log.1", 3..6);
        write("x.log", 6..9);
        let all = LogOptions {
            stdout: true,
            stderr: true,
            ..LogOptions::default()
        };
        assert_eq!(
            read(&path, all),
            ["0", "1", "2", "3", "4", "5", "6", "7", "8"]
        );
        assert_eq!(
            read(
                &path,
                LogOptions {
                    tail: Some(2),
                    ..all
                }
            ),
            ["7", "8"]
        );
        assert_eq!(
            read(
                &path,
                LogOptions {
                    tail: Some(5),
                    ..all
                }
            ),
            ["4", "5", "6", "7", "8"]
        );
        assert_eq!(
            read(
                &path,
                LogOptions {
                    tail: Some(0),
                    ..all
                }
            ),
            [""; 0]
        );
        assert_eq!(
            read(
                &path,
                LogOptions {
                    tail: Some(100),
                    ..all
                }
            )
            .len(),
            9
        );
        assert_eq!(
            read(
                &path,
                LogOptions {
                    stderr: false,
                    tail: Some(5),
                    ..all
                }
            ),
            ["4", "6", "8"]
        );
        let time = |second: &str| format!("2026-01-01T00:00:{second}Z").parse().ok();
        assert_eq!(
            read(
                &path,
                LogOptions {
                    since: time("03"),
                    until: time("05"),
                    ..all
                }
            ),
            ["3", "4", "5"]
        );
    }

    #[test]
    fn half_a_line_waits_for_its_rest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        fs_err::write(&path, line(1, "stdout") + &line(2, "stdout")[..20]).unwrap();
        assert_eq!(
            read(
                &path,
                LogOptions {
                    stdout: true,
                    stderr: true,
                    ..LogOptions::default()
                }
            ),
            ["1"]
        );
    }
}
