//! One question to one server.

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A socket of its own, so with a port of its own, that hears its server alone.
#[derive(Debug)]
pub(super) struct Upstream {
    socket: OwnedFd,
    stream: Option<Stream>,
}

/// Over TCP, messages have their length in front (RFC 1035 section 4.2.2).
#[derive(Debug)]
struct Stream {
    to_send: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event<'a> {
    Nothing,
    /// All is sent: from now on there is something to read.
    Sent,
    Message(&'a [u8]),
    Failed,
}

impl AsFd for Upstream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Upstream {
    /// Asks, in the calling thread's namespace; over TCP it begins to.
    pub(super) fn open(server: SocketAddr, tcp: bool, message: &[u8]) -> io::Result<Self> {
        let family = match server {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let kind = match tcp {
            true => SocketType::STREAM,
            false => SocketType::DGRAM,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, kind, flags, None)?;
        match rustix::net::connect(&socket, &server) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = match tcp {
            true => {
                let length = u16::try_from(message.len()).map_err(io::Error::other)?;
                let mut to_send = length.to_be_bytes().to_vec();
                to_send.extend(message);
                Some(Stream {
                    to_send,
                    sent: 0,
                    received: Vec::new(),
                })
            }
            false => {
                rustix::net::send(&socket, message, SendFlags::empty())?;
                None
            }
        };
        Ok(Self { socket, stream })
    }

    /// Reads or writes what can be.
    pub(super) fn go_on<'a>(&'a mut self, buffer: &'a mut [u8]) -> Event<'a> {
        let Some(stream) = &mut self.stream else {
            return match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => Event::Message(&buffer[..length]),
                Err(error) => unless_early(error),
            };
        };
        if stream.sent < stream.to_send.len() {
            let rest = &stream.to_send[stream.sent..];
            return match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    stream.sent += count;
                    match stream.sent < stream.to_send.len() {
                        true => Event::Nothing,
                        false => Event::Sent,
                    }
                }
                Err(error) => unless_early(error),
            };
        }
        match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return Event::Failed,
            Ok((length, _)) => stream.received.extend_from_slice(&buffer[..length]),
            Err(error) => return unless_early(error),
        }
        let Some((length, rest)) = stream.received.split_first_chunk() else {
            return Event::Nothing;
        };
        match rest.get(..u16::from_be_bytes(*length).into()) {
            Some(message) => Event::Message(message),
            None => Event::Nothing,
        }
    }
}

fn unless_early(error: rustix::io::Errno) -> Event<'static> {
    match error {
        rustix::io::Errno::AGAIN | rustix::io::Errno::INTR => Event::Nothing,
        _ => Event::Failed,
    }
}

/// Identifiers that nobody can guess (RFC 5452 section 9).
#[derive(Debug, Default)]
pub(super) struct Identifiers(Vec<u16>);

impl Identifiers {
    pub(super) fn next(&mut self) -> u16 {
        if self.0.is_empty() {
            let mut bytes = [0; 256];
            // The kernel's generator is ready long before containers are, and gives 256 bytes at once.
            let filled =
                rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
            let bytes = &bytes[..filled.unwrap_or(0)];
            self.0 = bytes
                .chunks_exact(2)
                .map(|two| u16::from_ne_bytes([two[0], two[1]]))
                .collect();
        }
        self.0.pop().unwrap_or(0)
    }
}
