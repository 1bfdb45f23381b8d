//! What the runtime and the new process say to each other.
//!
//! ```text
//!      runtime                                   init (a copy of it, in the new namespaces)
//!         │ clone3 ────────────────────────────────► │
//!         │ cgroup, id maps, limits                  │ waits
//!         │ ── Go ─────────────────────────────────► │
//!         │                                          │ cgroup namespace, mounts, devices, console
//!         │ ◄──────────────────────────── RunHooks ──│ only if there are such hooks
//!         │ prestart, createRuntime hooks            │ waits
//!         │ ── HooksDone ──────────────────────────► │
//!         │                                          │ createContainer hooks, pivot_root, masks, identity
//!         │ ◄─────────────────────────────── Ready ──│
//!         │ state.json, pid file                     │
//!  create: ends                                      │ reads the start fifo, closes its end
//!  run:   │ ── Exec ───────────────────────────────► │
//!         │ ◄──────────── end of file (close-on-exec)│ execve
//! ```
//! A filter that leaves system calls to an agent is put on before `Ready`; from then on init may depend on
//! the agent for every call but `write`, which such a filter may not be about. So it says by write(2) which
//! descriptor (`Listener`), the runtime takes that one out of it (pidfd_getfd(2)) and passes it on, and says
//! `ListenerTaken`; where it may not, it says `SendListener` and gets it by message.
//!
//! At any point init may say `Failed` with the text, and end. When the runtime dies, init reads end of
//! file and ends. `exec` skips the hooks and `Ready`. The socket keeps message borders (SOCK_SEQPACKET).

use crate::error::{Error, Step as _, said};
use hull_linux::socket::{receive_descriptor, send_descriptor};
use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};
use std::cell::RefCell;

/// The most bytes of a failure's text; a longer one is cut.
const MAX_TEXT: usize = 8 * 1024;

/// What the runtime says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToInit {
    /// Cgroup, id maps and limits are set.
    Go,
    /// The hooks of the runtime's namespace have run.
    HooksDone,
    /// Become the user's program.
    Exec,
    /// The listener has been taken.
    ListenerTaken,
    /// The listener cannot be taken from outside: send it.
    SendListener,
}

/// What init says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToRuntime {
    /// It is time for the hooks of the runtime's namespace.
    RunHooks,
    /// Nothing is left to do but to become the user's program.
    Ready,
    /// The descriptor, by its number in init, through which an agent is asked about system calls.
    Listener(i32),
    /// Something the user should know that stops nothing.
    Warning(String),
    /// It did not work, and why.
    Failed(String),
}

impl ToInit {
    fn encode(self) -> u8 {
        match self {
            Self::Go => b'g',
            Self::HooksDone => b'h',
            Self::Exec => b'x',
            Self::ListenerTaken => b't',
            Self::SendListener => b's',
        }
    }

    fn decode(message: &[u8]) -> Option<Self> {
        match message {
            b"g" => Some(Self::Go),
            b"h" => Some(Self::HooksDone),
            b"x" => Some(Self::Exec),
            b"t" => Some(Self::ListenerTaken),
            b"s" => Some(Self::SendListener),
            _ => None,
        }
    }
}

impl ToRuntime {
    fn encode(&self) -> Vec<u8> {
        let (tag, text) = match self {
            Self::RunHooks => (b'h', ""),
            Self::Ready => (b'r', ""),
            Self::Listener(number) => {
                let [a, b, c, d] = number.to_ne_bytes();
                return vec![b'l', a, b, c, d];
            }
            Self::Warning(text) => (b'w', text.as_str()),
            Self::Failed(text) => (b'f', text.as_str()),
        };
        let mut message = vec![tag];
        message.extend(text.bytes().take(MAX_TEXT));
        message
    }

    fn decode(message: &[u8]) -> Option<Self> {
        let (tag, bytes) = message.split_first()?;
        let text = || String::from_utf8_lossy(bytes).into_owned();
        Some(match tag {
            b'h' => Self::RunHooks,
            b'r' => Self::Ready,
            b'l' => Self::Listener(i32::from_ne_bytes(bytes.try_into().ok()?)),
            b'w' => Self::Warning(text()),
            b'f' => Self::Failed(text()),
            _ => return None,
        })
    }
}

/// The runtime's end.
#[derive(Debug)]
pub(crate) struct RuntimeEnd(RefCell<Option<OwnedFd>>);

/// Init's end.
#[derive(Debug)]
pub(crate) struct InitEnd(OwnedFd);

/// Both ends, close-on-exec.
pub(crate) fn pair() -> Result<(RuntimeEnd, InitEnd), Error> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .step(|| "make the socket to init")?;
    Ok((RuntimeEnd(RefCell::new(Some(ours))), InitEnd(theirs)))
}

