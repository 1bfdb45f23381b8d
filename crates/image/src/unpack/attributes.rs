//! What an entry has besides its content: owner, permissions, extended attributes, times.
//!
//! Owners are set before permissions, because chown(2) clears set-id bits, and extended attributes
//! after owners, because it clears capabilities too. Permissions come after ACLs, as in Docker: where
//! the two contradict each other the permissions win.

use super::archive::{Entry, Kind};
use super::{Error, acl};
use hull_linux::xattr;
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

/// overlayfs's own attributes: from an archive they could redirect lookups in other layers.
const RESERVED: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// `XATTR_NAME_MAX`.
const MAX_NAME: usize = 255;
/// One less than `XATTR_SIZE_MAX`: what EROFS has a number for.
const MAX_VALUE: usize = 65_535;

/// Sets the attributes of an entry that cannot be opened; nothing can have exchanged it since it
/// was made.
pub(crate) fn set_attributes_at(
    parent: BorrowedFd<'_>,
    at: &[u8],
    entry: &Entry,
) -> Result<(), Error> {
    let failed = |errno: Errno| Error::io("set attributes of", &entry.path, errno.into());
    let (user, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(parent, at, Some(user), Some(group), flags).map_err(failed)?;
    for (name, value) in attributes(entry)? {
        tolerate(xattr::set_at(parent, at, name, &value), entry, name)?;
    }
    if entry.kind != Kind::Symlink {
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(parent, at, mode, AtFlags::empty()).map_err(failed)?;
    }
    set_times_at(parent, at, entry).map_err(failed)
}

/// Sets an entry's times, whatever it is.
pub(crate) fn set_times_at(parent: BorrowedFd<'_>, at: &[u8], entry: &Entry) -> Result<(), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(parent, at, &times(entry), flags)
}

/// Sets what an open file or directory has besides its content. `owner` is the owner it has
/// already, where that is known.
pub(crate) fn set_attributes(
    file: BorrowedFd<'_>,
    entry: &Entry,
    owner: Option<(u32, u32)>,
) -> Result<(), Error> {
    let failed = |errno: Errno| Error::io("set attributes of", &entry.path, errno.into());
    if owner != Some((entry.uid, entry.gid)) {
        let (user, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::fchown(file, Some(user), Some(group)).map_err(failed)?;
    }
    for (name, value) in attributes(entry)? {
        tolerate(xattr::set(file, name, &value), entry, name)?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(failed)?;
    rustix::fs::futimens(file, &times(entry)).map_err(failed)
}

/// The name and the value of an extended attribute.
pub(crate) type Attribute<'e> = (&'e [u8], Vec<u8>);

/// The extended attributes that an entry's file gets, in the order of their names. Of several with
/// one name the last one counts. What such a file cannot have is left out.
///
/// # Errors
/// For what the kernel refuses to everybody, as setxattr(2) has it.
pub(crate) fn attributes(entry: &Entry) -> Result<Vec<Attribute<'_>>, Error> {
    let all: BTreeMap<&[u8], &[u8]> = entry
        .xattrs
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect();
    let mut kept = Vec::new();
    for (name, value) in all {
        match attribute(entry, name, value) {
            Ok(None) => {}
            Ok(Some(value)) => kept.push((name, value)),
            Err(errno) => tolerate(Err(errno), entry, name)?,
        }
    }
    Ok(kept)
}

/// The value that one attribute gets.
fn attribute(entry: &Entry, name: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    if RESERVED.iter().any(|prefix| name.starts_with(prefix)) {
        return Ok(None);
    }
    if name.len() > MAX_NAME {
        return Err(Errno::RANGE);
    }
    if value.len() > MAX_VALUE {
        return Err(Errno::TOOBIG);
    }
    match name {
        b"system.posix_acl_access" if entry.kind == Kind::Symlink => Err(Errno::OPNOTSUPP),
        b"system.posix_acl_access" => acl::access(value, entry.mode),
        b"system.posix_acl_default" if entry.kind != Kind::Directory => Err(Errno::ACCESS),
        b"system.posix_acl_default" => acl::default(value),
        b"user." | b"trusted." | b"security." => Err(Errno::INVAL),
        b"security.capability" if !is_capability(value) => Err(Errno::INVAL),
        _ if name.starts_with(b"user.") => match entry.kind {
            Kind::File | Kind::Directory => Ok(Some(value.to_vec())),
            _ => Err(Errno::PERM),
        },
        _ if name.starts_with(b"trusted.") => Ok(Some(value.to_vec())),
        _ if name.starts_with(b"security.") => Ok(Some(value.to_vec())),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Capabilities of revision 2, or 3 with the root of a user namespace (capabilities(7)).
fn is_capability(value: &[u8]) -> bool {
    let revision = match value.len() {
        20 => 0x0200_0000u32,
        24 => 0x0300_0000,
        _ => return false,
    };
    // The lowest bit says that they are effective.
    value[0] & !1 == 0 && value[1..4] == revision.to_le_bytes()[1..]
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
