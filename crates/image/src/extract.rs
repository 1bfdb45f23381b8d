//! An archive's files into a container: `docker cp` in.
//!
//! Not as a layer is unpacked ([`crate::ingest`]): the place is full already, and somebody may be at
//! work there who means harm. Links on the way to an entry are followed as the container's own
//! programs would follow them: the container's root is the root of all, and nothing leads out of it.
//! What has an entry's name is replaced, a link never written through. Whiteouts mean nothing.

pub use crate::unpack::Error as ArchiveError;
use crate::unpack::{
    Archive, Entry, Kind, Trail, copy, copy_sparse, is_blocked, make_implied, remove_tree,
    set_attributes, set_attributes_at, set_times_at, split,
};
use hull_linux::path::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// How an archive is extracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A directory is not replaced by something else, nor the other way round.
    pub keep_kind: bool,
    /// Whose the files become, user and group, in place of what the archive says.
    pub owner: Option<(u32, u32)>,
}

/// Why an archive cannot be extracted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An entry of the archive, or the archive itself.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It is no archive. The text is that of Go, which clients of dockerd look for.
    #[error("archive/tar: invalid tar header")]
    NoArchive,
    /// What is there is of another kind.
    #[error("cannot overwrite {there} {name:?} with {new} {target:?}")]
    Overwrite {
        /// `directory` or `non-directory`.
        there: &'static str,
        /// The entry.
        name: String,
        /// `directory` or `non-directory`.
        new: &'static str,
        /// Where the archive goes.
        target: String,
    },
    /// An entry above the target.
    #[error("{name:?} is outside of {target:?}")]
    Outside {
        /// The entry.
        name: String,
        /// Where the archive goes.
        target: String,
    },
}

/// Extracts a plain tar archive into `directory`, which is at `path` in `root`.
///
/// # Errors
/// See [`Error`]; what was extracted until then stays, as in Docker.
pub fn extract(
    archive: &mut dyn BufRead,
    (root, path, directory): (&Root, &Path, OwnedFd),
    options: Options,
) -> Result<(), Error> {
    let mut archive = Archive::new(archive);
    let mut place = Place {
        root,
        path,
        directory,
        options,
        here: Trail::default(),
        there: Trail::default(),
        directories: Vec::new(),
    };
    while let Some(entry) = archive.next().map_err(no_archive)? {
        place.add(entry, &mut archive)?;
    }
    place.finish();
    Ok(())
}

fn no_archive(error: ArchiveError) -> Error {
    match error {
        ArchiveError::Header(what) => {
            tracing::debug!(what, "an upload is no archive");
            Error::NoArchive
        }
        other => Error::Archive(other),
    }
}

/// A directory that files come into.
struct Place<'r> {
    root: &'r Root,
    path: &'r Path,
    directory: OwnedFd,
    options: Options,
    here: Trail,
    /// The directories of hard links' targets.
    there: Trail,
    /// What gets its times when nothing will be put into it any more.
    directories: Vec<Entry>,
}

/// An open directory: one that the trail keeps, or one that was found through a link.
enum Opened<'t> {
    Straight(BorrowedFd<'t>),
    Followed(OwnedFd),
}

impl AsFd for Opened<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Straight(directory) => *directory,
            Self::Followed(directory) => directory.as_fd(),
        }
    }
}

impl Place<'_> {
    fn add(&mut self, mut entry: Entry, archive: &mut Archive<'_>) -> Result<(), Error> {
        if let Some((user, group)) = self.options.owner {
            (entry.uid, entry.gid) = (user, group);
        }
        let path = entry.path.clone();
        let Some(mut parents) = split(&path) else {
            return Err(outside(&entry.path, self.path));
        };
        let Some(name) = parents.pop() else {
            // The target itself: it stays as it is, unless it is spelled as a root.
            if entry.kind == Kind::Directory && path.starts_with(b"/") {
                set_attributes(self.directory.as_fd(), &entry, None)?;
            }
            return Ok(());
        };
        let target = self.path.to_string_lossy().into_owned();
        let parent = open(
            &mut self.here,
            (self.root, self.path, &self.directory),
            &parents,
            &entry,
        )?;
        let keeps = self.options.keep_kind;
        let replaced = clear(parent.as_fd(), name, &entry, keeps.then_some(&target))?;
        match entry.kind {
            Kind::File => file(parent.as_fd(), name, &entry, archive)?,
            Kind::Directory => directory(parent.as_fd(), name, &entry)?,
            Kind::Symlink => {
                let made = rustix::fs::symlinkat(entry.link.as_slice(), parent.as_fd(), name);
                made.map_err(failed("create symbolic link", &entry))?;
                set_attributes_at(parent.as_fd(), name, &entry)?;
            }
            Kind::Character | Kind::Block | Kind::Fifo => node(parent.as_fd(), name, &entry)?,
            Kind::HardLink => {
                let Some(mut parents) = split(&entry.link) else {
                    return Err(outside(&entry.link, self.path));
                };
                let old = parents.pop().unwrap_or(b".");
                let place = (self.root, self.path, &self.directory);
                let there = open(&mut self.there, place, &parents, &entry)?;
                rustix::fs::linkat(there.as_fd(), old, parent.as_fd(), name, AtFlags::empty())
                    .map_err(failed("create hard link", &entry))?;
            }
        }
        if replaced {
            // What was a way may be none any more.
            self.here.forget();
            self.there.forget();
        }
        if entry.kind == Kind::Directory {
            entry.xattrs = Vec::new();
            self.directories.push(entry);
        }
        Ok(())
    }

    /// Gives directories their times; one that somebody took away meanwhile needs none.
    fn finish(mut self) {
        for entry in std::mem::take(&mut self.directories).into_iter().rev() {
            let mut parents = split(&entry.path).unwrap_or_default();
            let Some(name) = parents.pop() else {
                continue;
            };
            let place = (self.root, self.path, &self.directory);
            if let Ok(parent) = open(&mut self.here, place, &parents, &entry) {
                let _ = set_times_at(parent.as_fd(), name, &entry);
            }
        }
    }
}

