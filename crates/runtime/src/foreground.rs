//! Staying with a process: signals go to it, a terminal of our own is passed through, orphans are reaped.

use crate::error::{Error, Step as _, said};
use crate::launch::Started;
use hull_linux::process::{Signals, send_to_pidfd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::process::{WaitOptions, wait};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;

/// The two ends of a socket over which our own init sends us its terminal.
pub(crate) fn console_pair() -> Result<(OwnedFd, OwnedFd), Error> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .step(|| "make the console socket")
}

/// Takes the terminal's master out of the socket.
pub(crate) fn receive_master(socket: &OwnedFd) -> Result<OwnedFd, Error> {
    let mut name = [0_u8; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut name)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .step(|| "receive the terminal")?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut files) = message {
            return files.next().ok_or_else(|| said("no terminal was sent"));
        }
    }
    Err(said("no terminal was sent"))
}

/// Our own terminal in raw mode, and back again.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let stdin = rustix::stdio::stdin();
        let Some(before) = isatty(stdin).then(|| tcgetattr(stdin).ok()).flatten() else {
            return Self(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        // A terminal that cannot be made raw still shows what the program writes.
        let _ = tcsetattr(stdin, OptionalActions::Now, &raw);
        Self(Some(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Stays until the process has ended and its output is passed on. Gives its exit code.
pub(crate) fn stay(
    started: &Started,
    signals: &Signals,
    master: Option<OwnedFd>,
) -> Result<u8, Error> {
    let _raw = master.as_ref().map(|_| Raw::enter());
    if let Some(master) = &master {
        copy_size(master);
    }
    let mut code = None;
    let mut output = master.is_some();
    let mut input = master.is_some();
    loop {
        if let (Some(code), false) = (code, output) {
            return Ok(code);
        }
        let (mut can_read, mut can_type) = (false, false);
        {
            let stdin = rustix::stdio::stdin();
            let mut sources = vec![PollFd::new(signals, PollFlags::IN)];
            if let Some(master) = master.as_ref().filter(|_| output) {
                sources.push(PollFd::new(master, PollFlags::IN));
                if input {
                    sources.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
                }
            }
            match poll(&mut sources, None) {
                Ok(_) => {
                    can_read = sources
                        .get(1)
                        .is_some_and(|source| !source.revents().is_empty());
                    can_type = sources
                        .get(2)
                        .is_some_and(|source| !source.revents().is_empty());
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).step(|| "wait for the process"),
            }
        }
        while let Some(signal) = signals.next().step(|| "read a signal")? {
            code = code.or(handle(signal.number, started, master.as_ref())?);
        }
        if let Some(master) = master.as_ref() {
            if can_read {
                output = pass(master.as_fd(), rustix::stdio::stdout());
            }
            if can_type {
                input = pass(rustix::stdio::stdin(), master.as_fd());
            }
        }
    }
}

fn copy_size(master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// One signal: children are reaped, a new size is passed on, everything else is for the process.
fn handle(number: i32, started: &Started, master: Option<&OwnedFd>) -> Result<Option<u8>, Error> {
    const SIGCHLD: i32 = rustix::process::Signal::CHILD.as_raw();
    const SIGWINCH: i32 = rustix::process::Signal::WINCH.as_raw();
    const SIGURG: i32 = rustix::process::Signal::URG.as_raw();
    match number {
        SIGCHLD => reap(started),
        SIGWINCH => {
            if let Some(master) = master {
                copy_size(master);
            }
            Ok(None)
        }
        SIGURG => Ok(None),
        number => {
            // A process that has ended needs no signal.
            let _ = send_to_pidfd(started.child.pidfd.as_fd(), number);
            Ok(None)
        }
    }
}

fn reap(started: &Started) -> Result<Option<u8>, Error> {
    let mut code = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == started.child.pid => {
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                let value = status.exit_status().or(signal).unwrap_or(255);
                code = Some(u8::try_from(value & 0xff).unwrap_or(255));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(code),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).step(|| "reap children"),
        }
    }
}

/// Copies what is there. `false` at the end: of a terminal, `EIO` is the end.
fn pass(from: rustix::fd::BorrowedFd<'_>, to: rustix::fd::BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 32 * 1024];
    let Ok(length @ 1..) = rustix::io::read(from, &mut buffer) else {
        return false;
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
