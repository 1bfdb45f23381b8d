//! Containers' connections over TCP (RFC 7766).

use super::Server;
use super::forward::Client;
use super::timers::{Token, is_shortage};
use hull_linux::reactor::{Interest, Ready};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// Questions of one connection that are not answered yet.
const MOST_OUTSTANDING: usize = 64;
/// Bytes of answers that a client does not fetch.
const MOST_UNSENT: usize = 256 << 10;
/// Connections of one sandbox and of all. One more than that takes the place of the oldest of the same
/// sandbox, or of the one that has most.
const MOST_OF_A_SANDBOX: usize = 64;
const MOST: usize = 2048;

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    /// The key of its sandbox.
    pub(super) sandbox: u64,
    pub(super) socket: TcpStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    /// Questions that wait for other servers.
    pub(super) outstanding: usize,
    pub(super) deadline: Instant,
    /// The client sends no more.
    ended: bool,
}

impl Stream {
    pub(super) fn new(sandbox: u64, socket: TcpStream, now: Instant) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            sandbox,
            socket,
            received: Vec::new(),
            unsent: Vec::new(),
            outstanding: 0,
            deadline: now + IDLE,
            ended: false,
        })
    }

    /// Reads what there is, once.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        if !self.takes_questions() {
            return Ok(());
        }
        match self.socket.read(buffer) {
            Ok(0) => self.ended = true,
            Ok(length) => self.received.extend_from_slice(&buffer[..length]),
            Err(error) if is_early(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The next question that has come in whole.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        if self.outstanding >= MOST_OUTSTANDING {
            return None;
        }
        let (length, rest) = self.received.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let message = rest.get(..length)?.to_vec();
        self.received.drain(..2 + length);
        Some(message)
    }

    /// Sends an answer, or keeps it until there is room.
    pub(super) fn answer(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        if self.unsent.len() + message.len() > MOST_UNSENT {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.unsent.extend(length.to_be_bytes());
        self.unsent.extend(message);
        self.send()
    }

    /// Sends what can be.
    pub(super) fn send(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if is_early(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether there is something to send.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether more is read: not while a client does not fetch its answers.
    pub(super) fn takes_questions(&self) -> bool {
        !self.ended && self.outstanding < MOST_OUTSTANDING && self.unsent.is_empty()
    }

    /// Whether all that was asked is answered and no more comes.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.outstanding == 0 && self.unsent.is_empty()
    }
}

fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl Server {
    pub(super) fn accept_stream(&mut self, key: u64) {
        let Some(served) = self.sandboxes.get_mut(&key) else {
            return;
        };
        let socket = match served.tcp.accept() {
            Ok((socket, _)) => socket,
            Err(error) => {
                if is_shortage(&error) {
                    let token = Token::Connections(key);
                    self.timers.pause(&self.reactor, served.tcp.as_fd(), token);
                }
                return;
            }
        };
        self.make_room_for_stream(key);
        let Some(served) = self.sandboxes.get_mut(&key) else {
            return;
        };
        let now = Instant::now();
        let Ok(stream) = Stream::new(key, socket, now) else {
            return;
        };
        self.last_key += 1;
        let id = self.last_key;
        let token = Token::Stream(id);
        if self
            .reactor
            .add(&stream.socket, token.number(), Interest::READ)
            .is_ok()
        {
            served.streams += 1;
            self.timers.at(stream.deadline, token);
            self.streams.insert(id, stream);
        }
    }

    fn make_room_for_stream(&mut self, sandbox: u64) {
        let of_sandbox = self.sandboxes.get(&sandbox);
        let from = if of_sandbox.is_some_and(|served| served.streams >= MOST_OF_A_SANDBOX) {
            sandbox
        } else if self.streams.len() >= MOST {
            let by_count = self.sandboxes.iter().max_by_key(|(_, s)| s.streams);
            by_count.map_or(sandbox, |(key, _)| *key)
        } else {
            return;
        };
        let mut streams = self.streams.iter();
        if let Some((&oldest, _)) = streams.find(|(_, stream)| stream.sandbox == from) {
            self.close_stream(oldest);
        }
    }

    pub(super) fn stream(&mut self, key: u64, ready: Ready) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let mut outcome = match ready.writable {
            true => stream.send(),
            false => Ok(()),
        };
        if ready.readable && outcome.is_ok() {
            outcome = stream.receive(&mut self.packet);
        }
        // Whoever is gone for both directions takes no answers.
        if outcome.is_err() || ready.hung_up {
            return self.close_stream(key);
        }
        self.questions(key);
    }

    /// Answers what has come in over a connection.
    fn questions(&mut self, key: u64) {
        while let Some(stream) = self.streams.get_mut(&key) {
            let Some(message) = stream.next() else { break };
            stream.deadline = Instant::now() + IDLE;
            let sandbox = stream.sandbox;
            if self.question(sandbox, Client::Tcp(key), &message)
                && let Some(stream) = self.streams.get_mut(&key)
                && stream.answer(&self.answer).is_err()
            {
                return self.close_stream(key);
            }
        }
        self.settle_stream(key);
    }

    pub(super) fn answer_stream(&mut self, key: u64, message: &[u8]) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        stream.outstanding = stream.outstanding.saturating_sub(1);
        match stream.answer(message) {
            Ok(()) => self.questions(key),
            Err(_) => self.close_stream(key),
        }
    }

    /// Waits for what the connection can do next, or closes it.
    fn settle_stream(&mut self, key: u64) {
        let Some(stream) = self.streams.get(&key) else {
            return;
        };
        let interest = Interest {
            readable: stream.takes_questions(),
            writable: stream.has_unsent(),
        };
        let token = Token::Stream(key).number();
        if stream.is_over()
            || self
                .reactor
                .change(&stream.socket, token, interest)
                .is_err()
        {
            self.close_stream(key);
        }
    }

    pub(super) fn expire_stream(&mut self, key: u64, now: Instant) {
        let Some(stream) = self.streams.get(&key) else {
            return;
        };
        if stream.deadline <= now {
            self.close_stream(key);
        } else {
            self.timers.at(stream.deadline, Token::Stream(key));
        }
    }

    fn close_stream(&mut self, key: u64) {
        let closed = self.streams.remove(&key);
        let served = closed.and_then(|stream| self.sandboxes.get_mut(&stream.sandbox));
        if let Some(served) = served {
            served.streams = served.streams.saturating_sub(1);
        }
    }
}
