//! The client of such a build, as the builder sees it.

use super::super::caches::Imports;
use super::super::client::Transfer;
use super::super::export::{Outgoing, Outlet};
use super::super::filesync::{
    ContextStore, LocalRequest, ReceivedFiles, Root, receive, source_key,
};
use super::super::keeper::{Keeper, Store};
use super::asks::{Answer, Asking, wrong};
use super::files::Connection;
use super::store::{DirectStore, Taken};
use hull_api::build::{Files, Kept, Login as SentLogin, Request, Wanted};
use hull_engine::Digest;
use hull_engine::build::blobs::Blobs;
use hull_engine::build::cache::Entry;
use hull_engine::build::graph::{Differ, LocalSource, OciLayoutSource};
use hull_engine::build::portable::PortableResult;
use hull_engine::build::world::{
    Client, Entitlement, Job, LocalFiles, Login, Tree, WorldError, WorldResult,
};
use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio_util::sync::DropGuard;
use tonic::Status;

/// The longest secret, bytes: BuildKit's limit.
const MAX_SECRET: usize = 500 << 10;
/// How many processes may talk to an agent at once.
const MAX_AGENT_CONNECTIONS: usize = 64;

/// The client of one build.
pub(super) struct DirectClient {
    asking: Asking,
    contexts: Arc<ContextStore>,
    shared_key: String,
    /// Whether steps may have the host's network.
    host_network: bool,
    keeps_failed: bool,
    kept: Mutex<Option<Kept>>,
    imports: Imports,
}

impl DirectClient {
    pub(super) fn new(
        asking: Asking,
        contexts: Arc<ContextStore>,
        (request, host_network): (&Request, bool),
        imports: Imports,
    ) -> Self {
        Self {
            host_network,
            asking,
            contexts,
            shared_key: request.shared_key.clone(),
            keeps_failed: request.keep_failed,
            kept: Mutex::default(),
            imports,
        }
    }

    /// What was kept of a step that failed.
    pub(super) fn kept(&self) -> Option<Kept> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn ask(&self, wanted: Wanted) -> WorldResult<Answer> {
        self.asking.ask_blocking(wanted, &self.asking.token)
    }
}

impl Client for DirectClient {
    fn local(&self, source: &LocalSource, job: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
        let stop = self.asking.token.child_token();
        let stopped = stop.clone();
        let _stops = job.cancel.on_cancel(move || stopped.cancel());
        let wanted = Wanted::Files(Files {
            name: source.name.clone(),
            include: source.include.clone(),
            exclude: source.exclude.clone(),
            follow: source.follow.clone(),
        });
        let connection = match self.asking.ask_blocking(wanted, &stop)? {
            Answer::Connection(connection) => connection,
            Answer::Nothing => {
                let text = format!("the client has no directory {:?}", source.name);
                return Err(WorldError::NotFound(text));
            }
            other => return Err(wrong(&other)),
        };
        let request = LocalRequest {
            name: source.name.clone(),
            shared_key_hint: source.shared_key_hint.clone(),
            afresh: source.differ == Differ::None,
            ..LocalRequest::default()
        };
        let key = source_key(&request, &self.shared_key);
        let mut link = Connection::new(connection, self.asking.runtime.clone(), stop);
        let mut transfer = Transfer::begin(&source.name, job);
        let mut progress = |bytes| transfer.tell(bytes);
        let received = receive(
            (&mut link, key.as_deref()),
            &request,
            &self.contexts,
            &mut progress,
        );
        let files: ReceivedFiles = received.map_err(super::super::client::failed)?;
        transfer.end();
        Ok(super::super::client::local_files(files))
    }

    fn secret(&self, id: &str) -> WorldResult<Option<Vec<u8>>> {
        match self.ask(Wanted::Secret(id.to_owned()))? {
            Answer::Nothing => Ok(None),
            Answer::Bytes(bytes) if bytes.len() <= MAX_SECRET => Ok(Some(bytes.to_vec())),
            Answer::Bytes(_) => Err(WorldError::Invalid(format!(
                "secret {id} is longer than {MAX_SECRET} bytes"
            ))),
            other => Err(wrong(&other)),
        }
    }

