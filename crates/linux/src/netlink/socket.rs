//! The socket and its request loop.

use super::Error;
use super::message::{Answer, DUMP, Message, answers, u32_at};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The kernel changed what it was telling while it told it: ask again.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The kernel fills at most 32 KiB at a time for dumps.
const BUFFER: usize = 32 << 10;
const DUMP_ATTEMPTS: usize = 8;

/// An rtnetlink socket; it acts on the network namespace in which it was opened, whoever uses it.
/// Linux 2.2.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
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
            fd,
            sequence: 0,
            buffer: vec![0; BUFFER],
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
        let first = self.sequence.wrapping_add(1);
        let end = messages.len().saturating_sub(1);
        let mut batch = Vec::with_capacity(messages.len() * 128);
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            batch.extend(message.finish(self.sequence));
        }
        self.send(&batch).map_err(|error| (0, error))?;
        let (mut failure, mut result) = (None, None);
        while result.is_none() {
            self.receive(|answer| {
                let at = usize::try_from(answer.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
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
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(all) = self.dump_once(kind, fixed, &read)? {
                return Ok(all);
            }
        }
        Err(io::Error::other("the answer changed while it was read"))
    }

    fn dump_once<T>(
        &mut self,
        kind: u16,
        fixed: &[u8],
        read: &impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Option<Vec<T>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.send(&Message::new(kind, DUMP, fixed).finish(sequence))?;
        let (mut all, mut done, mut torn, mut failure) = (Vec::new(), false, false, None);
        while !done {
            self.receive(|answer| {
                if answer.sequence != sequence {
                    return;
                }
                torn |= answer.flags & NLM_F_DUMP_INTR != 0;
                match answer.kind {
                    NLMSG_DONE => done = true,
                    NLMSG_ERROR => {
                        done = true;
                        failure = acknowledged(&answer).err();
                    }
                    _ => all.extend(read(answer.payload)),
                }
            })?;
        }
        match failure {
            Some(error) => Err(error),
            None => Ok((!torn).then_some(all)),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // Unconnected netlink sockets talk to the kernel, which takes a message whole or not at all.
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()))?;
        Ok(())
    }

    fn receive(&mut self, mut each: impl FnMut(Answer<'_>)) -> io::Result<()> {
        let (read, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC)
        })?;
        if length > read {
            return Err(io::Error::other(
                "the kernel's answer is longer than expected",
            ));
        }
        answers(&self.buffer[..read]).for_each(&mut each);
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn acknowledge_last(mut messages: Vec<Message>) -> Vec<Message> {
    let last = messages.pop().map(Message::acknowledged);
    messages.extend(last);
    messages
}

fn acknowledged(answer: &Answer<'_>) -> io::Result<()> {
    let code = u32_at(answer.payload, 0).unwrap_or(0).cast_signed();
    if code == 0 {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(code.wrapping_neg()))
}
