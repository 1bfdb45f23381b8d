//! Sockets in other network namespaces, and namespaces that outlive their processes.

use super::{Error, Socket};
use rustix::thread::LinkNameSpaceType;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Opens a socket inside the network namespace that `namespace` is a file of (setns(2), Linux 3.0).
/// A thread of its own goes there and ends, so the caller's namespace never changes.
///
/// # Errors
/// When `namespace` is no network namespace, or without `CAP_SYS_ADMIN`.
pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Socket, Error> {
    inside(namespace, Socket::open)?
}

/// Does something inside the network namespace that `namespace` is a file of, in a thread of its own:
/// sockets that are opened there belong to it, and `/proc/sys/net` is its own (setns(2), Linux 3.0).
///
/// # Errors
/// When `namespace` is no network namespace, or without `CAP_SYS_ADMIN`; then nothing was done.
pub fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, Error> {
    in_thread(|| {
        rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
            .map_err(|error| Error::new("enter", "a network namespace", error))?;
        Ok(work())
    })
}

/// Makes a network namespace and mounts it at `path`, an existing empty file, where it stays until
/// that mount is gone (`unshare(2)`, Linux 2.6.24). Its loopback device is up.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`, or when `path` cannot be mounted on.
pub fn pin_new(path: &Path) -> Result<(), Error> {
    in_thread(|| {
        // SAFETY: CLONE_NEWNET changes nothing that other threads or Rust's runtime rely upon (no
        // descriptor table, no address space); only this thread, which ends below, is moved.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
            .map_err(|error| Error::new("create", "a network namespace", error))?;
        Socket::open()?.set_up("lo")?;
        rustix::mount::mount_bind("/proc/thread-self/ns/net", path).map_err(|error| {
            Error::new(
                "mount a network namespace at",
                path.display().to_string(),
                error,
            )
        })
    })
}

fn in_thread<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(128 << 10)
            .spawn_scoped(scope, work)
            .map_err(|error| Error::new("start", "a thread for a network namespace", error))?;
        thread.join().unwrap_or_else(|_| {
            Err(Error::new(
                "enter",
                "a network namespace",
                io::Error::other("the thread panicked"),
            ))
        })
    })
}
