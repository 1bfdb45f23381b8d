//! A tree, entry by entry, in the order of names: a directory comes before what is in it.

use super::Error;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// As long as a path may be for the kernel, and for dockerd. It bounds how many directories are open.
const MAX_PATH: usize = 4096;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An entry.
#[derive(Debug)]
pub(super) struct Found<'w> {
    /// Relative to the root, without a slash at either end.
    pub(super) path: &'w [u8],
    pub(super) name: Vec<u8>,
    pub(super) parent: BorrowedFd<'w>,
    pub(super) stat: Stat,
    pub(super) kind: FileType,
}

impl Found<'_> {
    /// overlayfs's mark for "nothing here, whatever is below": character device 0/0.
    pub(super) fn is_whiteout(&self) -> bool {
        self.kind == FileType::CharacterDevice && self.stat.st_rdev == 0
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// Opens a regular file; `None` when it is gone or something else by now.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(self.parent, self.name.as_slice(), flags, Mode::empty()) {
            Ok(file) => {
                let stat = rustix::fs::fstat(&file).map_err(self.failed("look at"))?;
                let same = stat.st_ino == self.stat.st_ino
                    && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                Ok(same.then_some(file))
            }
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => Ok(None),
            Err(errno) => Err(self.failed("open")(errno)),
        }
    }

    pub(super) fn failed(&self, operation: &'static str) -> impl Fn(Errno) -> Error + use<'_> {
        move |errno| Error::io(operation, self.path, errno)
    }
}

/// What comes next.
pub(super) enum Step<'w> {
    Entry(Found<'w>),
    /// All of a directory that was entered has been told.
    Leave,
}

#[derive(Debug)]
struct Frame {
    directory: OwnedFd,
    names: std::vec::IntoIter<Vec<u8>>,
    /// How long the path is up to here.
    length: usize,
}

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    frames: Vec<Frame>,
    path: Vec<u8>,
}

impl Walk {
    /// Begins in an open directory, which itself is not told.
    pub(super) fn new(root: BorrowedFd<'_>) -> Result<Self, Error> {
        let directory = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())
            .map_err(|errno| Error::io("open", b"/", errno))?;
        let mut walk = Self {
            frames: Vec::new(),
            path: Vec::new(),
        };
        walk.push(directory)?;
        Ok(walk)
    }

    fn push(&mut self, directory: OwnedFd) -> Result<(), Error> {
        let names = sorted_names(directory.as_fd())
            .map_err(|errno| Error::io("list", &self.path, errno))?;
        self.frames.push(Frame {
            directory,
            names: names.into_iter(),
            length: self.path.len(),
        });
        Ok(())
    }

    /// The next step; `None` at the end of the root.
    pub(super) fn next(&mut self) -> Result<Option<Step<'_>>, Error> {
        let (name, stat) = loop {
            let Some(frame) = self.frames.last_mut() else {
                return Ok(None);
            };
            self.path.truncate(frame.length);
            let Some(name) = frame.names.next() else {
                self.frames.pop();
                return Ok((!self.frames.is_empty()).then_some(Step::Leave));
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            if self.path.len() >= MAX_PATH {
                let path = super::shown(&self.path[..100]);
                return Err(Error::TooDeep { path });
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::statat(&frame.directory, name.as_slice(), flags) {
                Ok(stat) => break (name, stat),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::io("look at", &self.path, errno)),
            }
        };
        let Some(frame) = self.frames.last() else {
            return Ok(None);
        };
        Ok(Some(Step::Entry(Found {
            path: &self.path,
            name,
            parent: frame.directory.as_fd(),
            kind: FileType::from_raw_mode(stat.st_mode),
            stat,
        })))
    }

    /// Goes into the directory that was told last. `false` when it is gone: then it is not left either.
    pub(super) fn enter(&mut self, name: &[u8]) -> Result<bool, Error> {
        let Some(frame) = self.frames.last() else {
            return Ok(false);
        };
        match rustix::fs::openat(&frame.directory, name, DIRECTORY, Mode::empty()) {
            Ok(directory) => self.push(directory).map(|()| true),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(errno) => Err(Error::io("open", &self.path, errno)),
        }
    }

    /// The path of the directory that was entered last.
    pub(super) fn path(&self) -> &[u8] {
        let length = self.frames.last().map_or(0, |frame| frame.length);
        &self.path[..length]
    }
}

/// The names in an open directory, without `.` and `..`.
pub(super) fn sorted_names(directory: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Opens a directory by its name, if it is one.
pub(super) fn directory_at(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What a name stands for, if it is there.
pub(super) fn stat_at(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}
