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
use tokio_rustls::server::TlsStream;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    /// From the API's socket file.
    Unix(UnixStream),
    /// From a `tcp://` listener.
    Tcp(TcpStream),
    /// From a `tcp://` listener with TLS.
    Tls(Box<TlsStream<TcpStream>>),
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

impl ClientInput for tokio::io::ReadHalf<Box<TlsStream<TcpStream>>> {
    fn hung_up(&self) -> bool {
        // TLS has an end of its own for each direction; whether the other one ended too shows when
        // something is written.
        false
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
            Self::Tls(socket) => Pin::new(socket).poll_read(cx, buf),
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
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, buf),
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
            Self::Tls(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // These keep nothing back.
            Self::Unix(_) | Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// What a connection's requests share with the code that owns its socket.
///
/// hyper takes the end of a client's input for the client's own end and drops the request. A client
/// may well send its request (and for attach its whole input) and the end of it before it reads the
/// first byte of the reply. So while a request is worked on, or its reply is on the way, the end is
/// kept from hyper unless the client is really gone.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    working: AtomicBool,
    replying: AtomicBool,
    hijack: Mutex<Option<Hijack>>,
}

/// A reply is on its way while this exists.
#[derive(Debug)]
pub(crate) struct Replying(Arc<Handover>);

impl Drop for Replying {
    fn drop(&mut self) {
        self.0.replying.store(false, Ordering::Release);
    }
}

impl Handover {
    /// A request begins. Called before anything is awaited: hyper looks for the end right after.
    pub(crate) fn begin(&self) {
        self.working.store(true, Ordering::Release);
    }

    /// The request is answered; its reply is on the way as long as the result exists.
    pub(crate) fn reply(self: &Arc<Self>) -> Replying {
        self.replying.store(true, Ordering::Release);
        self.working.store(false, Ordering::Release);
        Replying(Arc::clone(self))
    }

    /// Whether the end of the client's input is to be kept back. On TCP a client that is gone looks
    /// like one that only ended its input, and streams must not go on for nobody.
    fn holds(&self, socket: &Socket) -> bool {
        let working = self.working.load(Ordering::Acquire);
        match socket {
            Socket::Unix(socket) => {
                (working || self.replying.load(Ordering::Acquire)) && !hung_up(socket.as_fd())
            }
            Socket::Tcp(_) | Socket::Tls(_) => working,
        }
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
        if ended && this.handover.holds(&this.socket) {
            // Nobody has to be woken for this: when the request's work or its reply goes on, the
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
