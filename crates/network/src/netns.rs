//! Network namespaces that outlive processes, as files.
//!
//! A namespace is a bind mount on an empty file below one directory. That directory is a mount of its
//! own with shared propagation (as that of `ip netns` is): a shim that unshares its mount namespace
//! gets copies of the mounts in it, and as their slaves they vanish when ours are unmounted. Were they
//! private, every running shim would keep every older container's network alive.

use crate::Error;
use crate::error::{file, link};
use hull_linux::netlink;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::path::Path;

/// Makes a network namespace and pins it at `path`, which must not exist. Its loopback is up.
///
/// # Errors
/// [`Error::File`], [`Error::Link`]; nothing is left behind then.
pub fn create(path: &Path) -> Result<(), Error> {
    if let Some(directory) = path.parent() {
        prepare(directory)?;
    }
    fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(file("create", path))?;
    netlink::pin_new(path).map_err(|error| {
        // The file is ours and nothing is mounted on it.
        let _ = fs_err::remove_file(path);
        link("create the network namespace", path.display().to_string())(error)
    })
}

/// Does something inside a namespace, in a thread of its own: sockets that are opened there belong to it.
///
/// # Errors
/// [`Error::File`], [`Error::Link`]; nothing was done then.
pub fn inside<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let namespace = fs_err::File::open(path).map_err(file("open", path))?;
    netlink::inside(namespace.as_fd(), work).map_err(link(
        "enter the network namespace",
        path.display().to_string(),
    ))
}

/// Unmounts and removes a namespace's file; the namespace ends with its last process. One that is
/// not there is no error.
///
/// # Errors
/// [`Error::File`].
pub fn remove(path: &Path) -> Result<(), Error> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // `EINVAL`: no mount, only the file of a creation that was interrupted.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(file("unmount", path)(error)),
    }
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes the directory a shared mount of its own, unless it is one.
fn prepare(directory: &Path) -> Result<(), Error> {
    if is_mount(directory) {
        return Ok(());
    }
    fs_err::create_dir_all(directory).map_err(file("create", directory))?;
    rustix::mount::mount_bind_recursive(directory, directory).map_err(file("mount", directory))?;
    rustix::mount::mount_change(
        directory,
        MountPropagationFlags::SHARED | MountPropagationFlags::REC,
    )
    .map_err(|error| {
        // Half a preparation would pass for a whole one the next time.
        let _ = rustix::mount::unmount(directory, UnmountFlags::DETACH);
        file("share the mount", directory)(error)
    })
}

/// Undoes the preparation of a directory, once no namespace is in it: for a daemon that leaves for
/// good, and tests.
///
/// # Errors
/// [`Error::File`].
pub fn release(directory: &Path) -> Result<(), Error> {
    if is_mount(directory) {
        rustix::mount::unmount(directory, UnmountFlags::DETACH)
            .map_err(file("unmount", directory))?;
    }
    Ok(())
}

/// statx(2) tells mounts since Linux 5.8.
fn is_mount(directory: &Path) -> bool {
    rustix::fs::statx(
        CWD,
        directory,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::empty(),
    )
    .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
