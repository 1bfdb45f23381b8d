//! The server's side of gRPC on a connection that changed to HTTP/2.

use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::service::Routes;

/// How often a client is asked whether it is still there, and how long it may think about it.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(60);
/// Calls of one client at once. A build has a handful.
const MAX_CALLS: u32 = 250;
/// How much a client may send ahead, of one call and of all.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The longest message, bytes: as BuildKit's.
pub(super) const MAX_MESSAGE: usize = 16 << 20;

/// Answers what comes on `connection` until one side ends it.
pub(super) async fn serve<S>(connection: S, services: Routes)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let served = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_CALLS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .serve_connection(TokioIo::new(connection), TowerToHyperService::new(services))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the builder's broke off");
    }
}
