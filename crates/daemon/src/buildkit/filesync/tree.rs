//! Files made as a client tells of them, below one directory and nowhere else: what is above a file is opened
//! without following any link (openat2(2), Linux 5.6).

use super::order::split;
use super::{Kind, permissions};
use crate::buildkit::session::SessionError;
use bollard_buildkit_proto::fsutil::types::Stat;
use hull_engine::build::world::LocalEntry;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The directory that is written to.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    root: OwnedFd,
    /// The directory that was needed last: the next one mostly is the same.
    last: Option<(String, OwnedFd)>,
}

impl Tree {
    /// What is to be below `path`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(path: PathBuf) -> Result<Self, SessionError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &path, flags, Mode::empty())
            .map_err(|error| failed("open", &path.to_string_lossy(), error))?;
        let last = None;
        Ok(Self { path, root, last })
    }

    /// The directory that `path` is in, and its name there.
    fn place<'a>(&mut self, path: &'a str) -> Result<(BorrowedFd<'_>, &'a str), SessionError> {
        let (parent, name) = split(path);
        if parent.is_empty() {
            return Ok((self.root.as_fd(), name));
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let opened = beneath(self.root.as_fd(), parent)?;
            self.last = Some((parent.to_owned(), opened));
        }
        let directory = self.last.as_ref().map_or(&self.root, |(_, last)| last);
        Ok((directory.as_fd(), name))
    }

    /// Makes what has no bytes to wait for.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn make(&mut self, stat: &Stat, kind: Kind) -> Result<(), SessionError> {
        let path = stat.path.as_str();
        if kind == Kind::HardLink {
            return self.link(path, &stat.linkname);
        }
        let (directory, name) = self.place(path)?;
        match kind {
            Kind::Directory => rustix::fs::mkdirat(directory, name, Mode::RWXU),
            Kind::Symlink => rustix::fs::symlinkat(&stat.linkname, directory, name),
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => node(directory, name, stat, kind),
            Kind::File | Kind::HardLink => return Ok(()),
        }
        .map_err(|error| failed("make", path, error))?;
        self.describe(stat, kind)
    }

    /// Gives a file another name. All else is the first one's.
    fn link(&mut self, path: &str, target: &str) -> Result<(), SessionError> {
        let (parent, file) = split(target);
        let source = beneath(self.root.as_fd(), parent)?;
        let (directory, name) = self.place(path)?;
        rustix::fs::linkat(&source, file, directory, name, AtFlags::empty())
            .map_err(|error| failed("link", path, error))
    }

    /// Gives what is no regular file its owner, mode, attributes, and, unless it is a directory, time.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn describe(&mut self, stat: &Stat, kind: Kind) -> Result<(), SessionError> {
        let path = stat.path.as_str();
        let whole = self.path.join(path);
        let (directory, name) = self.place(path)?;
        let (uid, gid) = owner(stat);
        rustix::fs::chownat(
            directory,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|error| failed("give an owner to", path, error))?;
        if kind != Kind::Symlink {
            let mode = Mode::from_raw_mode(permissions(stat));
            rustix::fs::chmodat(directory, name, mode, AtFlags::empty())
                .map_err(|error| failed("give a mode to", path, error))?;
            for (attribute, value) in kept_attributes(stat) {
                rustix::fs::lsetxattr(&whole, attribute, value, XattrFlags::empty())
                    .map_err(|error| failed("give attributes to", path, error))?;
            }
        }
        if kind == Kind::Directory {
            return Ok(());
        }
        self.touch(stat)
    }

    /// Gives a file its time.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn touch(&mut self, stat: &Stat) -> Result<(), SessionError> {
        let (directory, name) = self.place(&stat.path)?;
        rustix::fs::utimensat(directory, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed("give a time to", &stat.path, error))
    }

    /// Opens a new regular file for its bytes.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn create(&mut self, stat: &Stat) -> Result<File, SessionError> {
        let (directory, name) = self.place(&stat.path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::openat(directory, name, flags | OFlags::CLOEXEC, mode)
            .map(File::from)
            .map_err(|error| failed("make", &stat.path, error))
    }

    /// Removes a file, a directory with all that is in it.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn remove(&mut self, path: &str, kind: Kind) -> Result<(), SessionError> {
        if kind == Kind::Directory {
            self.last = None;
            let removed = fs_err::remove_dir_all(self.path.join(path));
            return removed.map_err(|error| SessionError::local(format!("remove {path:?}"), error));
        }
        let (directory, name) = self.place(path)?;
        rustix::fs::unlinkat(directory, name, AtFlags::empty())
            .map_err(|error| failed("remove", path, error))
    }
}

