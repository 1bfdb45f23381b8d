//! Requests after which the connection belongs to a container's streams.

use super::{Client, Error, Payload, Target};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use tokio::net::{TcpStream, UnixStream};

/// A connection after its upgrade.
#[derive(Debug)]
pub struct Hijacked {
    /// What arrived together with the reply's head; comes before what the socket has.
    pub early: Bytes,
    /// The connection, in blocking mode.
    pub socket: Socket,
    /// Whether the daemon said that its output is framed; `None` when it did not say.
    pub multiplexed: Option<bool>,
}

/// A connected socket in blocking mode: a stream is copied by a thread per direction, which is both
/// the simplest and the quickest way, and an end of input is passed on by closing one half.
#[derive(Debug)]
pub enum Socket {
    /// To a daemon on this machine.
    Unix(std::os::unix::net::UnixStream),
    /// To a daemon elsewhere.
    Tcp(std::net::TcpStream),
}

impl Socket {
    /// Another handle of the same connection.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
        }
    }

    /// Closes one half or both; `Shutdown::Write` tells the container that its input has ended.
    ///
    /// # Errors
    /// When the other side is gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.shutdown(how),
            Self::Tcp(socket) => socket.shutdown(how),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.read(buffer),
            Self::Tcp(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.write(bytes),
            Self::Tcp(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Client {
    /// Posts on a connection of its own and takes that over.
    pub(crate) async fn hijack(
        &self,
        target: &Target,
        payload: Payload,
    ) -> Result<Hijacked, Error> {
        loop {
            match self.try_hijack(target, &payload).await {
                Err(error) if self.step_back(&error) => {}
                result => return result,
            }
        }
    }

    async fn try_hijack(&self, target: &Target, payload: &Payload) -> Result<Hijacked, Error> {
        let path = self.path(target);
        let failed = |source| Error::Http {
            method: Method::POST,
            path: path.clone(),
            source,
        };
        let mut request = self.request(&Method::POST, &path, payload)?;
        let headers = request.headers_mut();
        headers.insert(
            header::CONNECTION,
            header::HeaderValue::from_static("Upgrade"),
        );
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("tcp"));
        if !payload.json {
            headers.insert(
                header::CONTENT_TYPE,
                header::HeaderValue::from_static("text/plain"),
            );
        }
        let mut sender = self.connect(&Method::POST, &path).await?;
        let response = sender.send_request(request).await.map_err(failed)?;
        if response.status().as_u16() >= 400 {
            return Err(self.daemon_error(response).await);
        }
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::NotUpgraded(response.status().as_u16()));
        }
        let multiplexed = multiplexed(response.headers());
        let upgraded = hyper::upgrade::on(response).await.map_err(failed)?;
        let (early, socket) = self.take_socket(upgraded)?;
        Ok(Hijacked {
            early,
            socket,
            multiplexed,
        })
    }

    fn take_socket(&self, upgraded: hyper::upgrade::Upgraded) -> Result<(Bytes, Socket), Error> {
        let io_error = |source| Error::Connect {
            endpoint: self.endpoint.clone(),
            source,
            start: None,
        };
        // The connection was made by `connect`, so it is one of these two.
        let upgraded = match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(parts) => {
                let socket = parts.io.into_inner().into_std().map_err(io_error)?;
                socket.set_nonblocking(false).map_err(io_error)?;
                return Ok((parts.read_buf, Socket::Unix(socket)));
            }
            Err(upgraded) => upgraded,
        };
        let parts = upgraded
            .downcast::<TokioIo<TcpStream>>()
            .map_err(|_| Error::UnexpectedEnd)?;
        let socket = parts.io.into_inner().into_std().map_err(io_error)?;
        socket.set_nonblocking(false).map_err(io_error)?;
        Ok((parts.read_buf, Socket::Tcp(socket)))
    }
}

/// What the content type of a stream says about its framing (API 1.42 and later).
pub(super) fn multiplexed(headers: &http::HeaderMap) -> Option<bool> {
    match headers.get(header::CONTENT_TYPE)?.as_bytes() {
        b"application/vnd.docker.multiplexed-stream" => Some(true),
        _ => None,
    }
}
