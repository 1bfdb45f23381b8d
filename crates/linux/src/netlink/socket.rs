//! The socket and its requests.

use super::Error;
use super::channel::{Channel, NLMSG_ERROR, acknowledged};
use super::message::{ACK, Answer, Message};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// An rtnetlink socket; it acts on the network namespace in which it was opened, whoever uses it.
/// Linux 2.2.
#[derive(Debug)]
pub struct Socket {
    channel: Channel,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel has no descriptors or memory left.
    pub fn open() -> Result<Self, Error> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| Error::new("open", "a netlink socket", error))?;
        Ok(Self {
            channel: Channel::new(fd),
        })
    }

    /// Sends changes in one system call; the kernel goes on after one that failed. Only the last is
    /// acknowledged, so that a batch that succeeds takes one answer.
    ///
    /// # Errors
    /// The first failure, and which of them it was.
    pub(super) fn change(&mut self, messages: Vec<Message>) -> Result<(), (usize, io::Error)> {
        let messages = acknowledge_last(messages);
        self.converse(messages, |answer| {
            (answer.kind == NLMSG_ERROR).then(|| acknowledged(answer))
        })
    }

    /// Sends changes and a question, the last of `messages`, in one system call, and reads its answer.
    pub(super) fn change_and_get<T>(
        &mut self,
        messages: Vec<Message>,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, (usize, io::Error)> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        self.converse(messages, |answer| {
            Some(match answer.kind {
                NLMSG_ERROR => Err(acknowledged(answer).err().unwrap_or_else(invalid)),
                _ => read(answer.payload).ok_or_else(invalid),
            })
        })
    }

    /// Sends all, then receives until `last` has made something of an answer to the last of them.
    fn converse<T>(
        &mut self,
        messages: Vec<Message>,
        last: impl Fn(&Answer<'_>) -> Option<io::Result<T>>,
    ) -> Result<T, (usize, io::Error)> {
        let end = messages.len().saturating_sub(1);
        let mut batch = Vec::with_capacity(messages.len() * 128);
        let mut first = None;
        for message in messages {
            let sequence = self.channel.next();
            first.get_or_insert(sequence);
            batch.extend(message.finish(sequence));
        }
        let first = first.unwrap_or_default();
        self.channel.send(&batch).map_err(|error| (0, error))?;
        let (mut failure, mut result) = (None, None);
        while result.is_none() {
            self.channel
                .receive(|answer| {
                    let at =
                        usize::try_from(answer.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                    if at == end {
                        result = result.take().or_else(|| last(&answer));
                    } else if at < end
                        && answer.kind == NLMSG_ERROR
                        && let Err(error) = acknowledged(&answer)
                    {
                        failure.get_or_insert((at, error));
                    }
                })
                .map_err(|error| (0, error))?;
        }
        match (failure, result) {
            (Some(failure), _) => Err(failure),
            (None, Some(result)) => result.map_err(|error| (end, error)),
            (None, None) => Err((end, io::ErrorKind::InvalidData.into())),
        }
    }

    /// Asks for one object and reads the answer.
    pub(super) fn get<T>(
        &mut self,
        message: Message,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<T> {
        self.change_and_get(vec![message], read)
            .map_err(|(_, error)| error)
    }

    /// Asks for all objects of a kind; those that `read` does not understand are left out.
    pub(super) fn dump<T>(
        &mut self,
        kind: u16,
        fixed: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        self.channel
            .dump(|flags| Message::new(kind, flags, fixed), read)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn acknowledge_last(mut messages: Vec<Message>) -> Vec<Message> {
    let last = messages.pop().map(|last| last.with_flags(ACK));
    messages.extend(last);
    messages
}
