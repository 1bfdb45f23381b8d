//! Waiting for many descriptors and for children: epoll(7), signalfd(2).

use rustix::event::epoll;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Until something can be read, or the end.
    pub readable: bool,
    /// Until something can be written.
    pub writable: bool,
}

impl Interest {
    /// Reading.
    pub const READ: Self = Self {
        readable: true,
        writable: false,
    };
    /// Writing.
    pub const WRITE: Self = Self {
        readable: false,
        writable: true,
    };
    /// Nothing but errors and hang-ups.
    pub const NONE: Self = Self {
        readable: false,
        writable: false,
    };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        if self.readable {
            flags |= epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        }
        if self.writable {
            flags |= epoll::EventFlags::OUT;
        }
        flags
    }
}

/// Something happened.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// What was given to [`Reactor::add`].
    pub token: u64,
    /// There is something to read, or the end.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The other side is gone, or there was an error.
    pub hung_up: bool,
}

/// An epoll instance, level-triggered.
#[derive(Debug)]
pub struct Reactor(OwnedFd);

impl Reactor {
    /// Makes one.
    ///
    /// # Errors
    /// What `epoll_create1(2)` gives.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Begins to wait for `source`.
    ///
    /// # Errors
    /// What `epoll_ctl(2)` gives.
    pub fn add(&self, source: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(
            &self.0,
            source,
            epoll::EventData::new_u64(token),
            interest.flags(),
        )?)
    }

    /// Waits for something else.
    ///
    /// # Errors
    /// What `epoll_ctl(2)` gives.
    pub fn change(&self, source: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(
            &self.0,
            source,
            epoll::EventData::new_u64(token),
            interest.flags(),
        )?)
    }

    /// No longer waits for `source`. Closing a descriptor does the same, if it is the only one.
    ///
    /// # Errors
    /// What `epoll_ctl(2)` gives.
    pub fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, source)?)
    }

    /// Waits until something happens or `timeout` has passed.
    ///
    /// # Errors
    /// What `epoll_wait(2)` gives; an interruption by a signal is no error but an empty result.
    pub fn wait(&self, timeout: Option<std::time::Duration>) -> io::Result<Vec<Ready>> {
        let timeout = timeout.map(|left| rustix::event::Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut events = Vec::with_capacity(64);
        match epoll::wait(
            &self.0,
            rustix::buffer::spare_capacity(&mut events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |event: &epoll::Event| {
            let (flags, data) = (event.flags, event.data);
            let hung_up = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            Ready {
                token: data.u64(),
                readable: flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::RDHUP)
                    || hung_up,
                writable: flags.intersects(epoll::EventFlags::OUT),
                hung_up,
            }
        };
        Ok(events.iter().map(ready).collect())
    }
}

/// Blocks `SIGCHLD` for this thread and gives a descriptor that is readable when a child has
/// changed state: signalfd(2), Linux 2.6.27. Programs started later inherit the mask, unless
/// [`crate::process::without_blocked_signals`] clears it for them.
///
/// # Errors
/// What signalfd(2) gives.
pub fn child_signals() -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) initialises the set it is given, which is writable and large enough.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset has just initialised it.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: `set` is an initialised signal set that we own.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    // SAFETY: `set` is initialised, and a null pointer for the old mask is allowed.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    // SAFETY: -1 asks for a new descriptor; `set` is initialised.
    let raw = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: signalfd(2) has just returned this descriptor and nothing else has seen it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Sends any signal that the kernel has, realtime ones too, to one process: kill(2).
///
/// # Errors
/// `InvalidInput` for a process or signal that cannot be, `NotFound` when there is no such process.
pub fn signal_process(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 1 || !(0..=64).contains(&signal) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("signal {signal} to process {pid}"),
        ));
    }
    // SAFETY: kill(2) takes two numbers and touches no memory of ours; `pid` is one process, neither
    // a group nor "all" (checked above).
    if unsafe { libc::kill(pid, signal) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESRCH) => Err(io::ErrorKind::NotFound.into()),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_pipe_becomes_readable_and_ends() {
        let reactor = Reactor::new().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        reactor.add(&reader, 7, Interest::READ).unwrap();
        assert!(reactor.wait(Some(Duration::ZERO)).unwrap().is_empty());
        io::Write::write_all(&mut writer, b"x").unwrap();
        let ready = reactor.wait(None).unwrap();
        assert!(ready.len() == 1 && ready[0].token == 7 && ready[0].readable && !ready[0].hung_up);
        drop(writer);
        assert!(reactor.wait(None).unwrap()[0].hung_up);
        reactor.remove(&reader).unwrap();
        assert!(reactor.wait(Some(Duration::ZERO)).unwrap().is_empty());
    }
}
