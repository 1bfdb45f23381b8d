//! namespaces(7): joining them, id maps, and the loopback device of a new network namespace.

use rustix::fd::{AsRawFd, BorrowedFd};
use std::fmt::Write as _;
use std::io;

/// `CLONE_NEW*` by what they separate.
pub mod flag {
    /// Mounts.
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    /// Process ids.
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    /// Network.
    pub const NETWORK: u64 = libc::CLONE_NEWNET as u64;
    /// System V IPC and message queues.
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    /// Host name.
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    /// User and group ids.
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    /// Root and working directory, and the umask: not a namespace, for [`unshare`](super::unshare) only.
    pub const FILE_SYSTEM: u64 = libc::CLONE_FS as u64;
    /// The root of the cgroup view.
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// Clocks, kernel 5.6; not for clone3 before 5.7.
    pub const TIME: u64 = 0x80;
}

/// Joins the namespaces `kinds` of what a descriptor stands for: one namespace's file, or (kernel 5.8)
/// a pidfd, of which several can be joined at once. For processes of one thread; a mount namespace also for
/// a thread with a root and working directory of its own. setns(2).
///
/// # Errors
/// `EINVAL` for a wrong kind, `EPERM`, `ESRCH` for a process that has ended.
pub fn join(of: BorrowedFd<'_>, kinds: u64) -> io::Result<()> {
    let kinds = libc::c_int::try_from(kinds).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is borrowed and open, the rest are numbers.
    let result = unsafe { libc::setns(of.as_raw_fd(), kinds) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Leaves the shared namespaces `kinds` for new ones. Only the calling thread does. unshare(2).
///
/// # Errors
/// `EPERM`, `ENOSPC` when there are too many.
pub fn unshare(kinds: u64) -> io::Result<()> {
    let kinds = libc::c_int::try_from(kinds).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the call takes a number; CLONE_FILES, the one flag that could take descriptors away from
    // under their owners, does not: it gives this process a copy of its own table.
    let result = unsafe { libc::unshare(kinds) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Text of an id map (user_namespaces(7)): one line `inside outside count` for each range.
pub fn id_map(ranges: impl IntoIterator<Item = (u32, u32, u32)>) -> String {
    let mut text = String::new();
    for (inside, outside, count) in ranges {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{inside} {outside} {count}");
    }
    text
}

/// Brings the loopback device of the caller's network namespace up. netdevice(7), `SIOCSIFFLAGS`.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN over the namespace.
pub fn bring_up_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all zeroes is a valid ifreq: a name and a union of plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        // Signed or not, by the machine.
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    const UP_AND_RUNNING: libc::c_short = 0x1 | 0x40; // IFF_UP, IFF_RUNNING
    request.ifr_ifru.ifru_flags = UP_AND_RUNNING;
    // SAFETY: the request is initialised, its name ends with a zero, and it lives across the call.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_map_has_one_line_for_each_range() {
        assert_eq!(
            id_map([(0, 100_000, 65_536), (65_536, 5, 1)]),
            "0 100000 65536\n65536 5 1\n"
        );
    }
}
