//! Leaving the process that started us, and its mounts.

use rustix::mount::{MountPropagationFlags, mount_change};
use std::io;

/// Goes on in a child in a session of its own, and ends the calling process with success: the
/// caller's parent need wait no longer, and the child survives it.
///
/// # Errors
/// What fork(2) and setsid(2) give, and `Other` when the process has other threads: only the
/// calling one would exist in the child.
pub fn leave_parent() -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(
            "a process with several threads cannot fork",
        ));
    }
    // SAFETY: this process has one thread (checked above), so no lock or allocator state of another
    // thread can be copied half-way into the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => rustix::process::setsid().map(drop).map_err(Into::into),
        // SAFETY: _exit(2) is always allowed; unlike exit(3) it runs nothing that belongs to the child.
        _ => unsafe { libc::_exit(0) },
    }
}

/// Gives this thread a mount namespace of its own, which sees what is mounted later on the host but
/// shows the host nothing: `unshare(2)`, `mount_namespaces(7)`.
///
/// # Errors
/// What the calls give: `PermissionDenied` without `CAP_SYS_ADMIN`.
pub fn own_mount_namespace() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS (which implies CLONE_FS) shares nothing that Rust relies on.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?)
}