    fn ssh(&self, id: &str, listener: UnixListener) -> WorldResult<Option<Box<dyn Send>>> {
        match self.ask(Wanted::Agent(id.to_owned()))? {
            Answer::Nothing => return Ok(None),
            Answer::Bytes(_) => {}
            other => return Err(wrong(&other)),
        }
        let failed = |error| WorldError::caused("listen for an agent's connections", error);
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = {
            let _runtime = self.asking.runtime.enter();
            tokio::net::UnixListener::from_std(listener).map_err(failed)?
        };
        let stop = self.asking.token.child_token();
        let (asking, id, stopped) = (self.asking.clone(), id.to_owned(), stop.clone());
        self.asking.runtime.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = accept(listener, asking, id) => {}
            }
        });
        let guard: DropGuard = stop.drop_guard();
        Ok(Some(Box::new(guard)))
    }

    fn credentials(&self, host: &str) -> WorldResult<Option<Login>> {
        let bytes = match self.ask(Wanted::Login(host.to_owned()))? {
            Answer::Nothing => return Ok(None),
            Answer::Bytes(bytes) => bytes,
            other => return Err(wrong(&other)),
        };
        let login: SentLogin = hull_api::json::from_slice(&bytes)
            .map_err(|error| WorldError::caused("read a client's credentials", error))?;
        Ok(Some(match login {
            SentLogin {
                registry_token: true,
                secret,
                ..
            } => Login::Registry(secret),
            SentLogin {
                username, secret, ..
            } if username.is_empty() => Login::Identity(secret),
            SentLogin {
                username, secret, ..
            } => Login::Password {
                username,
                password: secret,
            },
        }))
    }

    fn allows(&self, entitlement: Entitlement) -> bool {
        entitlement == Entitlement::NetworkHost && self.host_network
    }

    fn elsewhere(&self, key: &Digest, job: &Job<'_>) -> Option<PortableResult> {
        self.imports.find(self, key, job)
    }

    fn bring(&self, result: &PortableResult, job: &Job<'_>) -> WorldResult<Entry> {
        self.imports.bring(self, result, job)
    }

    fn mount_elsewhere(&self, name: &str, job: &Job<'_>) -> WorldResult<Option<Tree>> {
        self.imports.mount(self, name, job)
    }

    fn layout(&self, source: &OciLayoutSource, _: &Job<'_>) -> WorldResult<Arc<dyn Blobs>> {
        Ok(Arc::new(DirectStore::new(&self.asking, &source.store)))
    }

    fn keeps_failed(&self) -> bool {
        self.keeps_failed
    }

    fn kept_failed(&self, image: &Digest) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Kept {
            image: image.to_string(),
        });
    }
}

impl Keeper for DirectClient {
    fn runtime(&self) -> &Handle {
        &self.asking.runtime
    }

    fn store(&self, id: &str) -> WorldResult<Box<dyn Store>> {
        Ok(Box::new(DirectStore::new(&self.asking, id)))
    }
}

/// Takes connections of processes to an agent, and drops them all when it is dropped.
async fn accept(listener: tokio::net::UnixListener, asking: Asking, id: String) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let full = connections.len() >= MAX_AGENT_CONNECTIONS;
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((mut process, _)) => {
                    let (asking, id) = (asking.clone(), id.clone());
                    connections.spawn(async move {
                        let asked = asking.ask(Wanted::AgentConnection(id)).await;
                        if let Ok(Answer::Connection(mut agent)) = asked {
                            // Either end may break it off.
                            let _ = tokio::io::copy_bidirectional(&mut process, &mut agent).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept an agent's connection");
                    return;
                }
            },
        }
    }
}

impl Outlet for DirectClient {
    fn directory(&self, _: usize, _: &[Root]) -> Result<(), Status> {
        Err(Status::internal("directories are sent as archives"))
    }

    fn file(
        &self,
        place: usize,
        _: &BTreeMap<String, String>,
    ) -> Result<Box<dyn Outgoing>, Status> {
        let answer = self.ask(Wanted::Take(place));
        match answer.map_err(|error| Status::unknown(error.full_message()))? {
            Answer::Taker(sender) => Ok(Box::new(Taken::new(&self.asking, sender))),
            other => Err(Status::unknown(wrong(&other).full_message())),
        }
    }
}