/// The directory of an entry; what is missing of it is made. Straight ways need no look-up from the
/// root, ways through links begin there.
fn open<'t>(
    trail: &'t mut Trail,
    (root, path, directory): (&Root, &Path, &'t OwnedFd),
    parents: &[&[u8]],
    entry: &Entry,
) -> Result<Opened<'t>, Error> {
    let straight = trail.enter(directory, parents, &mut |parent, name, errno| match errno {
        Errno::NOENT => make_implied(parent, name)
            .map_err(|errno| ArchiveError::io("create directory above", &entry.path, errno.into())),
        errno => Err(ArchiveError::io(
            "open directory above",
            &entry.path,
            errno.into(),
        )),
    });
    let blocked = match &straight {
        Err(ArchiveError::Io { source, .. }) => is_blocked(source),
        _ => false,
    };
    if !blocked {
        // Asked for once more because the first answer borrows the trail for as long as it is used.
        drop(straight);
        return trail
            .enter(directory, parents, &mut |_, _, errno| {
                Err(ArchiveError::io(
                    "open directory above",
                    &entry.path,
                    errno.into(),
                ))
            })
            .map(Opened::Straight)
            .map_err(Error::Archive);
    }
    let below: PathBuf = parents.iter().map(|part| OsStr::from_bytes(part)).collect();
    root.ensure_directory(&path.join(below), 0o755)
        .map(Opened::Followed)
        .map_err(|source| ArchiveError::io("open directory above", &entry.path, source).into())
}

/// Takes away what has an entry's name, but for a directory where a directory comes. Tells whether a
/// directory went.
fn clear(
    parent: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    keep_kind: Option<&String>,
) -> Result<bool, Error> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        stat => stat.map_err(failed("look at", entry))?,
    };
    let there = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let new = entry.kind == Kind::Directory;
    let word = |directory| {
        if directory {
            "directory"
        } else {
            "non-directory"
        }
    };
    match (keep_kind, there == new) {
        (Some(target), false) => Err(Error::Overwrite {
            there: word(there),
            name: String::from_utf8_lossy(&entry.path)
                .trim_end_matches('/')
                .to_owned(),
            new: word(new),
            target: target.clone(),
        }),
        (_, true) if new => Ok(false),
        _ if there => remove_tree(parent, name)
            .map(|()| true)
            .map_err(|source| ArchiveError::io("replace", &entry.path, source).into()),
        _ => rustix::fs::unlinkat(parent, name, AtFlags::empty())
            .map(|()| false)
            .map_err(failed("replace", entry)),
    }
}

fn file(
    parent: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    archive: &mut Archive<'_>,
) -> Result<(), Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(failed("create file", entry))?;
    match &entry.sparse {
        None => copy(archive, entry, &mut |bytes| rustix::io::write(&file, bytes))?,
        Some(segments) => copy_sparse(archive, entry, &file, segments)?,
    }
    Ok(set_attributes(file.as_fd(), entry, None)?)
}

fn directory(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Error> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed("create directory", entry)(errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())
        .map_err(failed("open directory", entry))?;
    Ok(set_attributes(directory.as_fd(), entry, None)?)
}

fn node(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Error> {
    let kind = match entry.kind {
        Kind::Character => FileType::CharacterDevice,
        Kind::Block => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    let device = rustix::fs::makedev(entry.device.0, entry.device.1);
    let mode = Mode::from_raw_mode(entry.mode);
    rustix::fs::mknodat(parent, name, kind, mode, device)
        .map_err(failed("create device", entry))?;
    Ok(set_attributes_at(parent, name, entry)?)
}

fn outside(name: &[u8], target: &Path) -> Error {
    Error::Outside {
        name: String::from_utf8_lossy(name).into_owned(),
        target: target.to_string_lossy().into_owned(),
    }
}

fn failed(operation: &'static str, entry: &Entry) -> impl Fn(Errno) -> Error {
    move |errno| ArchiveError::io(operation, &entry.path, errno.into()).into()
}

#[cfg(test)]
mod tests;
