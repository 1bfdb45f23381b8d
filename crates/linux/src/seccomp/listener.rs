//! The other end of [`Action::Notify`](super::Action::Notify): who is asked about system calls.
//! seccomp_unotify(2), Linux 5.0.

use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What the answer must name.
    pub id: u64,
    /// The thread that waits, in the listener's PID namespace; 0 when it is not there.
    pub thread: u32,
    /// The call's number.
    pub number: i32,
    /// `AUDIT_ARCH_*`: whose number that is.
    pub architecture: u32,
    /// Its arguments. What pointers lead to may change at any moment.
    pub arguments: [u64; 6],
}

/// What becomes of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is not made and gives this value.
    Value(i64),
    /// It is not made and fails with this error.
    Errno(u16),
    /// It is made (Linux 5.5). No decision about safety: its arguments may have changed.
    Continue,
}

/// `struct seccomp_notif` of linux/seccomp.h.
#[repr(C)]
#[derive(Default)]
struct Received {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    architecture: u32,
    instruction: u64,
    arguments: [u64; 6],
}

/// `struct seccomp_notif_resp` of linux/seccomp.h.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `_IOWR('!', 0, struct seccomp_notif)`.
const RECEIVE: u32 = 0xc050_2100;
/// `_IOWR('!', 1, struct seccomp_notif_resp)`.
const SEND: u32 = 0xc018_2101;
// The requests name the sizes of the structures.
const _: () = assert!(size_of::<Received>() == 0x50 && size_of::<Response>() == 0x18);
const CONTINUE: u32 = 1;

/// Waits for the next call; `None` when nobody is left who could make one.
///
/// # Errors
/// What poll(2) and `SECCOMP_IOCTL_NOTIF_RECV` give.
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
    loop {
        let mut wait = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut wait, None))?;
        if !wait[0].revents().contains(PollFlags::IN) {
            return Ok(None);
        }
        let mut received = Received::default();
        // SAFETY: the structure is the one the request names by its size, is zeroed as the kernel demands,
        // and lives across the call.
        let result = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut received) };
        if result >= 0 {
            return Ok(Some(Notification {
                id: received.id,
                thread: received.pid,
                number: received.number,
                architecture: received.architecture,
                arguments: received.arguments,
            }));
        }
        match io::Error::last_os_error() {
            // The thread was interrupted or has ended meanwhile.
            error if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {}
            error => return Err(error),
        }
    }
}

/// Lets a call go on or fail.
///
/// # Errors
/// `NotFound` when the thread does not wait any more, and those of `SECCOMP_IOCTL_NOTIF_SEND`.
pub fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    let (value, error, flags) = match answer {
        Answer::Value(value) => (value, 0, 0),
        Answer::Errno(number) => (0, -i32::from(number), 0),
        Answer::Continue => (0, 0, CONTINUE),
    };
    let response = Response {
        id,
        value,
        error,
        flags,
    };
    // SAFETY: the structure is the one the request names by its size and lives across the call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const response) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Architecture, Flags, Policy, Rule, compile};
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn calls_are_answered() {
        let rule = Rule {
            names: vec!["getppid".to_owned()],
            action: Action::Notify,
            conditions: Vec::new(),
        };
        let policy = Policy {
            default: Action::Allow,
            architectures: vec![Architecture::native()],
            rules: vec![rule],
        };
        let filter = compile(&policy).unwrap();
        let (send, receive_end) = std::sync::mpsc::channel();
        // In a thread of its own: a filter cannot be taken off again.
        let caller = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            let listener = filter.install(Flags::default()).unwrap().unwrap();
            send.send(listener).unwrap();
            (0..3)
                .map(|_| {
                    // SAFETY: getppid(2) takes nothing and touches nothing.
                    let result = unsafe { libc::syscall(libc::SYS_getppid) };
                    (result, io::Error::last_os_error().raw_os_error())
                })
                .collect::<Vec<_>>()
        });
        let listener = receive_end.recv().unwrap();
        for wanted in [Answer::Value(7), Answer::Errno(99), Answer::Continue] {
            let call = receive(listener.as_fd()).unwrap().expect("a call");
            assert_eq!(i64::from(call.number), libc::SYS_getppid);
            answer(listener.as_fd(), call.id, wanted).unwrap();
        }
        let answers = caller.join().unwrap();
        assert_eq!((answers[0].0, answers[1]), (7, (-1, Some(99))));
        assert!(answers[2].0 > 0);
        assert_eq!(receive(listener.as_fd()).unwrap(), None);
    }
}
