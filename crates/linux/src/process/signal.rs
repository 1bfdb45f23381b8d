//! Signals by descriptor.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Sends a signal by number, real-time signals included. pidfd_send_signal(2), kernel 5.1.
///
/// # Errors
/// `ESRCH` when the process has ended, `EINVAL` for no signal, `EPERM`.
pub fn send_to_pidfd(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed and open; a null siginfo is allowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub struct SignalInfo {
    /// Number of the signal.
    pub number: i32,
    /// Sender, where there is one.
    pub pid: i32,
}

/// All signals that can be caught, blocked and read from a descriptor. signalfd(2).
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks every signal and opens the descriptor, close-on-exec and non-blocking.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn open() -> io::Result<Self> {
        block_all()?;
        let all = full_set();
        // SAFETY: the set is initialised and lives across the call.
        let fd =
            unsafe { libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal, or `None` when none is pending.
    ///
    /// # Errors
    /// Those of read(2) other than `EAGAIN`.
    pub fn next(&self) -> io::Result<Option<SignalInfo>> {
        let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut buffer) {
            Ok(_) => {
                let word = |at: usize| {
                    i32::from_ne_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]])
                };
                // signalfd(2): ssi_signo is the first word, ssi_pid the fourth.
                Ok(Some(SignalInfo {
                    number: word(0),
                    pid: word(12),
                }))
            }
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Blocks every signal that can be blocked in the calling thread. sigprocmask(2).
///
/// # Errors
/// Never in practice.
pub fn block_all() -> io::Result<()> {
    set_mask(&full_set())
}

/// Gives every signal its default action and unblocks all: what a new program expects to find.
pub fn reset_all() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL installs no handler; numbers that are refused are no signals to us.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // A mask that cannot be set is left as it was inherited.
    let _ = unblock_all();
}

/// Has a program start with no signal blocked: std hands on what this process blocks to read from a
/// descriptor.
pub fn without_blocked_signals(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one system call, with a set on its own stack.
    unsafe { command.pre_exec(unblock_all) }
}

/// Has a program end with SIGKILL when the thread that starts it ends, however that happens
/// (`PR_SET_PDEATHSIG`, Linux 2.1.57); its own children are not concerned.
pub fn dying_with_parent(command: &mut Command) -> &mut Command {
    let parent = std::process::id();
    let tie = move || {
        let kill = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(kill)?;
        // It may have ended before.
        let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
        match now == Some(parent) {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(tie) }
}

fn unblock_all() -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised above.
    set_mask(&unsafe { set.assume_init() })
}

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the whole set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: initialised above.
    unsafe { set.assume_init() }
}

fn set_mask(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is initialised; the old one is not asked for.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(result))
    }
}
