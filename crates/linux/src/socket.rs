//! Unix sockets: descriptors sent along, and addresses of any length.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// Sends one descriptor with a non-empty message over a stream socket: unix(7), `SCM_RIGHTS`.
///
/// # Errors
/// What sendmsg(2) gives.
pub fn send_descriptor(
    socket: impl AsFd,
    message: &[u8],
    descriptor: BorrowedFd<'_>,
) -> io::Result<()> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(message)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one descriptor, closed on exec, and throws the message away.
///
/// # Errors
/// What recvmsg(2) gives, and `UnexpectedEof` for a message without a descriptor.
pub fn receive_descriptor(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut message = [0_u8; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut message)];
    rustix::net::recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Receives what there is, at most as many bytes as fit, and the descriptor that came with them, closed on
/// exec. 0 bytes are the end. The kernel never joins bytes that came with different descriptors.
///
/// # Errors
/// What recvmsg(2) gives.
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            socket.as_fd(),
            &mut slices,
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received.bytes, descriptor))
}

/// The path of `name` in `directory` through this process's descriptor: short enough for an address
/// whatever the directory's own path is (unix(7) allows 108 bytes).
#[must_use]
pub fn short_path(directory: BorrowedFd<'_>, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).into()
}

/// Listens at `name` in `directory`.
///
/// # Errors
/// What bind(2) and listen(2) give.
pub fn listen_at(directory: BorrowedFd<'_>, name: &str) -> io::Result<UnixListener> {
    UnixListener::bind(short_path(directory, name))
}

/// Connects to `name` in `directory`. `patience` is how long this may take, and each reading and writing after it:
/// whoever listens there may be stopped, and as many be waiting as it lets wait.
///
/// # Errors
/// What connect(2) gives; `WouldBlock` when it took too long.
pub fn connect_at(
    directory: BorrowedFd<'_>,
    name: &str,
    patience: Option<Duration>,
) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    use rustix::net::{connect, socket_with};
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let stream = UnixStream::from(socket);
    // Also the time that connecting may take, unix(7).
    stream.set_write_timeout(patience)?;
    stream.set_read_timeout(patience)?;
    let address = SocketAddrUnix::new(short_path(directory, name))?;
    rustix::io::retry_on_intr(|| connect(&stream, &address))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_descriptor_travels() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send_descriptor(&here, b"x", writer.as_fd()).unwrap();
        drop(writer);
        let received = receive_descriptor(&there).unwrap();
        io::PipeWriter::from(received)
            .write_all(b"through")
            .unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        (&here).write_all(b"no descriptor").unwrap();
        assert_eq!(
            receive_descriptor(&there).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn who_does_not_listen_is_waited_for_no_longer_than_patience() {
        let dir = tempfile::tempdir().unwrap();
        let directory = std::fs::File::open(dir.path()).unwrap();
        let listener = listen_at(directory.as_fd(), "s").unwrap();
        // Fewer than we may have descriptors.
        rustix::net::listen(&listener, 1).unwrap();
        let patience = Some(Duration::from_millis(1));
        let mut waiting = Vec::new();
        // Nobody accepts: one after the other waits, until no more may.
        let refused = loop {
            match connect_at(directory.as_fd(), "s", patience) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let silent = (&waiting[0]).read(&mut [0; 1]).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn long_paths_are_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let directory = std::fs::File::open(&deep).unwrap();
        let listener = listen_at(directory.as_fd(), "s").unwrap();
        let mut client = connect_at(directory.as_fd(), "s", None).unwrap();
        client.write_all(b"x").unwrap();
        assert_eq!(listener.accept().unwrap().0.read(&mut [0; 2]).unwrap(), 1);
    }
}
