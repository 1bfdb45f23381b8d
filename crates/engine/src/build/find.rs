//! Places in trees: looked up, made, listed, removed, with the tree's root as the root of all.

use super::copy::Look;
use hull_build::world::WorldError;
use hull_linux::path::Root;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// Something to copy: an entry that was opened with `O_PATH`.
pub(super) struct Found {
    pub(super) entry: OwnedFd,
    pub(super) stat: Stat,
}

impl Found {
    pub(super) fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    pub(super) fn is_link(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Symlink
    }

    pub(super) fn is_file(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::RegularFile
    }

    /// Opens it to be read.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.entry.as_raw_fd());
        Ok(rustix::fs::open(
            path,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?)
    }
}

/// Looks a path up; the last name may be a link only if that is not to be followed.
pub(super) fn find(root: &Root, path: &Path, follow: bool) -> io::Result<Found> {
    let entry = if follow {
        root.open_at(path, OFlags::PATH)?
    } else {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                let parent = root.open_at(parent, OFlags::PATH | OFlags::DIRECTORY)?;
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, name, flags, Mode::empty())?
            }
            _ => root.open_at(path, OFlags::PATH)?,
        }
    };
    let stat = rustix::fs::fstat(&entry)?;
    Ok(Found { entry, stat })
}

/// Where a path leads that may be a link, or a link to one, to something that may not be there.
///
/// # Errors
/// `ELOOP`, and those of openat2(2).
pub(super) fn followed(root: &Root, path: &Path) -> io::Result<PathBuf> {
    const MOST: usize = 40;
    if find(root, path, false).is_ok_and(|found| !found.is_link()) {
        return Ok(path.to_owned());
    }
    let mut links = 0;
    let mut done = PathBuf::from("/");
    let mut left: Vec<OsString> = Vec::new();
    let push = |left: &mut Vec<OsString>, path: &Path| {
        let names = path.components().rev().filter_map(|name| match name {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        });
        left.extend(names);
    };
    push(&mut left, path);
    while let Some(name) = left.pop() {
        if name == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&name);
        match find(root, &next, false) {
            Ok(found) if found.is_link() => {
                links += 1;
                if links > MOST {
                    return Err(Errno::LOOP.into());
                }
                let target = rustix::fs::readlinkat(&found.entry, "", Vec::new())?;
                let target = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                push(&mut left, &target);
            }
            _ => done = next,
        }
    }
    Ok(done)
}

/// A path as text, from the root, `..` taken out; whether it ended with a slash is told.
pub(super) fn cleaned(path: &str) -> (PathBuf, bool) {
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    (clean, path.ends_with('/') || path.ends_with("/."))
}

/// Makes a directory and what is missing above it; what is made gets an owner and a time.
pub(super) fn make_directories(
    root: &Root,
    path: &Path,
    mode: u32,
    look: &Look,
) -> io::Result<OwnedFd> {
    if let Ok(there) = root.open_at(path, OFlags::PATH | OFlags::DIRECTORY) {
        return Ok(there);
    }
    let mut done = PathBuf::new();
    let mut last = None;
    for component in path.components() {
        done.push(component);
        if let Ok(there) = root.open_at(&done, OFlags::PATH | OFlags::DIRECTORY) {
            last = Some(there);
            continue;
        }
        let made = root.ensure_directory(&done, mode)?;
        let path = format!("/proc/self/fd/{}", made.as_raw_fd());
        // The process's umask is not the image's business; that a directory's group is that of all below it, is.
        let inherited = rustix::fs::fstat(&made)?.st_mode & 0o2000;
        rustix::fs::chmod(&path, Mode::from_raw_mode(mode | inherited))?;
        if let Some((user, group)) = look.owner {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            rustix::fs::chown(&path, Some(user), Some(group))?;
        }
        if let Some(time) = look.time {
            rustix::fs::utimensat(rustix::fs::CWD, &path, &times(time), AtFlags::empty())?;
        }
        last = Some(made);
    }
    last.map_or_else(|| root.open_at(Path::new("/"), OFlags::PATH), Ok)
}

/// The error, or what is in the way where a directory has to be.
pub(super) fn unless_blocked(
    root: &Root,
    path: &Path,
    what: String,
    error: io::Error,
) -> WorldError {
    if error.kind() == io::ErrorKind::NotADirectory {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        let file = |path: &&Path| find(root, path, true).is_ok_and(|there| !there.is_directory());
        if let Some(file) = above.into_iter().find(file) {
            return WorldError::Invalid(format!("mkdir {}: not a directory", file.display()));
        }
    }
    WorldError::caused(what, error)
}

pub(super) fn times(nanoseconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// The names in a directory, sorted.
pub(super) fn names(directory: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

pub(super) fn write_all(file: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