/// A directory below `root`.
fn beneath(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, SessionError> {
    let path = if path.is_empty() { "." } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
        .map_err(|error| failed("open", path, error))
}

/// Gives a regular file that has all its bytes the rest.
///
/// # Errors
/// What the file system says.
pub(super) fn complete(file: &File, stat: &Stat) -> Result<(), SessionError> {
    let of = |error| failed("complete", &stat.path, error);
    if stat.uid != 0 || stat.gid != 0 {
        let (uid, gid) = owner(stat);
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(of)?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(permissions(stat))).map_err(of)?;
    for (attribute, value) in kept_attributes(stat) {
        rustix::fs::fsetxattr(file, attribute, value, XattrFlags::empty()).map_err(of)?;
    }
    rustix::fs::futimens(file, &times(stat)).map_err(of)
}

/// What [`Tree`] makes of it; `None` for another name of a file, and for a device that cannot be.
pub(super) fn on_disk(stat: &Stat, kind: Kind) -> Option<LocalEntry<'_>> {
    let (file_type, mode) = match kind {
        Kind::Directory => (FileType::Directory, permissions(stat)),
        Kind::File => (FileType::RegularFile, permissions(stat)),
        Kind::Symlink => (FileType::Symlink, 0o777),
        Kind::Fifo => (FileType::Fifo, permissions(stat)),
        Kind::CharDevice => (FileType::CharacterDevice, permissions(stat)),
        Kind::BlockDevice => (FileType::BlockDevice, permissions(stat)),
        Kind::HardLink => return None,
    };
    let device = match kind {
        Kind::CharDevice | Kind::BlockDevice => {
            let number = |number: i64| u32::try_from(number).ok();
            rustix::fs::makedev(number(stat.devmajor)?, number(stat.devminor)?)
        }
        _ => 0,
    };
    // A link has none.
    let attributes = kept_attributes(stat).filter(|_| kind != Kind::Symlink);
    let mut attributes: Vec<(&str, &[u8])> = attributes
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    attributes.sort_unstable();
    Some(LocalEntry {
        path: &stat.path,
        mode: file_type.as_raw_mode() | mode,
        owner: (stat.uid, stat.gid),
        device,
        link: &stat.linkname,
        attributes,
        digest: None,
    })
}

fn node(
    directory: BorrowedFd<'_>,
    name: &str,
    stat: &Stat,
    kind: Kind,
) -> Result<(), rustix::io::Errno> {
    let kind = match kind {
        Kind::Fifo => FileType::Fifo,
        Kind::CharDevice => FileType::CharacterDevice,
        _ => FileType::BlockDevice,
    };
    let number = |number: i64| u32::try_from(number).map_err(|_| rustix::io::Errno::INVAL);
    let (major, minor) = (number(stat.devmajor)?, number(stat.devminor)?);
    // To an overlay that would be a file that was removed.
    if kind == FileType::CharacterDevice && (major, minor) == (0, 0) {
        return Err(rustix::io::Errno::INVAL);
    }
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(directory, name, kind, Mode::RUSR | Mode::WUSR, device)
}

/// The attributes that mean something in an image. Others are the file system's business, and to an overlay
/// some of them are orders.
fn kept_attributes(stat: &Stat) -> impl Iterator<Item = (&String, &Vec<u8>)> {
    let kept = |name: &str| name.starts_with("user.") || name == "security.capability";
    stat.xattrs.iter().filter(move |(name, _)| {
        kept(name) && !name.starts_with("user.overlay.") && !name.contains('\0')
    })
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.uid), Gid::from_raw(stat.gid))
}

fn times(stat: &Stat) -> Timestamps {
    const NANOSECONDS: i64 = 1_000_000_000;
    let time = Timespec {
        tv_sec: stat.mod_time.div_euclid(NANOSECONDS),
        tv_nsec: stat.mod_time.rem_euclid(NANOSECONDS),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn failed(verb: &str, path: &str, error: rustix::io::Errno) -> SessionError {
    SessionError::local(format!("{verb} {path:?}"), io::Error::from(error))
}
