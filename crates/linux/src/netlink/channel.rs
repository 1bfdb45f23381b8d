//! A socket's conversation with the kernel, whatever netlink protocol it speaks: numbered requests, answers, lists.

use super::message::{Answer, DUMP, Message, answers, u32_at};
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The kernel changed what it was telling while it told it: ask again.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The kernel fills at most 32 KiB at a time for dumps.
const BUFFER: usize = 32 << 10;
const DUMP_ATTEMPTS: usize = 8;

/// A socket with the number of its last request.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Channel {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            sequence: 0,
            buffer: vec![0; BUFFER],
        }
    }

    /// The number of the next request.
    pub(crate) fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends requests. Unconnected netlink sockets talk to the kernel, which takes a message whole or not at all.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()))?;
        Ok(())
    }

    /// Waits for answers, and gives those that came at once.
    pub(crate) fn receive(&mut self, each: impl FnMut(Answer<'_>)) -> io::Result<()> {
        let (read, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC)
        })?;
        if length > read {
            return Err(io::Error::other(
                "the kernel's answer is longer than expected",
            ));
        }
        answers(&self.buffer[..read]).for_each(each);
        Ok(())
    }

    /// Drops answers that nobody waits for.
    pub(crate) fn discard(&mut self) {
        while rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT).is_ok() {
        }
    }

    /// One request with one answer.
    pub(crate) fn ask(
        &mut self,
        message: Message,
        mut read: impl FnMut(&Answer<'_>) -> Option<()>,
    ) -> io::Result<()> {
        let sequence = self.next();
        self.send(&message.finish(sequence))?;
        let mut result = None;
        while result.is_none() {
            self.receive(|answer| {
                if answer.sequence != sequence {
                    return;
                }
                result = Some(match answer.kind {
                    NLMSG_ERROR => acknowledged(&answer),
                    _ => read(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into()),
                });
            })?;
        }
        result.unwrap_or(Ok(()))
    }

    /// Asks for all objects of a kind; those that `read` does not understand are left out. `request`, which
    /// gets the flags that make it a question for all, is made anew when the answer changed under way.
    pub(crate) fn dump<T>(
        &mut self,
        request: impl Fn(u16) -> Message,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.next();
            self.send(&request(DUMP).finish(sequence))?;
            let (mut all, mut torn, mut end) = (Vec::new(), false, None);
            while end.is_none() {
                self.receive(|answer| {
                    if answer.sequence != sequence || end.is_some() {
                        return;
                    }
                    torn |= answer.flags & NLM_F_DUMP_INTR != 0;
                    match answer.kind {
                        NLMSG_DONE | NLMSG_ERROR => end = Some(acknowledged(&answer)),
                        _ => all.extend(read(answer.payload)),
                    }
                })?;
            }
            match end {
                // nf_tables says it so.
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(Err(error)) => return Err(error),
                _ if torn => {}
                _ => return Ok(all),
            }
        }
        Err(io::Error::other("the answer changed while it was read"))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What the kernel says of a request: the number that an error or the end of a list begins with.
pub(crate) fn acknowledged(answer: &Answer<'_>) -> io::Result<()> {
    match u32_at(answer.payload, 0).unwrap_or(0).cast_signed() {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
    }
}
