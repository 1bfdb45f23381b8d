//! Checkpoint and restore by CRIU, which is a program of its own (package `criu`).
//!
//! ```text
//! service.rs   CRIU as a child, and what it is asked      dump.rs     a container becomes files
//! message.rs   the wire form of questions and answers     restore.rs  files become a container
//! external.rs  mounts and namespaces that are not the container's: named at the dump, given back at the restore
//! ```

mod dump;
mod external;
mod message;
mod restore;
mod service;

pub(crate) use dump::{Dump, PageServer, dump};
pub(crate) use restore::{Restore, restore};

use crate::error::{Error, Step as _, said};
use crate::report::Report;
use hull_spec::runtime::Spec;
use message::Message;
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// What a dump and its restore are both told.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// `--image-path`.
    pub(crate) images: PathBuf,
    /// `--work-path`: where the log goes; without it, beside the images.
    pub(crate) work: Option<PathBuf>,
    /// `--tcp-established`.
    pub(crate) tcp_established: bool,
    /// `--ext-unix-sk`.
    pub(crate) external_unix: bool,
    /// `--shell-job`.
    pub(crate) shell_job: bool,
    /// `--file-locks`.
    pub(crate) file_locks: bool,
    /// `--auto-dedup`.
    pub(crate) auto_dedup: bool,
    /// `--lazy-pages`.
    pub(crate) lazy_pages: bool,
    /// `--manage-cgroups-mode`.
    pub(crate) groups: GroupMode,
    /// `--empty-ns`: `CLONE_NEW*` of namespaces whose content is not kept.
    pub(crate) empty_namespaces: u64,
}

/// How much of control groups is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum GroupMode {
    /// Nothing.
    Ignore = 0,
    /// Groups, and their properties if they have to be made.
    #[default]
    Soft = 3,
    /// Groups and properties.
    Full = 4,
    /// As `Full`, for groups that must not be there yet.
    Strict = 5,
}

impl GroupMode {
    /// The mode by its word.
    pub(crate) fn of(word: &str) -> Result<Self, Error> {
        match word {
            "soft" => Ok(Self::Soft),
            "full" => Ok(Self::Full),
            "strict" => Ok(Self::Strict),
            "ignore" => Ok(Self::Ignore),
            _ => Err(said("invalid manage-cgroups-mode value")),
        }
    }
}

/// Directories that CRIU writes to or reads from. It opens them anew through the runtime's `/proc/PID/fd`,
/// and mounts in them: they must have been opened in its mount namespace.
struct Directories {
    images: OwnedFd,
    work: Option<OwnedFd>,
}

impl Directories {
    /// Opens them; the work directory, and `new` also the one for images, is made if it is not there.
    fn open(options: &Options, new: bool) -> Result<Self, Error> {
        let make = |path: &Path| {
            // For nobody else: inside is the memory of processes.
            let mut directory = std::fs::DirBuilder::new();
            let made = directory.recursive(true).mode(0o700).create(path);
            made.step(|| format!("mkdir {}", path.display()))
        };
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let step = || format!("open {}", path.display());
            rustix::fs::open(path, flags, Mode::empty()).step(step)
        };
        if new {
            make(&options.images)?;
        }
        Ok(Self {
            images: open(&options.images)?,
            work: match &options.work {
                Some(path) => Some(make(path).and_then(|()| open(path))?),
                None => None,
            },
        })
    }

    /// Takes them from who has opened them.
    fn received(files: Vec<OwnedFd>) -> Result<Self, Error> {
        let mut files = files.into_iter();
        Ok(Self {
            images: files.next().ok_or_else(|| said("no directory was sent"))?,
            work: files.next(),
        })
    }

    fn into_files(self) -> Vec<OwnedFd> {
        std::iter::once(self.images).chain(self.work).collect()
    }

    /// Adds them to `criu_opts`.
    fn add(&self, message: &mut Message) {
        message.number(1, self.images.as_raw_fd().into());
        if let Some(work) = &self.work {
            message.number(17, work.as_raw_fd().into());
        }
    }
}

/// The fields of `criu_opts` that a dump and a restore share.
fn common(options: &Options, log: &str, spec: &Spec) -> Message {
    let mut message = Message::default();
    message
        .flag(4, options.external_unix)
        .flag(5, options.tcp_established)
        .flag(7, options.shell_job)
        .flag(8, options.file_locks)
        .number(9, 4)
        .text(10, log)
        .flag(12, true)
        .flag(16, options.auto_dedup)
        .flag(24, true)
        .number(34, options.groups as i64)
        .number(38, options.empty_namespaces.cast_signed())
        .flag(48, options.lazy_pages)
        .flag(50, true);
    // As runc: its file unless the container names another, or none.
    let file = spec.annotations.get("org.criu.config");
    let file = file.map_or("/etc/criu/runc.conf", String::as_str);
    if !file.is_empty() {
        message.text(51, file);
    }
    message
}

/// How many lines before an error of the log are shown.
const BEFORE: usize = 5;

/// Shows the errors of CRIU's log, each with the lines before it.
fn quote_log(options: &Options, name: &str, report: &Report) {
    let path = options.work.as_ref().unwrap_or(&options.images).join(name);
    let Ok(file) = fs_err::File::open(&path) else {
        return;
    };
    let mut before = VecDeque::new();
    let mut quoted = false;
    for (number, line) in BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .enumerate()
    {
        let is_error = line.contains("Error");
        before.push_back(format!("{}:{line}", number + 1));
        if is_error {
            if !quoted {
                report.warning(&format!("--- Quoting {:?}", path.display().to_string()));
            }
            quoted = true;
            before.drain(..).for_each(|line| report.warning(&line));
        } else if before.len() > BEFORE {
            before.pop_front();
        }
    }
    if quoted {
        report.warning("---");
    }
}
