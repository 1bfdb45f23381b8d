//! `tmpcopyup`: a tmpfs starts with a copy of what it covers.

use hull_linux::path::Root;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode, openat, statat, symlinkat};
use std::io;
use std::path::Path;

/// Copies the directory at `path` into a file system that is attached nowhere. Both sides are walked by
/// descriptors, no link is followed.
pub(super) fn copy(root: &Root, path: &Path, into: &OwnedFd) -> io::Result<()> {
    let from = root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    copy_directory(from, into.as_fd())
}

fn copy_directory(from: OwnedFd, into: impl AsFd) -> io::Result<()> {
    let mut entries = Dir::read_from(&from)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode as RawMode & 0o7777);
        let safe = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(&into, name, mode)?;
                let inner = openat(
                    &from,
                    name,
                    OFlags::RDONLY | OFlags::DIRECTORY | safe,
                    Mode::empty(),
                )?;
                let target = openat(
                    &into,
                    name,
                    OFlags::RDONLY | OFlags::DIRECTORY | safe,
                    Mode::empty(),
                )?;
                copy_directory(inner, &target)?;
            }
            FileType::RegularFile => {
                let source = openat(&from, name, OFlags::RDONLY | safe, Mode::empty())?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | safe;
                let target = openat(&into, name, flags, mode)?;
                io::copy(
                    &mut std::fs::File::from(source),
                    &mut std::fs::File::from(target),
                )?;
            }
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(&from, name, Vec::new())?;
                symlinkat(&link, &into, name)?;
            }
            // Device nodes, sockets and pipes are made by whoever needs them.
            _ => continue,
        }
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(stat.st_uid),
            rustix::fs::Gid::from_raw(stat.st_gid),
        );
        rustix::fs::chownat(&into, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
