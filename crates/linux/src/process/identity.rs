//! User and group ids, session keyrings, the NIS domain.

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::CStr;
use std::io;

/// Sets the calling thread's groups, group id and user id (all three of each), in this order.
/// For processes of one thread. setgroups(2), setresgid(2), setresuid(2).
///
/// `groups` is `None` where setgroups is denied (`/proc/self/setgroups`).
///
/// # Errors
/// When an id is not mapped into the user namespace or the capability is missing.
pub fn set_identity(uid: u32, gid: u32, groups: Option<&[u32]>) -> io::Result<()> {
    if let Some(groups) = groups {
        let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups)?;
    }
    let gid = Gid::from_raw(gid);
    set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(uid);
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Joins a session keyring of this name, making it if there is none, so that later processes of the same
/// user find it too. keyctl(2).
///
/// # Errors
/// `ENOSYS` without keyrings, `EDQUOT` when the user has too many.
pub fn join_session_keyring(name: &CStr) -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    const SETPERM: libc::c_int = 5;
    // All for who possesses it; view, read, search, link for its user: the usual ones and search.
    const PERMISSIONS: libc::c_uint = 0x3f1b_0000;
    // SAFETY: the name is a C string that lives across the call.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    if id < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call takes numbers only. One of another owner stays as it is: it was found, after all.
    let _ = unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, id, PERMISSIONS) };
    Ok(())
}

/// Sets the NIS domain name of the UTS namespace. setdomainname(2).
///
/// # Errors
/// `EINVAL` for more than 64 bytes, `EPERM`.
pub fn set_domainname(name: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe one live slice.
    let result = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
