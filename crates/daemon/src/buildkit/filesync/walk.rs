//! The files of a directory, as clients are told of them.

use super::mode;
use crate::buildkit::session::SessionError;
use bollard_buildkit_proto::fsutil::types::Stat;
use fs_err as fs;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A walk through a directory, what is in one right after it.
pub(super) struct Walk<'a> {
    root: &'a Path,
    /// What stands before the paths that clients are told.
    prefix: &'a Path,
    /// Names that are still to come, of each directory on the way, the last one first.
    open: Vec<(PathBuf, Vec<OsString>)>,
    started: bool,
    /// First names of files that have several.
    linked: HashMap<(u64, u64), String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Path, prefix: &'a str) -> Self {
        Self {
            root,
            prefix: Path::new(prefix),
            open: Vec::new(),
            started: false,
            linked: HashMap::new(),
        }
    }

    fn enter(&mut self, directory: PathBuf) -> Result<(), SessionError> {
        let path = self.root.join(&directory);
        let names = fs::read_dir(&path).and_then(|entries| {
            let names = entries.map(|entry| Ok(entry?.file_name()));
            names.collect::<io::Result<Vec<_>>>()
        });
        let mut names = names
            .map_err(|error| SessionError::local(format!("read {}", path.display()), error))?;
        names.sort_unstable_by(|one, other| other.as_bytes().cmp(one.as_bytes()));
        self.open.push((directory, names));
        Ok(())
    }

    /// The next entry, with its path below the root; `None` at the end.
    ///
    /// # Errors
    /// For what cannot be read, and for a name that is no text.
    pub(super) fn next(&mut self) -> Result<Option<(PathBuf, Stat)>, SessionError> {
        if !self.started {
            self.started = true;
            self.enter(PathBuf::new())?;
        }
        while let Some((directory, names)) = self.open.last_mut() {
            let Some(name) = names.pop() else {
                self.open.pop();
                continue;
            };
            let path = directory.join(name);
            let stat = self.stat(&path)?;
            if stat.mode & mode::DIR != 0 {
                self.enter(path.clone())?;
            }
            return Ok(Some((path, stat)));
        }
        Ok(None)
    }

    fn stat(&mut self, path: &Path) -> Result<Stat, SessionError> {
        let whole = self.root.join(path);
        let failed = |error| SessionError::local(format!("read {}", whole.display()), error);
        let name = self.prefix.join(path);
        let name = name
            .to_str()
            .ok_or_else(|| SessionError::Protocol(format!("{} is no text", path.display())))?;
        let metadata = fs::symlink_metadata(&whole).map_err(failed)?;
        let kind = metadata.file_type();
        let target = match kind.is_symlink() {
            true => Some(fs::read_link(&whole).map_err(failed)?),
            false => None,
        };
        let mut stat = described(name, &metadata, target.as_deref());
        if !kind.is_dir() && metadata.nlink() > 1 {
            let first = self.linked.entry((metadata.dev(), metadata.ino()));
            let first = first.or_insert_with(|| name.to_owned());
            if first != name && kind.is_file() {
                stat.linkname.clone_from(first);
                stat.size = 0;
            }
        }
        Ok(stat)
    }
}

/// A file as clients are told of it.
pub(in crate::buildkit) fn described(
    name: &str,
    metadata: &Metadata,
    target: Option<&Path>,
) -> Stat {
    let kind = metadata.file_type();
    let mut stat = Stat {
        path: name.to_owned(),
        mode: go_mode(metadata),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mod_time: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
        ..Stat::default()
    };
    if kind.is_char_device() || kind.is_block_device() {
        stat.devmajor = rustix::fs::major(metadata.rdev()).into();
        stat.devminor = rustix::fs::minor(metadata.rdev()).into();
    }
    if let Some(target) = target {
        stat.linkname = target.to_string_lossy().into_owned();
    }
    if kind.is_file() {
        stat.size = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
    }
    stat
}

/// A mode as Go's `fs.FileMode` has it; a socket is told of as an empty file.
fn go_mode(metadata: &Metadata) -> u32 {
    let kind = metadata.file_type();
    let unix = metadata.mode();
    let bit = |bit: u32, go: u32| if unix & bit == 0 { 0 } else { go };
    let kind = if kind.is_dir() {
        mode::DIR
    } else if kind.is_symlink() {
        mode::SYMLINK
    } else if kind.is_fifo() {
        mode::FIFO
    } else if kind.is_char_device() {
        mode::DEVICE | mode::CHAR_DEVICE
    } else if kind.is_block_device() {
        mode::DEVICE
    } else {
        0
    };
    kind | unix & 0o777
        | bit(0o4000, mode::SETUID)
        | bit(0o2000, mode::SETGID)
        | bit(0o1000, mode::STICKY)
}
