//! News of changes, whoever makes them.

use super::socket::open;
use super::{Family, SUBSYSTEM, Table, kind};
use crate::netlink::Error;
use crate::netlink::message::{answers, attributes, text};
use rustix::net::RecvFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `NFNLGRP_NFTABLES` as a bit of a socket's groups.
const NFTABLES: u32 = 1 << (7 - 1);
/// What the kernel may hold back for us: a transaction tells every element.
const ROOM: usize = 8 << 20;

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A table.
    Table,
    /// A chain, by name.
    Chain(String),
    /// A rule of this chain.
    Rule(String),
    /// A set, by name.
    Set(String),
    /// Elements of this set.
    Elements(String),
    /// Something else.
    Other,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The [`super::Socket::port`] of who did it.
    pub port: u32,
    /// It was removed, else added or changed.
    pub removed: bool,
    /// Where.
    pub table: Table,
    /// What.
    pub object: Object,
}

/// A socket that hears of all changes in the network namespace in which it was opened. Linux 3.14.
#[derive(Debug)]
pub struct Monitor {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the kernel has no descriptors or memory left.
    pub fn open() -> Result<Self, Error> {
        let failed = |error: rustix::io::Errno| Error::new("watch", "nftables", error);
        let (fd, _) = open(NFTABLES).map_err(failed)?;
        // As much as is allowed, else as much as there is: what does not fit is told as lost.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&fd, ROOM)
            .or_else(|_| rustix::net::sockopt::set_socket_recv_buffer_size(&fd, ROOM));
        Ok(Self {
            fd,
            buffer: vec![0; 64 << 10],
        })
    }

    /// What has changed since the last call, without waiting; `None` when nothing has.
    ///
    /// # Errors
    /// `ENOBUFS` when there were more changes than the kernel could hold: some are not told.
    pub fn read(&mut self) -> io::Result<Option<Vec<Change>>> {
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT)
        });
        let (read, _) = match received {
            Ok(received) => received,
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(changes(&self.buffer[..read])))
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn changes(bytes: &[u8]) -> Vec<Change> {
    answers(bytes)
        .filter_map(|answer| {
            let kind = (answer.kind & 0xff00 == SUBSYSTEM).then_some(answer.kind & 0xff)?;
            let mut names = [const { String::new() }; 2];
            for (attribute, value) in attributes(answer.payload.get(4..)?) {
                match (kind, attribute) {
                    (_, 1) => names[0] = text(value),
                    // Chains have their handle there, and their name behind it.
                    (kind::NEW_CHAIN | kind::DELETE_CHAIN, 3) => names[1] = text(value),
                    (kind::NEW_CHAIN | kind::DELETE_CHAIN, _) => {}
                    (_, 2) => names[1] = text(value),
                    _ => {}
                }
            }
            let [table, name] = names;
            let object = match kind {
                kind::NEW_TABLE | kind::DELETE_TABLE => Object::Table,
                kind::NEW_CHAIN | kind::DELETE_CHAIN => Object::Chain(name),
                kind::NEW_RULE | kind::DELETE_RULE => Object::Rule(name),
                kind::NEW_SET | kind::DELETE_SET => Object::Set(name),
                kind::NEW_ELEMENT | kind::DELETE_ELEMENT => Object::Elements(name),
                kind::NEW_GENERATION => return None,
                _ => Object::Other,
            };
            Some(Change {
                port: answer.port,
                removed: matches!(
                    kind,
                    kind::DELETE_TABLE
                        | kind::DELETE_CHAIN
                        | kind::DELETE_RULE
                        | kind::DELETE_SET
                        | kind::DELETE_ELEMENT
                ),
                table: Table {
                    family: Family::from_number(*answer.payload.first()?),
                    name: table,
                },
                object,
            })
        })
        .collect()
}
