//! BuildKit's own protocol, which buildx, bake and compose speak to a `docker` builder.
//!
//! ```text
//!   client ── POST /grpc ────► grpc ─► control   builds, their progress, what is known of them
//!                                   └► gateway   the client's part in a build: it calls the frontend
//!   client ◄─ POST /session ── session           what the client has: files, secrets, agents, credentials
//! ```
//!
//! Both are connections of the API that change to HTTP/2 by `Upgrade: h2c`. Hull's own command line needs neither:
//! [`direct`].

mod builds;
mod by_api;
mod caches;
mod capabilities;
mod client;
mod control;
mod definition;
mod direct;
mod duplex;
mod export;
mod failure;
mod filesync;
mod filters;
mod gateway;
mod grpc;
mod history;
mod keeper;
mod kept;
mod plans;
mod progress;
mod reading;
mod session;
mod uploads;
mod worker;

pub(crate) use by_api::{ApiBuild, ApiStep};
pub(crate) use direct::Answer;
pub(crate) use duplex::Duplex;
pub(crate) use session::{Introduction, SessionError};

use builds::Builds;
use control::ControlService;
use filesync::ContextStore;
use gateway::GatewayService;
use history::History;
use hull_engine::Engine;
use session::Sessions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::service::Routes;
use uploads::Uploads;

/// What all clients of the builder share.
#[derive(Clone, Debug, Default)]
pub(crate) struct BuildKit {
    sessions: Arc<Sessions>,
    builds: Arc<Builds>,
    history: Arc<History>,
    contexts: Arc<OnceLock<Arc<ContextStore>>>,
    asks: Arc<direct::Asks>,
    uploads: Arc<Uploads>,
    /// Counts builds that have no name of their own.
    unnamed: Arc<AtomicU64>,
}

impl BuildKit {
    /// Whether there is a session of that id.
    pub(crate) fn has_session(&self, id: &str) -> bool {
        self.sessions.has(id)
    }

    /// A number that no other build had since the daemon's start.
    pub(crate) fn next_number(&self) -> u64 {
        self.unnamed.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends the build of that name, if there is one.
    pub(crate) fn cancel(&self, name: &str) {
        self.builds.cancel(name);
    }

    /// Contexts that come by requests of their own.
    pub(crate) fn uploads(&self) -> Arc<Uploads> {
        Arc::clone(&self.uploads)
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
    pub(crate) async fn serve_calls<S>(&self, engine: Arc<Engine>, connection: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let gateway = GatewayService::new(Arc::clone(&engine), Arc::clone(&self.builds));
        let control = ControlService::new(engine, self.clone());
        let services = Routes::new(control.server()).add_service(gateway.server());
        grpc::serve(connection, services).await;
    }

    /// Clients' files between builds, as a part of the build cache.
    pub(crate) fn sources(&self, data_root: &Path) -> Box<dyn hull_engine::build::Sources> {
        Box::new(kept::KeptSources::new(self.clone(), data_root))
    }

    /// Where clients' files are between builds: below the data root, found when they are first needed.
    ///
    /// # Errors
    /// What the file system says.
    fn contexts(&self, data_root: &Path) -> io::Result<Arc<ContextStore>> {
        if let Some(contexts) = self.contexts.get() {
            return Ok(Arc::clone(contexts));
        }
        let opened = ContextStore::open(data_root.join("contexts"))?;
        Ok(Arc::clone(self.contexts.get_or_init(|| opened)))
    }
}

#[cfg(test)]
mod tests;
