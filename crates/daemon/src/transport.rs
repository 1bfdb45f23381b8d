//! One client's connection: a Unix or TCP socket, shared between hyper and whoever hijacks it.

use crate::hijack::Hijack;
use crate::target::FirstLine;
use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    /// From the API's socket file.
    Unix(UnixStream),
    /// From a `tcp://` listener.
    Tcp(TcpStream),
}

/// The receiving half of a client's socket.
pub(crate) trait ClientInput: AsyncRead + Unpin + Send {
    /// Whether the peer has closed both directions: poll(2), `POLLHUP`. A peer that only ended its
    /// own sending (shutdown(2), `SHUT_WR`) is still there and reads; on TCP the two look the same
    /// until something is written, and this answers `false`.
    fn hung_up(&self) -> bool;
}

impl ClientInput for tokio::net::unix::ReadHalf<'_> {
    fn hung_up(&self) -> bool {
        let socket: &UnixStream = self.as_ref();
        hung_up(socket.as_fd())
    }
}

impl ClientInput for tokio::net::tcp::ReadHalf<'_> {
    fn hung_up(&self) -> bool {
        let socket: &TcpStream = self.as_ref();
        hung_up(socket.as_fd())
    }
}

fn hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut poll = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut poll, Some(&now)).is_ok()
        && poll[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR)
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// What a connection's requests share with the code that owns its socket.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    hold_end: AtomicBool,
    hijack: Mutex<Option<Hijack>>,
}

impl Handover {
    /// While `hold` is set the client's end of input is kept from hyper, which would otherwise take
    /// it for a lost client and drop the request. Attach and exec need it: a client may send its
    /// request, its whole input and the end of it before it reads the first byte of the reply.
    pub(crate) fn hold_end(&self, hold: bool) {
        self.hold_end.store(hold, Ordering::Release);
    }

    /// Leaves word that the connection belongs to `hijack` from now on.
    pub(crate) fn leave(&self, hijack: Hijack) {
        *self.hijack.lock().unwrap_or_else(PoisonError::into_inner) = Some(hijack);
    }

    /// What was left by [`Handover::leave`].
    pub(crate) fn take(&self) -> Option<Hijack> {
        self.hijack
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// The socket as hyper sees it.
#[derive(Debug)]
pub(crate) struct Transport {
    first_line: FirstLine,
    socket: Socket,
    handover: Arc<Handover>,
}

impl Transport {
    /// Wraps a connected socket.
    pub(crate) fn new(socket: Socket, handover: Arc<Handover>) -> Self {
        Self {
            first_line: FirstLine::new(),
            socket,
            handover,
        }
    }

    /// The socket itself, and what was read from it and hyper has not asked for.
    pub(crate) fn into_parts(mut self) -> (Socket, Bytes) {
        let rest = self.first_line.take(usize::MAX).unwrap_or_default();
        (self.socket, rest)
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Some(bytes) = this.first_line.take(buf.remaining()) {
                buf.put_slice(&bytes);
                // An empty piece would be taken for the end.
                if !bytes.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            if matches!(this.first_line, FirstLine::Done) {
                break;
            }
            let mut piece = [0; 4096];
            let mut piece = ReadBuf::new(&mut piece);
            std::task::ready!(Pin::new(&mut this.socket).poll_read(cx, &mut piece))?;
            this.first_line.feed(piece.filled());
        }
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        let ended = buf.filled().len() == before;
        if ended && this.handover.hold_end.load(Ordering::Acquire) {
            // Nobody has to be woken for this: the request's own work goes on, and when it ends the
            // connection is polled again.
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
