//! The client of such a build, as the builder sees it.

use super::super::client::Transfer;
use super::super::export::{Outgoing, Outlet};
use super::super::filesync::{ContextStore, LocalRequest, ReceivedFiles, receive, source_key};
use super::asks::{Answer, Asking, wrong};
use super::files::Connection;
use bytes::Bytes;
use hull_api::build::{Files, Kept, Login as SentLogin, Request, Wanted};
use hull_engine::Digest;
use hull_engine::build::graph::{Differ, LocalSource};
use hull_engine::build::world::{
    Client, Entitlement, Job, LocalFiles, Login, WorldError, WorldResult,
};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
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
}

impl DirectClient {
    pub(super) fn new(
        asking: Asking,
        contexts: Arc<ContextStore>,
        (request, host_network): (&Request, bool),
    ) -> Self {
        Self {
            host_network,
            asking,
            contexts,
            shared_key: request.shared_key.clone(),
            keeps_failed: request.keep_failed,
            kept: Mutex::default(),
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
    fn directory(&self, _: usize, _: &Path) -> Result<(), Status> {
        Err(Status::internal("directories are sent as archives"))
    }

    fn file(
        &self,
        place: usize,
        _: &BTreeMap<String, String>,
    ) -> Result<Box<dyn Outgoing>, Status> {
        let answer = self.ask(Wanted::Take(place));
        match answer.map_err(|error| Status::unknown(error.full_message()))? {
            Answer::Taker(sender) => Ok(Box::new(Taken {
                asking: self.asking.clone(),
                sender: Some(sender),
            })),
            other => Err(Status::unknown(wrong(&other).full_message())),
        }
    }
}

/// A file on its way to the client.
struct Taken {
    asking: Asking,
    /// `None` once it is whole.
    sender: Option<mpsc::Sender<io::Result<Bytes>>>,
}

impl io::Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client takes no more");
        let sender = self.sender.as_ref().ok_or_else(gone)?;
        let length = bytes.len().min(1 << 20);
        let piece = Bytes::copy_from_slice(&bytes[..length]);
        let token: &CancellationToken = &self.asking.token;
        let sent = self.asking.runtime.block_on(async {
            tokio::select! {
                () = token.cancelled() => false,
                sent = sender.send(Ok(piece)) => sent.is_ok(),
            }
        });
        if sent { Ok(length) } else { Err(gone()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outgoing for Taken {
    fn finish(mut self: Box<Self>) -> Result<(), Status> {
        let Some(sender) = self.sender.take() else {
            return Ok(());
        };
        match sender.is_closed() {
            false => Ok(()),
            true => Err(Status::unknown("the client takes no more")),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // An end that comes too early must not look like one.
        if let Some(sender) = self.sender.take() {
            self.asking.runtime.spawn(async move {
                let broken = io::Error::other("the build broke off");
                let _ = sender.send(Err(broken)).await;
            });
        }
    }
}
