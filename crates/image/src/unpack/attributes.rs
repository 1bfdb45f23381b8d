//! What an entry has besides its content: owner, permissions, extended attributes, times.
//!
//! Owners are set before permissions, because chown(2) clears set-id bits, and extended attributes
//! after owners, because it clears capabilities too.

use super::Error;
use super::archive::{Entry, Kind};
use hull_linux::xattr;
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// overlayfs's own attributes: from an archive they could redirect lookups in other layers.
const RESERVED: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Sets the attributes of an entry that cannot be opened; nothing can have exchanged it since it
/// was made.
pub(super) fn set_attributes_at(
    parent: BorrowedFd<'_>,
    at: &[u8],
    entry: &Entry,
) -> Result<(), Error> {
    let failed = |errno: Errno| Error::io("set attributes of", &entry.path, errno.into());
    let (user, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(parent, at, Some(user), Some(group), flags).map_err(failed)?;
    if entry.kind != Kind::Symlink {
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(parent, at, mode, AtFlags::empty()).map_err(failed)?;
    }
    for (name, value) in attributes(entry) {
        tolerate(xattr::set_at(parent, at, name, value), entry, name)?;
    }
    set_times_at(parent, at, entry).map_err(failed)
}

/// Sets an entry's times, whatever it is.
pub(super) fn set_times_at(parent: BorrowedFd<'_>, at: &[u8], entry: &Entry) -> Result<(), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(parent, at, &times(entry), flags)
}

/// Sets what an open file or directory has besides its content. `owner` is the owner it has
/// already, where that is known.
pub(super) fn set_attributes(
    file: BorrowedFd<'_>,
    entry: &Entry,
    owner: Option<(u32, u32)>,
) -> Result<(), Error> {
    let failed = |errno: Errno| Error::io("set attributes of", &entry.path, errno.into());
    if owner != Some((entry.uid, entry.gid)) {
        let (user, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::fchown(file, Some(user), Some(group)).map_err(failed)?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(failed)?;
    for (name, value) in attributes(entry) {
        tolerate(xattr::set(file, name, value), entry, name)?;
    }
    rustix::fs::futimens(file, &times(entry)).map_err(failed)
}

/// Whether files of a kind can have an attribute, going by its name space (xattr(7)): what they cannot
/// have is left out, as Docker does.
pub(crate) fn has_attribute(kind: Kind, name: &[u8]) -> bool {
    let plain = matches!(kind, Kind::File | Kind::Directory);
    match name {
        b"system.posix_acl_access" => kind != Kind::Symlink,
        b"system.posix_acl_default" => kind == Kind::Directory,
        _ if name.starts_with(b"user.") => plain,
        _ => name.starts_with(b"trusted.") || name.starts_with(b"security."),
    }
}

/// The attributes of an entry that are for its file.
pub(crate) fn attributes(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    let reserved = |name: &[u8]| RESERVED.iter().any(|prefix| name.starts_with(prefix));
    let all = entry.xattrs.iter();
    all.filter(move |(name, _)| !reserved(name))
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
}

/// Docker goes on without an attribute that the file system does not have or does not allow.
fn tolerate(result: Result<(), Errno>, entry: &Entry, attribute: &[u8]) -> Result<(), Error> {
    match result {
        Err(Errno::OPNOTSUPP | Errno::PERM) => {
            let (entry, attribute) = (super::shown(&entry.path), super::shown(attribute));
            tracing::warn!(
                entry,
                attribute,
                "extended attribute not supported here: left out"
            );
            Ok(())
        }
        result => result.map_err(|e| Error::io("set extended attribute of", &entry.path, e.into())),
    }
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec {
        tv_sec: entry.mtime.0,
        tv_nsec: entry.mtime.1.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
