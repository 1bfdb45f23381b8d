//! Files of bounded size and number: `x.log`, before it `x.log.1`, before that `x.log.2` …; those that are not
//! written any more may be compressed, as `x.log.1.gz`.
//!
//! A compressed file has the time of its last change from the plain one, and that one's inode as the comment in its
//! header: readers know it again by these.

use crate::LogConfig;
use flate2::{Compression, GzBuilder};
use rustix::fs::{Timestamps, fstat, ftruncate, futimens};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A log's files, the current one open.
#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    max_size: u64,
    max_files: u32,
    compress: bool,
    file: File,
    size: u64,
    packing: Option<Packing>,
}

/// A file is being compressed.
#[derive(Debug)]
struct Packing {
    thread: JoinHandle<()>,
    /// Set when nobody waits for it any more.
    give_up: Arc<AtomicBool>,
}

impl Rotated {
    pub(super) fn open(config: &LogConfig) -> io::Result<Self> {
        if let Some(directory) = config.path.parent() {
            fs_err::create_dir_all(directory)?;
        }
        let file = open(&config.path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: config.path.clone(),
            max_size: config.max_size,
            max_files: config.max_files,
            compress: config.compress,
            file,
            size,
            packing: None,
        })
    }

    /// Whether the next entry belongs into a new file, with `waiting` bytes that are not written yet.
    pub(super) fn is_full(&self, waiting: usize) -> bool {
        self.max_size > 0 && self.size + waiting as u64 >= self.max_size
    }

    /// Writes whole entries, all of them or none.
    pub(super) fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        // Somebody may have removed the file, or cut it, to get space: a log that nobody can read is worth less
        // than a new one.
        let now = fstat(&self.file)?;
        self.size = u64::try_from(now.st_size).unwrap_or(0);
        if now.st_nlink == 0 {
            self.file = open(&self.path)?;
            self.size = 0;
        }
        let written = self.file.write_all(entries);
        match written {
            Ok(()) => self.size += entries.len() as u64,
            // A full disk: half an entry would spoil the next one.
            Err(_) => drop(ftruncate(&self.file, self.size)),
        }
        written
    }

    /// `x.log.1` becomes `x.log.2` and so on; the oldest goes, the current one becomes `x.log.1`.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        self.wait();
        if self.max_files <= 1 {
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        for packed in ["", ".gz"] {
            let oldest = numbered(&self.path, self.max_files - 1, packed);
            allow_missing(fs_err::remove_file(oldest))?;
            for number in (1..self.max_files - 1).rev() {
                let from = numbered(&self.path, number, packed);
                allow_missing(fs_err::rename(
                    from,
                    numbered(&self.path, number + 1, packed),
                ))?;
            }
        }
        let last = numbered(&self.path, 1, "");
        allow_missing(fs_err::rename(&self.path, &last))?;
        self.file = open(&self.path)?;
        self.size = 0;
        if self.compress {
            let give_up: Arc<AtomicBool> = Arc::default();
            let told = Arc::clone(&give_up);
            let thread = std::thread::Builder::new().name("pack".to_owned());
            // Without a thread for it, and when it fails, the file stays as it is.
            let thread = thread.spawn(move || drop(pack(&last, &told)));
            self.packing = thread.ok().map(|thread| Packing { thread, give_up });
        }
        Ok(())
    }

    /// Ends what is under way: a file that is not yet compressed stays plain. The container's end waits for this.
    pub(super) fn finish(&mut self) {
        if let Some(packing) = &self.packing {
            packing.give_up.store(true, Ordering::Relaxed);
        }
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(packing) = self.packing.take() {
            // It has told nobody whether it failed: the file is there in either form.
            let _ = packing.thread.join();
        }
    }
}

fn allow_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn numbered(path: &Path, number: u32, packed: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}{packed}"));
    name.into()
}

/// Replaces `x.log.1` by `x.log.1.gz`, unless told to give up; there is one of these at any time.
fn pack(path: &Path, give_up: &AtomicBool) -> io::Result<()> {
    let with = |suffix: &str| {
        let mut name = path.to_owned().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let plain = fs_err::File::open(path)?.into_parts().0;
    let unfinished = with(".gz.tmp");
    let packed = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&unfinished)?;
    let copied = || -> io::Result<()> {
        let mut encoder = GzBuilder::new()
            .comment(fstat(&plain)?.st_ino.to_string())
            .write(packed, Compression::fast());
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = (&plain).read(&mut buffer)?;
            if length == 0 {
                break;
            }
            if give_up.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            encoder.write_all(&buffer[..length])?;
        }
        let packed = encoder.finish()?;
        let changed = fstat(&plain)?;
        let moment = rustix::fs::Timespec {
            tv_sec: changed.st_mtime,
            tv_nsec: i64::try_from(changed.st_mtime_nsec).unwrap_or(0),
        };
        let times = Timestamps {
            last_access: moment,
            last_modification: moment,
        };
        futimens(&packed, &times)?;
        fs_err::rename(&unfinished, with(".gz"))
    };
    let outcome = copied();
    fs_err::remove_file(if outcome.is_ok() { path } else { &unfinished })?;
    outcome
}
