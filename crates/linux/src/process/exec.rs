//! execve(2), what crosses it, and an executable that nobody can write through.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, fstatvfs};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ptr;

/// Replaces this process by the program at `path`. Returns only on failure. execve(2).
pub fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    // SAFETY: path is a C string; both vectors hold pointers to C strings that live across the call
    // and end with a null pointer.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces this process by the program behind a descriptor. Returns only on failure. execveat(2), kernel 3.19.
pub fn execute_descriptor(
    program: BorrowedFd<'_>,
    arguments: &[CString],
    environment: &[CString],
) -> io::Error {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    // SAFETY: the descriptor is borrowed and open; both vectors hold pointers to C strings that live
    // across the call and end with a null pointer.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Marks every descriptor from `first` on close-on-exec. close_range(2) with `CLOSE_RANGE_CLOEXEC`, kernel 5.11.
///
/// # Errors
/// Before 5.11 the kernel answers `EINVAL`.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Gives the calling thread a table of descriptors of its own, with the standard streams in it: what it opens is in no
/// process that other threads make, and closing it is nobody else's matter. close_range(2) with
/// `CLOSE_RANGE_UNSHARE`, kernel 5.9. The thread must not own any descriptor yet.
///
/// # Errors
/// Before 5.9 the kernel answers `ENOSYS`.
pub(crate) fn own_descriptors() -> io::Result<()> {
    // SAFETY: the call takes numbers only; others' table stays as it is.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_UNSHARE,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Closes every descriptor from `first` on except `kept`. close_range(2), kernel 5.9; where that is
/// refused, by a filter written before it existed for example, those that `listed` names one by one.
///
/// For a process that is about to become another program: marking them close-on-exec would leave them
/// open while the kernel looks the program up, and a path through `/proc/self/fd` would lead to what
/// they refer to. Owners of what is closed here must not be dropped any more: after this there is only
/// [`execute`] and, when that fails, [`exit_now`].
///
/// # Errors
/// Those of `listed`.
pub fn close_from(
    first: u32,
    kept: BorrowedFd<'_>,
    listed: impl FnOnce() -> io::Result<Vec<u32>>,
) -> io::Result<()> {
    let kept = kept.as_raw_fd().unsigned_abs();
    let before = if kept > first {
        close_range(first, kept - 1)
    } else {
        Ok(())
    };
    if before
        .and_then(|()| close_range(first.max(kept + 1), u32::MAX))
        .is_ok()
    {
        return Ok(());
    }
    for descriptor in listed()? {
        if descriptor >= first && descriptor != kept {
            // SAFETY: the call takes a number only; what is closed is the caller's to close.
            let _ = unsafe { libc::close(descriptor.cast_signed()) };
        }
    }
    Ok(())
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the call takes numbers only and touches no memory; what is closed is the caller's to close.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whether a descriptor was open when this program was executed: it is open and survives the next
/// execve(2) too, which nothing that this program opens does.
pub fn is_inherited(descriptor: u32) -> bool {
    let Ok(descriptor) = i32::try_from(descriptor) else {
        return false;
    };
    // SAFETY: F_GETFD takes numbers only and gives flags, or an error for a number that is not open.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// A duplicate of a descriptor that this program was executed with, which no program that is executed
/// from here on gets; `None` for one that it was not executed with. fcntl(2), `F_DUPFD_CLOEXEC`.
pub fn duplicate_inherited(descriptor: u32) -> Option<OwnedFd> {
    if !is_inherited(descriptor) {
        return None;
    }
    let descriptor = i32::try_from(descriptor).ok()?;
    // SAFETY: the descriptor was open a moment ago and, having been open when this program began, has
    // no owner in it that could close it; were it closed, the call below would fail.
    let inherited = unsafe { BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_dupfd_cloexec(inherited, 3).ok()
}

/// Ends this process at once: no destructors, no buffers. _exit(2).
pub fn exit_now(status: i32) -> ! {
    // SAFETY: the call does not return and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// Opens the program at `path` through a mount of its own that is read-only and hangs nowhere.
///
/// A process executed from this descriptor has a `/proc/PID/exe` through which nobody can write to the
/// program, whatever it owns (CVE-2019-5736): the mount cannot be reached to be remounted.
/// open_tree(2) kernel 5.2, mount_setattr(2) kernel 5.12.
///
/// # Errors
/// When the path cannot be opened or the caller may not mount.
pub fn read_only_executable(path: &CStr) -> io::Result<OwnedFd> {
    let tree = open_tree(
        rustix::fs::CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    crate::mount::set_attributes(
        tree.as_fd(),
        false,
        &crate::mount::Attributes {
            set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()),
            ..crate::mount::Attributes::default()
        },
    )?;
    Ok(tree)
}

/// A copy of the program at `path` in memory that nobody can change any more: what
/// [`read_only_executable`] is for callers who may mount. memfd_create(2), kernel 3.17.
///
/// # Errors
/// When the path cannot be read or there is no memory.
pub fn sealed_executable(path: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let program = rustix::fs::open(path, flags, Mode::empty())?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match rustix::fs::memfd_create(SEALED_NAME, flags | MemfdFlags::EXEC) {
        // Before kernel 6.3 there is no such flag: all may be executed.
        Err(Errno::INVAL) => rustix::fs::memfd_create(SEALED_NAME, flags)?,
        other => other?,
    };
    io::copy(&mut File::from(program), &mut File::from(copy.try_clone()?))?;
    rustix::fs::fcntl_add_seals(&copy, SEALS)?;
    Ok(copy)
}

const SEALED_NAME: &str = "hull-runtime";
const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::GROW)
    .union(SealFlags::SHRINK)
    .union(SealFlags::SEAL);

/// Whether this process was executed from [`read_only_executable`]: its executable is on a read-only
/// mount of which it is the root itself; or from [`sealed_executable`].
pub fn is_read_only_self() -> bool {
    let Ok(link) = rustix::fs::readlink("/proc/self/exe", Vec::new()) else {
        return false;
    };
    let open = |flags: OFlags| {
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::open("/proc/self/exe", flags, Mode::empty())
    };
    if link.as_bytes() == b"/" {
        return open(OFlags::PATH)
            .and_then(fstatvfs)
            .is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    }
    link.as_bytes().starts_with(b"/memfd:")
        && open(OFlags::RDONLY)
            .and_then(rustix::fs::fcntl_get_seals)
            .is_ok_and(|seals| seals.contains(SEALS))
}
