//! Following a process from system call to system call: ptrace(2). For tests, which end it at a chosen one.

use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};
use std::io;

/// A child that is followed. It ends with its tracer.
#[derive(Debug)]
pub struct Tracee {
    pid: Pid,
}

/// Why a child that is followed stands still.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// It enters a system call, or leaves one.
    Call,
    /// It is about to get this signal.
    Signal(i32),
    /// It has been stopped by a signal.
    Stopped,
    /// It has ended.
    Ended(WaitStatus),
}

impl Tracee {
    /// Begins to follow a child of the caller. Only the calling thread can go on with it.
    /// `PTRACE_SEIZE`, Linux 3.4.
    ///
    /// # Errors
    /// What ptrace(2) gives, such as `EPERM` for a child that is followed already.
    pub fn seize(pid: Pid) -> io::Result<Self> {
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        request(SEIZE, pid, libc::c_long::from(options))?;
        Ok(Self { pid })
    }

    /// Has it go on to the next system call's begin or end, with a signal or 0, and tells why it stops.
    ///
    /// # Errors
    /// What ptrace(2) gives: `ESRCH` for a child that does not stand still.
    pub fn step(&self, signal: i32) -> io::Result<Stop> {
        request(SYSCALL, self.pid, libc::c_long::from(signal))?;
        self.wait()
    }

    /// Waits until it stands still.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait(&self) -> io::Result<Stop> {
        // Bit 7 marks a stop at a system call (`PTRACE_O_TRACESYSGOOD`); the third byte, an event.
        const CALL: i32 = libc::SIGTRAP | 0x80;
        let waited = rustix::io::retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::empty()))?;
        let Some((_, status)) = waited else {
            return Err(rustix::io::Errno::CHILD.into());
        };
        Ok(match status.stopping_signal() {
            None => Stop::Ended(status),
            Some(CALL) => Stop::Call,
            Some(_) if status.as_raw() >> 16 != 0 => Stop::Stopped,
            Some(signal) => Stop::Signal(signal),
        })
    }
}

// As in <linux/ptrace.h>; each C library has a type of its own for them.
const SEIZE: u32 = 0x4206;
const SYSCALL: u32 = 24;

/// A request that has no address.
fn request(request: u32, pid: Pid, data: libc::c_long) -> io::Result<()> {
    let address: *mut libc::c_void = std::ptr::null_mut();
    // SAFETY: PTRACE_SEIZE and PTRACE_SYSCALL take numbers, and touch no memory of ours.
    let result = unsafe { libc::ptrace(request as _, pid.as_raw_nonzero().get(), address, data) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
