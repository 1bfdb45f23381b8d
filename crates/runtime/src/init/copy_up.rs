//! `tmpcopyup`: a tmpfs starts with a copy of what it covers.

use hull_linux::procfs::Proc;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RawMode, Uid, openat, statat, symlinkat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io;

/// Copies a directory into a file system that is attached nowhere. Both sides are walked by descriptors,
/// no link is followed, and nothing but directories and plain files is opened.
pub(super) fn copy(proc: &Proc, from: &OwnedFd, into: &OwnedFd) -> io::Result<()> {
    let from = proc.reopen(from.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?;
    copy_directory(&from, into, 0)
}

/// As deep as directories are copied; an image can nest them until descriptors or the stack end.
const MAX_DEPTH: u32 = 256;

fn copy_directory(from: &OwnedFd, into: &OwnedFd, depth: u32) -> io::Result<()> {
    if depth == MAX_DEPTH {
        return Err(Errno::LOOP.into());
    }
    let mut entries = Dir::read_from(from)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            copy_entry(from, into, name, depth)?;
        }
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, into: &OwnedFd, name: &CStr, depth: u32) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode as RawMode & 0o7777);
    let safe = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | safe;
    let owner = (
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    );
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(into, name, mode)?;
            let inner = openat(from, name, directory, Mode::empty())?;
            let target = openat(into, name, directory, Mode::empty())?;
            copy_directory(&inner, &target, depth + 1)?;
            rustix::fs::fchown(&target, owner.0, owner.1)?;
            // Changing the owner takes the set-id bits away.
            rustix::fs::fchmod(&target, mode)?;
        }
        FileType::RegularFile => {
            let source = openat(from, name, OFlags::RDONLY | safe, Mode::empty())?;
            let still = rustix::fs::fstat(&source)?.st_mode;
            if FileType::from_raw_mode(still) != FileType::RegularFile {
                return Err(Errno::AGAIN.into());
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | safe;
            let mut target = File::from(openat(into, name, flags, mode)?);
            io::copy(&mut File::from(source), &mut target)?;
            rustix::fs::fchown(&target, owner.0, owner.1)?;
            rustix::fs::fchmod(&target, mode)?;
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(from, name, Vec::new())?;
            symlinkat(&link, into, name)?;
            rustix::fs::chownat(into, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        // Device nodes, sockets and pipes are made by whoever needs them.
        _ => {}
    }
    Ok(())
}
