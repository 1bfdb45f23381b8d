//! BuildKit's own protocol, which buildx, bake and compose speak to a `docker` builder.
//!
//! ```text
//!   client ── POST /grpc ────► grpc ─► control   builds, their progress, what is known of them
//!                                   └► gateway   the client's part in a build: it calls the frontend
//!   client ◄─ POST /session ── session           what the client has: files, secrets, agents, credentials
//! ```
//!
//! Both are connections of the API that change to HTTP/2 by `Upgrade: h2c`.

mod control;
mod duplex;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "builds use it, which come next")
)]
mod filesync;
mod grpc;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "builds use it, which come next")
)]
mod session;
mod worker;

pub(crate) use duplex::Duplex;
pub(crate) use session::{Introduction, SessionError};

use control::ControlService;
use session::Sessions;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// What all clients of the builder share.
#[derive(Clone, Debug, Default)]
pub(crate) struct BuildKit {
    sessions: Arc<Sessions>,
}

impl BuildKit {
    /// Whether there is a session of that id.
    pub(crate) fn has_session(&self, id: &str) -> bool {
        self.sessions.has(id)
    }

    /// Keeps a client's session until one side ends it.
    ///
    /// # Errors
    /// [`SessionError`]
    pub(crate) async fn serve_session<S>(
        &self,
        introduction: Introduction,
        connection: S,
    ) -> Result<(), SessionError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.sessions.serve(introduction, connection).await
    }

    /// Answers a client's calls until one side ends the connection.
    pub(crate) async fn serve_calls<S>(&self, connection: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let control = ControlService::new(Arc::clone(&self.sessions));
        grpc::serve(connection, control.services()).await;
    }
}
