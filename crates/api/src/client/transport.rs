//! Connections: made when needed, kept while idle.

use super::{Client, Endpoint, Error, Socket, lock};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::sync::Mutex;
use std::{fmt, io};
use tokio::net::{TcpStream, UnixStream};

/// Connections whose last reply may still be on its way; ready ones are used again.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<SendRequest<Full<Bytes>>>>);

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Idle").finish_non_exhaustive()
    }
}

impl Idle {
    /// A connection that can take a request now.
    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = lock(&self.0);
        idle.retain(|sender| !sender.is_closed());
        let at = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(at))
    }

    /// Whether there are connections but none is ready.
    fn is_waiting(&self) -> bool {
        let idle = lock(&self.0);
        !idle.is_empty() && !idle.iter().any(SendRequest::is_ready)
    }

    fn put(&self, sender: SendRequest<Full<Bytes>>) {
        lock(&self.0).push(sender);
    }
}

impl Client {
    /// Sends one request and waits for the head of the reply.
    pub(super) async fn round_trip(
        &self,
        request: Request<Full<Bytes>>,
        method: &Method,
        path: &str,
    ) -> Result<Response<Incoming>, Error> {
        let failed = |source| Error::Http {
            method: method.clone(),
            path: path.to_owned(),
            source,
        };
        let mut request = request;
        if self.idle.is_waiting() {
            // The last reply is read, but its connection's driver has not been told yet.
            tokio::task::yield_now().await;
        }
        if let Some(mut sender) = self.idle.take() {
            // The daemon may have closed the connection in the meantime; hyper then gives the
            // request back unsent.
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.idle.put(sender);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed(error.into_error())),
                },
            }
        }
        let mut sender = self.connect(method, path).await?;
        let response = sender.send_request(request).await.map_err(failed)?;
        self.idle.put(sender);
        Ok(response)
    }

    /// Whether a daemon was started because of this error.
    fn start_daemon(&self, error: &io::Error) -> bool {
        if !matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        ) {
            return false;
        }
        let Some(starter) = lock(&self.starter).take() else {
            return false;
        };
        match starter() {
            Ok(()) => true,
            Err(error) => {
                *lock(&self.start_error) = Some(error);
                false
            }
        }
    }

    /// A connection for whoever speaks HTTP himself.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn dial(&self) -> Result<Socket, Error> {
        let unreachable = |source| Error::Connect {
            endpoint: self.endpoint.clone(),
            source,
            start: lock(&self.start_error).take(),
        };
        if let Some(dial) = &self.dialer {
            return dial().map(Socket::Unix).map_err(unreachable);
        }
        match &self.endpoint {
            Endpoint::Unix(socket) => {
                let connect = std::os::unix::net::UnixStream::connect;
                let stream = match connect(socket) {
                    Err(error) if self.start_daemon(&error) => connect(socket),
                    result => result,
                };
                stream.map(Socket::Unix).map_err(unreachable)
            }
            Endpoint::Tcp(authority) => {
                let stream = std::net::TcpStream::connect(authority).map_err(unreachable)?;
                Ok(Socket::Tcp(stream))
            }
            Endpoint::Ssh(_) => Err(unreachable(io::Error::from(io::ErrorKind::Unsupported))),
        }
    }

    /// A new connection with its driver running.
    pub(super) async fn connect<B>(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<SendRequest<B>, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let unreachable = |source| Error::Connect {
            endpoint: self.endpoint.clone(),
            source,
            start: lock(&self.start_error).take(),
        };
        let failed = |source| Error::Http {
            method: method.clone(),
            path: path.to_owned(),
            source,
        };
        if let Some(dial) = &self.dialer {
            let stream = dial().and_then(|stream| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            });
            let stream = TokioIo::new(stream.map_err(unreachable)?);
            let (sender, connection) = handshake(stream).await.map_err(failed)?;
            tokio::spawn(connection.with_upgrades());
            return Ok(sender);
        }
        match &self.endpoint {
            Endpoint::Unix(socket) => {
                let stream = match UnixStream::connect(socket).await {
                    Err(error) if self.start_daemon(&error) => UnixStream::connect(socket).await,
                    result => result,
                }
                .map_err(unreachable)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
                // An error of the driver also reaches whoever waits for the reply.
                tokio::spawn(connection.with_upgrades());
                Ok(sender)
            }
            Endpoint::Tcp(authority) => {
                let stream = TcpStream::connect(authority).await.map_err(unreachable)?;
                // Keystrokes must not wait for more.
                stream.set_nodelay(true).map_err(unreachable)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
                tokio::spawn(connection.with_upgrades());
                Ok(sender)
            }
            Endpoint::Ssh(_) => Err(unreachable(io::Error::from(io::ErrorKind::Unsupported))),
        }
    }
}
