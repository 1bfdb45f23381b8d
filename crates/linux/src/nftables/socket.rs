//! The socket: commits transactions, reads what there is.

use super::batch::Batch;
use super::{SUBSYSTEM, header, kind};
use crate::netlink::Error;
use crate::netlink::channel::{Channel, NLMSG_ERROR, acknowledged};
use crate::netlink::message::{ACK, Answer, Message, attributes, text};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;

/// A socket for nf_tables and conntrack. It acts on the network namespace in which it was opened,
/// whoever uses it.
#[derive(Debug)]
pub struct Socket {
    channel: Channel,
    port: u32,
    /// What may be sent at once, in bytes.
    room: usize,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel has no descriptors or memory left.
    pub fn open() -> Result<Self, Error> {
        let failed = |error: rustix::io::Errno| Error::new("open", "a netfilter socket", error);
        let (fd, port) = open(0).map_err(failed)?;
        let room = rustix::net::sockopt::socket_send_buffer_size(&fd).map_err(failed)?;
        Ok(Self {
            channel: Channel::new(fd),
            port,
            room: room / 2,
        })
    }

    /// Opens a socket inside another network namespace, of which this is a file.
    ///
    /// # Errors
    /// When it is no network namespace, or without `CAP_SYS_ADMIN`.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        crate::netlink::inside(namespace, Self::open)?
    }

    /// The socket's address, by which a [`super::Monitor`] knows its changes.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// The number of changes that there were in this network namespace.
    ///
    /// # Errors
    /// Without `CAP_NET_ADMIN` over the network namespace, or in a kernel without nf_tables.
    pub fn generation(&mut self) -> Result<u32, Error> {
        const GENERATION: u16 = 1;
        let message = Message::new(SUBSYSTEM | kind::GET_GENERATION, 0, &header(0, 0));
        let mut found = None;
        let read = |answer: &Answer<'_>| {
            found = attributes(answer.payload.get(4..)?)
                .find(|(kind, _)| *kind == GENERATION)
                .and_then(|(_, value)| be32(value));
            Some(())
        };
        let asked = self.channel.ask(message, read);
        asked.map_err(|error| Error::new("read", "the generation of nftables", error))?;
        found.ok_or_else(|| {
            let error = io::Error::from(io::ErrorKind::InvalidData);
            Error::new("read", "the generation of nftables", error)
        })
    }

    /// Makes all changes of a transaction, or none.
    ///
    /// # Errors
    /// The first that the kernel refuses; [`Error::is_outdated`] when the generation is another.
    pub fn commit(&mut self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let failed = |error: io::Error| Error::new("change", "nftables", error);
        let count = u32::try_from(batch.steps.len()).unwrap_or(u32::MAX);
        let mut names = Vec::with_capacity(batch.steps.len());
        let mut begin = Message::new(BEGIN, 0, &header(0, SUBSYSTEM >> 8));
        if let Some(generation) = batch.generation {
            begin = begin.attribute(1, &generation.to_be_bytes());
        }
        let first = self.channel.next();
        let mut bytes = begin.finish(first);
        for (at, step) in (1..).zip(batch.steps) {
            // One word on the last is enough: errors are told in any case.
            let flags = if at == count { ACK } else { 0 };
            bytes.extend(step.message.with_flags(flags).finish(self.channel.next()));
            names.push((step.operation, step.object));
        }
        bytes.extend(Message::new(END, 0, &header(0, SUBSYSTEM >> 8)).finish(self.channel.next()));
        self.send_large(&bytes).map_err(failed)?;
        let (mut refused, mut done) = (None, false);
        while !done && refused.is_none() {
            self.channel
                .receive(|answer| {
                    let at = answer.sequence.wrapping_sub(first);
                    if answer.kind != NLMSG_ERROR || at > count {
                        return;
                    }
                    match acknowledged(&answer) {
                        Ok(()) => done |= at == count,
                        Err(error) => drop(refused.get_or_insert((at, error, said(&answer)))),
                    }
                })
                .map_err(failed)?;
        }
        let Some((at, error, said)) = refused else {
            return Ok(());
        };
        // It may have more to say of a transaction that it refused.
        self.channel.discard();
        let name = usize::try_from(at).ok().and_then(|at| at.checked_sub(1));
        let (operation, mut object) = name
            .and_then(|at| names.get(at).cloned())
            .unwrap_or_else(|| ("change", "nftables".to_owned()));
        if let Some(said) = said {
            object = format!("{object} ({said})");
        }
        Err(Error::new(operation, object, error))
    }

    /// The kernel takes a transaction whole, in one message of at most the socket's buffer.
    fn send_large(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.room {
            let (fd, size) = (self.channel.as_fd(), bytes.len() * 2);
            rustix::net::sockopt::set_socket_send_buffer_size_force(fd, size)
                .or_else(|_| rustix::net::sockopt::set_socket_send_buffer_size(fd, size))?;
            self.room = bytes.len();
        }
        self.channel.send(bytes)
    }

    /// Requests beyond transactions: conntrack's, and lists.
    pub(crate) fn channel(&mut self) -> &mut Channel {
        &mut self.channel
    }
}

/// A netfilter socket that hears these groups, and its address.
pub(super) fn open(groups: u32) -> rustix::io::Result<(OwnedFd, u32)> {
    let fd = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(NETFILTER),
    )?;
    rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
    let address = SocketAddrNetlink::try_from(rustix::net::getsockname(&fd)?)?;
    for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open, the value is an int that lives across the call, and its size, 4,
        // is given. A kernel that knows no such option refuses it, which changes nothing: errors then
        // carry the request and no text.
        unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                4,
            )
        };
    }
    Ok((fd, address.pid()))
}

/// The kernel's own words (`NLMSGERR_ATTR_MSG`), after the request's header. Linux 4.12.
fn said(answer: &Answer<'_>) -> Option<String> {
    const CAPPED: u16 = 0x100;
    const HAS_ATTRIBUTES: u16 = 0x200;
    const MESSAGE: u16 = 1;
    if answer.flags & (CAPPED | HAS_ATTRIBUTES) != CAPPED | HAS_ATTRIBUTES {
        return None;
    }
    attributes(answer.payload.get(20..)?)
        .find(|(kind, _)| *kind == MESSAGE)
        .map(|(_, value)| text(value))
}

pub(super) fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}
