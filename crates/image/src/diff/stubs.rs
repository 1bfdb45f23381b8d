//! Mount points that the runtime made in a container's own layer because the image has none. In
//! Docker they are in a layer of their own between image and container, and so are no change of the
//! container's.

use super::walk::{Found, sorted_names};
use rustix::fd::BorrowedFd;
use rustix::fs::FileType;

/// Where containers always have something mounted, see `engine/src/container/mounts.rs`.
const DIRECTORIES: [&[u8]; 3] = [b"dev", b"proc", b"sys"];
const FILES: [&[u8]; 4] = [
    b".dockerenv",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/resolv.conf",
];
const FILES_IN: &[u8] = b"etc";
/// What the shim makes besides, and where it leads.
const LINK: (&[u8], &[u8]) = (b"etc/mtab", b"/proc/mounts");

/// Whether an entry of an upper directory is such a mount point, as it was made.
pub(super) fn is_stub(found: &Found<'_>) -> bool {
    match found.kind {
        FileType::RegularFile => found.stat.st_size == 0 && FILES.contains(&found.path),
        FileType::Directory => {
            DIRECTORIES.contains(&found.path)
                && names_in(found).is_some_and(|names| names.is_empty())
        }
        FileType::Symlink => found.path == LINK.0 && is_link(found.parent, &found.name),
        _ => false,
    }
}

fn is_link(directory: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::readlinkat(directory, name, Vec::new())
        .is_ok_and(|target| target.as_bytes() == LINK.1)
}

/// Whether an entry is the directory above such mount points, holds nothing else, and is otherwise
/// as it is below (`lower` is the root of what is below).
pub(super) fn holds_only_stubs(found: &Found<'_>, lower: Option<BorrowedFd<'_>>) -> bool {
    if found.path != FILES_IN || !found.is_directory() {
        return false;
    }
    let is_name = |name: &Vec<u8>| {
        let mut all = FILES.iter().chain([&LINK.0]);
        all.any(|path| path.ends_with(name) && path.len() == name.len() + 4)
    };
    let Some(names) = names_in(found).filter(|names| !names.is_empty()) else {
        return false;
    };
    let is_stub = |name: &Vec<u8>| {
        is_empty_file(found, name) || is_link(found.parent, &[FILES_IN, name].join(&b'/'))
    };
    if !names.iter().all(is_name) || !names.iter().all(is_stub) {
        return false;
    }
    let below = lower.and_then(|lower| super::walk::stat_at(lower, found.path).ok().flatten());
    below.is_none_or(|below| {
        below.st_mode == found.stat.st_mode
            && below.st_uid == found.stat.st_uid
            && below.st_gid == found.stat.st_gid
    })
}

fn names_in(found: &Found<'_>) -> Option<Vec<Vec<u8>>> {
    let directory = super::walk::directory_at(found.parent, &found.name).ok()??;
    sorted_names(rustix::fd::AsFd::as_fd(&directory)).ok()
}

fn is_empty_file(directory: &Found<'_>, name: &[u8]) -> bool {
    let path = [directory.name.as_slice(), name].join(&b'/');
    let stat = super::walk::stat_at(directory.parent, &path);
    stat.ok().flatten().is_some_and(|stat| {
        stat.st_size == 0 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
    })
}
