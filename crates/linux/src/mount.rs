//! Mounts by descriptor: attributes, propagation, and options as fstab(5) writes them.
//!
//! fsopen, fsmount, open_tree and move_mount come from `rustix` as they are; mount_setattr(2) is here.

mod apart;
mod erofs;
mod options;
mod overlay;

pub use apart::apart;
pub use erofs::erofs;
pub use options::{Options, UnknownPropagation, propagation};
pub use overlay::overlay_of;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags,
};
use std::io;
use std::path::Path;

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
    /// Descriptor of a user namespace, with `MOUNT_ATTR_IDMAP`.
    pub user_namespace: u64,
}

/// The `MS_*` of mount(2) for `MOUNT_ATTR_*` that are set.
pub fn classic_flags(set: u64) -> u32 {
    const DIFFERENT: [(u64, u32); 4] = [
        (0x10, 1 << 10),     // NOATIME
        (0x20, 1 << 24),     // STRICTATIME
        (0x80, 1 << 11),     // NODIRATIME
        (0x20_0000, 1 << 8), // NOSYMFOLLOW
    ];
    // RDONLY, NOSUID, NODEV and NOEXEC are.
    let same = u32::try_from(set & 0xf).unwrap_or(0);
    DIFFERENT
        .iter()
        .filter(|(attribute, _)| set & attribute != 0)
        .fold(same, |flags, (_, flag)| flags | flag)
}

/// Changes the mount at a descriptor (and, `recursive`, those below it). mount_setattr(2), kernel 5.12.
///
/// # Errors
/// `EPERM` for what a more privileged user namespace has locked, `EINVAL` when it is no mount's root.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    recursive: bool,
    attributes: &Attributes,
) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is borrowed and open, the structure lives across the call and its size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A copy of the mount at a path, not attached anywhere. open_tree(2), kernel 5.2.
///
/// # Errors
/// `EINVAL` for a mount of another mount namespace, and those of path lookup.
pub fn clone_tree(at: BorrowedFd<'_>, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(at, path, flags)?)
}

/// Attaches a detached mount on the file or directory behind a descriptor. move_mount(2), kernel 5.2.
///
/// # Errors
/// `ENOTDIR` when one is a directory and the other is not; `EINVAL` for a target in another namespace.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    match rustix::mount::move_mount(mount, "", target, "", flags) {
        // move_mount(2) has one word for both; mount(2) has two.
        Err(Errno::INVAL) if is_directory(mount)? != is_directory(target)? => {
            Err(Errno::NOTDIR.into())
        }
        moved => Ok(moved?),
    }
}

fn is_directory(of: BorrowedFd<'_>) -> io::Result<bool> {
    let mode = rustix::fs::fstat(of)?.st_mode;
    Ok(rustix::fs::FileType::from_raw_mode(mode).is_dir())
}

/// Attaches a detached mount on the directory at a path. move_mount(2), kernel 5.2.
///
/// # Errors
/// As [`attach`], and those of path lookup.
pub fn attach_at(mount: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::move_mount(
        mount,
        "",
        rustix::fs::CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

/// Whether something is mounted at a path, itself and not above it. statx(2), kernel 5.8.
///
/// # Errors
/// Those of path lookup.
pub fn is_mounted(path: &Path) -> io::Result<bool> {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW | rustix::fs::AtFlags::NO_AUTOMOUNT;
    let found = rustix::fs::statx(
        rustix::fs::CWD,
        path,
        flags,
        rustix::fs::StatxFlags::empty(),
    )?;
    let root = rustix::fs::StatxAttributes::MOUNT_ROOT;
    Ok(found.stx_attributes.contains(root))
}

/// A new file system of a type, not attached anywhere. fsopen(2), kernel 5.2.
///
/// `data` are its own options: `key=value` or a word alone. When the file system explains a refusal,
/// the explanation becomes the error's text.
///
/// # Errors
/// `ENODEV` for an unknown type, `EINVAL` for an option it does not know, `EPERM`.
pub fn new_file_system<'a>(
    kind: &str,
    source: &str,
    data: impl Iterator<Item = &'a str>,
    attributes: u64,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let configure = || -> io::Result<()> {
        if !source.is_empty() {
            rustix::mount::fsconfig_set_string(&context, "source", source)?;
        }
        tell(&context, data)?;
        Ok(rustix::mount::fsconfig_create(&context)?)
    };
    configure().map_err(|error| explained(&context, error))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fsmount takes the attributes as 32 bits"
    )]
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|error| explained(&context, error.into()))
}

/// Gives a file system its options; quotes round a value are for who splits a text at its commas.
fn tell<'a>(context: &OwnedFd, data: impl Iterator<Item = &'a str>) -> io::Result<()> {
    for option in data {
        match option.split_once('=') {
            Some((key, value)) => {
                rustix::mount::fsconfig_set_string(context, key, value.trim_matches('"'))?;
            }
            None => rustix::mount::fsconfig_set_flag(context, option)?,
        }
    }
    Ok(())
}

/// Changes the options of a mounted file system, wherever else it is mounted too. fspick(2), kernel 5.2.
///
/// # Errors
/// `EINVAL` for an option it does not know or cannot change, `EPERM`.
pub fn reconfigure<'a>(
    mount: BorrowedFd<'_>,
    data: impl Iterator<Item = &'a str>,
) -> io::Result<()> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = rustix::mount::fspick(mount, "", flags)?;
    tell(&context, data)
        .and_then(|()| Ok(rustix::mount::fsconfig_reconfigure(&context)?))
        .map_err(|error| explained(&context, error))
}

/// Adds what the file system context has to say about a failure. Reading it is best effort.
fn explained(context: &OwnedFd, error: io::Error) -> io::Error {
    let mut buffer = [0_u8; 512];
    match rustix::io::read(context.as_fd(), &mut buffer) {
        Ok(length) if length > 2 => {
            let said = String::from_utf8_lossy(&buffer[2..length])
                .trim_end()
                .to_owned();
            io::Error::new(
                error.kind(),
                Explained {
                    said,
                    source: error,
                },
            )
        }
        _ => error,
    }
}

/// An error of mounting with the file system's own words.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
struct Explained {
    said: String,
    #[source]
    source: io::Error,
}
