//! The way of calls to a client: HTTP/2 on a connection that the client made.

use super::SessionError;
use futures_util::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::codegen::Service;

/// How often a client is asked whether it is still there, and how long it may think about it. Together about
/// what BuildKit's health check takes.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(30);
/// How much a client may send ahead, of one call and of all.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Where calls go.
#[derive(Clone, Debug)]
pub(crate) struct Channel(SendRequest<Body>);

impl Channel {
    /// Begins to speak HTTP/2 on `connection`. What comes second has to be polled for anything to happen, and
    /// ends with the connection.
    ///
    /// # Errors
    /// When the connection fails at once.
    pub(in crate::buildkit) async fn open<S>(
        connection: S,
    ) -> Result<(Self, impl Future<Output = hyper::Result<()>>), SessionError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(connection))
            .await
            .map_err(SessionError::Connection)?;
        Ok((Self(sender), connection))
    }

    /// What calls name as their server: BuildKit's daemons say so too.
    pub(in crate::buildkit) fn origin() -> Uri {
        Uri::from_static("http://localhost")
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
