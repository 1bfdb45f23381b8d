//! clone3(2), kernel 5.3; `CLONE_INTO_CGROUP` since 5.7.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a child differs from its parent.
#[derive(Debug, Default)]
pub struct Clones<'fd> {
    /// `CLONE_NEW*` bits of the namespaces the child gets for itself.
    pub namespaces: u64,
    /// Directory of a cgroup v2 in which the child starts.
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// Whether the child becomes the caller's sibling (`CLONE_PARENT`): its parent reaps it then.
    pub sibling: bool,
}

/// A child that has been started.
#[derive(Debug)]
pub struct Child {
    /// Its process id in the caller's PID namespace.
    pub pid: rustix::process::Pid,
    /// Its pidfd, close-on-exec.
    pub pidfd: OwnedFd,
}

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// The contract of [`spawn`] does not hold.
    #[error("cannot clone a process of several threads")]
    SeveralThreads,
    /// clone3 failed.
    #[error("clone3 with flags {flags:#x}")]
    Clone {
        /// The flags asked for.
        flags: u64,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The number of threads could not be found out.
    #[error("count the threads of this process")]
    CountThreads(#[source] io::Error),
}

/// Runs `child` in a copy of this process and ends the copy with the value it returns.
///
/// The calling process must have one thread, which is checked: the copy may then use the allocator and
/// every lock as usual. The copy shares nothing but descriptors; a panic in it ends it with status 101, or by
/// SIGABRT where panics abort.
///
/// clone3(2), kernel 5.3.
///
/// # Errors
/// When there are several threads, or the kernel refuses (a namespace that is not allowed, no memory).
pub fn spawn(how: &Clones<'_>, child: impl FnOnce() -> i32) -> Result<Child, CloneError> {
    if threads().map_err(CloneError::CountThreads)? != 1 {
        return Err(CloneError::SeveralThreads);
    }
    let mut pidfd: libc::c_int = -1;
    let mut flags = how.namespaces | libc::CLONE_PIDFD as u64;
    if how.sibling {
        flags |= libc::CLONE_PARENT as u64;
    }
    let mut cgroup = 0;
    if let Some(directory) = how.cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = u64::from(directory.as_raw_fd().cast_unsigned());
    }
    let arguments = Arguments {
        flags,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: if how.sibling { 0 } else { libc::SIGCHLD as u64 },
        cgroup,
        ..Arguments::default()
    };
    // SAFETY: the structure is initialised, lives across the call and its size is passed. Without
    // CLONE_VM the child runs on a copy of this stack; the process has one thread (checked above), so
    // no lock is held by a thread that does not exist in the child.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<Arguments>(),
        )
    };
    match result {
        0 => {
            let status = catch_unwind(AssertUnwindSafe(child)).unwrap_or(101);
            super::exec::exit_now(status)
        }
        pid if pid > 0 => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "process ids are at most 2^22"
            )]
            let pid = rustix::process::Pid::from_raw(pid as i32);
            // SAFETY: CLONE_PIDFD stored a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            match pid {
                Some(pid) => Ok(Child { pid, pidfd }),
                None => Err(CloneError::Clone {
                    flags,
                    source: io::ErrorKind::InvalidData.into(),
                }),
            }
        }
        _ => Err(CloneError::Clone {
            flags,
            source: io::Error::last_os_error(),
        }),
    }
}

/// Runs `child` in a plain copy of this process and ends the copy with the value it returns: as [`spawn`], for a
/// process whose system call filter has fork(2) and not clone3(2), as Docker's has.
///
/// # Errors
/// As [`spawn`].
pub fn fork(child: impl FnOnce() -> i32) -> Result<rustix::process::Pid, CloneError> {
    if threads().map_err(CloneError::CountThreads)? != 1 {
        return Err(CloneError::SeveralThreads);
    }
    // SAFETY: the process has one thread (checked above), so no lock is held by a thread that does not exist in
    // the child; the child does not return from here.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let status = catch_unwind(AssertUnwindSafe(child)).unwrap_or(101);
        super::exec::exit_now(status)
    }
    let source = io::Error::last_os_error();
    let pid = Some(pid).filter(|pid| *pid > 0);
    pid.and_then(rustix::process::Pid::from_raw)
        .ok_or(CloneError::Clone { flags: 0, source })
}

/// `CLONE_INTO_CGROUP`, which libc spells only for some targets.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of `linux/sched.h`, its third version (88 bytes, kernel 5.7).
#[repr(C)]
#[derive(Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The number of threads of this process: `/proc/self/task` has one subdirectory for each.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "st_nlink has 32 bits on some architectures"
)]
fn threads() -> io::Result<u64> {
    let stat = rustix::fs::stat("/proc/self/task")?;
    Ok(u64::from(stat.st_nlink).saturating_sub(2))
}
