//! Sending the master of a pseudo terminal to who asked for it (`--console-socket`).

use crate::error::{Error, Step as _};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, sendmsg, socket_with,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::path::Path;

/// Connects to a socket by path.
pub(crate) fn open(path: &Path) -> Result<OwnedFd, Error> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .step(|| "make a socket")?;
    let address = SocketAddrUnix::new(path).step(|| format!("dial unix {}", path.display()))?;
    connect(&socket, &address).step(|| format!("dial unix {}: connect", path.display()))?;
    Ok(socket)
}

/// Sends a descriptor with its name, as runc does.
pub(crate) fn send(socket: &OwnedFd, file: BorrowedFd<'_>, name: &str) -> Result<(), Error> {
    let files = [file];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(
        socket.as_fd(),
        &[IoSlice::new(name.as_bytes())],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .step(|| "send the console")?;
    Ok(())
}