impl RuntimeEnd {
    /// Closes this end. Init calls it on its copy: as long as it held one itself, it would never see
    /// that the runtime has gone.
    pub(crate) fn leave(&self) {
        self.0.take();
    }

    /// Says something to init. That init has ended shows when it is listened to.
    pub(crate) fn send(&self, message: ToInit) -> Result<(), Error> {
        let socket = self.0.borrow();
        let socket = socket.as_ref().ok_or_else(left)?;
        match rustix::net::send(socket, &[message.encode()], SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error).step(|| "write to init"),
        }
    }

    /// What init says next; `None` when it has closed its end.
    pub(crate) fn receive(&self) -> Result<Option<ToRuntime>, Error> {
        let socket = self.0.borrow();
        receive(socket.as_ref().ok_or_else(left)?, ToRuntime::decode)
    }
}

fn left() -> Error {
    said("this end of the socket is closed")
}

impl InitEnd {
    /// Says something to the runtime.
    pub(crate) fn send(&self, message: &ToRuntime) -> Result<(), Error> {
        rustix::net::send(self.0.as_fd(), &message.encode(), SendFlags::NOSIGNAL)
            .step(|| "write to the runtime")?;
        Ok(())
    }

    /// Waits for one message.
    pub(crate) fn expect(&self, expected: ToInit) -> Result<(), Error> {
        match receive(&self.0, ToInit::decode)? {
            Some(message) if message == expected => Ok(()),
            Some(_) => Err(said("the runtime said something out of turn")),
            None => Err(said("the runtime has gone away")),
        }
    }
}

impl InitEnd {
    /// Hands the listener of this process' own filter to the runtime.
    ///
    /// Nothing is allocated and nothing but write(2) is called before it is said.
    pub(crate) fn hand_over(&self, listener: OwnedFd) -> Result<(), Error> {
        let [a, b, c, d] = listener.as_raw_fd().to_ne_bytes();
        rustix::io::retry_on_intr(|| rustix::io::write(&self.0, &[b'l', a, b, c, d]))
            .step(|| "write to the runtime")?;
        match receive(&self.0, ToInit::decode)? {
            Some(ToInit::ListenerTaken) => Ok(()),
            Some(ToInit::SendListener) => {
                send_descriptor(&self.0, b"d", listener.as_fd())
                    .step(|| "send the seccomp listener")?;
                self.expect(ToInit::ListenerTaken)
            }
            Some(_) => Err(said("the runtime said something out of turn")),
            None => Err(said("the runtime has gone away")),
        }
    }
}

impl RuntimeEnd {
    /// Takes the descriptor that init was told to send.
    pub(crate) fn receive_descriptor(&self) -> Result<OwnedFd, Error> {
        let socket = self.0.borrow();
        receive_descriptor(socket.as_ref().ok_or_else(left)?)
            .step(|| "receive the seccomp listener")
    }
}

impl AsFd for InitEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn receive<T>(socket: &OwnedFd, decode: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, Error> {
    let mut buffer = vec![0; MAX_TEXT + 1];
    loop {
        match rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return Ok(None),
            // The other side ended without reading all it was sent. This is told once, and before what it
            // had said itself, which still comes.
            Err(Errno::CONNRESET) => {}
            Ok((length, _)) => {
                let message = decode(&buffer[..length.min(MAX_TEXT + 1)]);
                return message
                    .map(Some)
                    .ok_or_else(|| said("a message that makes no sense"));
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).step(|| "read from the other side"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent_and_the_end_is_seen() {
        let (runtime, init) = pair().expect("a pair");
        for message in [
            ToRuntime::RunHooks,
            ToRuntime::Ready,
            ToRuntime::Listener(7),
            ToRuntime::Warning("w".into()),
            ToRuntime::Failed("exec: \"x\"".into()),
        ] {
            init.send(&message).expect("sent");
            assert_eq!(runtime.receive().expect("received"), Some(message));
        }
        for message in [ToInit::Go, ToInit::HooksDone, ToInit::Exec] {
            runtime.send(message).expect("sent");
            init.expect(message).expect("received");
        }
        runtime.send(ToInit::Exec).expect("sent");
        assert!(init.expect(ToInit::Go).is_err());
        runtime.send(ToInit::Go).expect("sent");
        let last = ToRuntime::Failed("early".into());
        init.send(&last).expect("sent");
        drop(init);
        assert_eq!(runtime.receive().expect("received"), Some(last));
        assert_eq!(runtime.receive().expect("received"), None);
        runtime
            .send(ToInit::Go)
            .expect("an end that is gone shows when it is listened to");
    }
}
