//! Containers' connections over TCP (RFC 7766).

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a connection may be silent.
pub(super) const IDLE: Duration = Duration::from_secs(10);
/// Questions of one connection that are not answered yet.
const MOST_OUTSTANDING: usize = 64;
/// Bytes of answers that a client does not fetch.
const MOST_UNSENT: usize = 256 << 10;
/// Connections of one sandbox and of all.
pub(super) const MOST_OF_A_SANDBOX: usize = 64;
pub(super) const MOST: usize = 512;

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
