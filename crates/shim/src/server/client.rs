//! Connections to the shim's socket.

use crate::protocol::{AttachOptions, Decoder};
use hull_linux::reactor::Interest;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// How much output may wait for one client, bytes: what Docker lets wait before it makes the
/// container wait.
pub(super) const QUEUE_LIMIT: usize = 1 << 20;

/// What a connection is at the moment.
#[derive(Debug)]
pub(super) enum Role {
    /// Requests and replies.
    Control(Decoder),
    /// A stream of a process.
    Stream {
        process: u32,
        options: AttachOptions,
    },
    /// Receives events.
    Events,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: UnixStream,
    pub(super) role: Role,
    queue: VecDeque<u8>,
    /// Nothing more comes from the client.
    pub(super) input_ended: bool,
    /// To be closed when the queue is empty.
    pub(super) closing: bool,
    /// What the reactor waits for.
    pub(super) interest: Interest,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let role = Role::Control(Decoder::default());
        Ok(Self {
            stream,
            role,
            queue: VecDeque::new(),
            input_ended: false,
            closing: false,
            interest: Interest::READ,
        })
    }

    /// Reads what has come; `None` when nothing has, empty at the end.
    pub(super) fn read<'b>(&mut self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        match self.stream.read(buffer) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds to what waits for the client, writing at once what goes without waiting.
    pub(super) fn push(&mut self, bytes: &[&[u8]]) -> io::Result<()> {
        for bytes in bytes {
            let mut rest = *bytes;
            while self.queue.is_empty() && !rest.is_empty() {
                match self.stream.write(rest) {
                    Ok(length) => rest = &rest[length..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            self.queue.extend(rest);
        }
        Ok(())
    }

    /// Writes what goes without waiting.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            match self.stream.write(self.queue.as_slices().0) {
                Ok(length) => drop(self.queue.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        // What a burst made it grow to is given back.
        self.queue.shrink_to(0);
        Ok(())
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Closes the connection so that the client reads what was sent and then the end. A socket closed
    /// with unread input would give it `ECONNRESET` instead: what the client had sent and nobody
    /// wanted is taken away first. It can add nothing to that after the shutdown.
    pub(super) fn close(mut self) {
        if self.stream.shutdown(Shutdown::Both).is_err() {
            return; // It has closed its end already.
        }
        let mut unwanted = [0; 16 << 10];
        while matches!(self.stream.read(&mut unwanted), Ok(length) if length > 0) {}
    }
}
