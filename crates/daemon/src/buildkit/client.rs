//! A build's client, as the builder sees it: what it is asked for comes over its session.

use super::caches::Imports;
use super::filesync::{ContextStore, LocalRequest, ReceivedFiles};
use super::keeper::{Keeper, Store};
use super::session::{Caller, ContentClient, SESSION_WAIT, SessionError, Sessions};
use hull_engine::Digest;
use hull_engine::build::blobs::Blobs;
use hull_engine::build::cache::Entry;
use hull_engine::build::graph::{Differ, LocalSource, OciLayoutSource};
use hull_engine::build::portable::PortableResult;
use hull_engine::build::progress::Status;
use hull_engine::build::world::{
    Client, Entitlement, Job, LocalEntry, LocalFiles, Login, Tree, WorldError, WorldResult,
};
use hull_engine::image::Descriptor;
use jiff::Timestamp;
use std::fmt;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How often the progress of a transfer is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// The client of one build.
#[derive(Clone, Debug)]
pub(super) struct SessionClient {
    pub(super) sessions: Arc<Sessions>,
    pub(super) contexts: Arc<ContextStore>,
    /// The id of the build's own session.
    pub(super) session: String,
    /// Its context, where that did not come over the session.
    pub(super) upload: Option<Arc<dyn LocalFiles>>,
    pub(super) runtime: Handle,
    pub(super) cancel: CancellationToken,
    /// It said `--allow network.host`, or asked for the host's network itself.
    pub(super) host_network: bool,
    pub(super) imports: Arc<Imports>,
}

impl SessionClient {
    fn caller(&self, session: &str, cancel: CancellationToken) -> WorldResult<Caller> {
        let id = if session.is_empty() {
            &self.session
        } else {
            session
        };
        let found = self.runtime.block_on(async {
            tokio::select! {
                () = cancel.cancelled() => Err(WorldError::Cancelled),
                found = self.sessions.get(id, SESSION_WAIT) => Ok(found),
            }
        })?;
        let session =
            found.ok_or_else(|| WorldError::NotFound(format!("no active session for {id}")))?;
        Ok(Caller::new(session, self.runtime.clone(), cancel))
    }

    fn own(&self) -> WorldResult<Caller> {
        self.caller("", self.cancel.clone())
    }

    /// Whether there is nobody to ask: the client sent a context, and no more.
    fn is_alone(&self) -> bool {
        self.session.is_empty() && self.upload.is_some()
    }
}

pub(super) fn failed(error: SessionError) -> WorldError {
    match error {
        SessionError::Cancelled => WorldError::Cancelled,
        error if error.is_not_found() => WorldError::NotFound(error.to_string()),
        error => WorldError::other(error.to_string()),
    }
}

impl Client for SessionClient {
    // As dockerd's default: nobody gets `security.insecure`.
    fn allows(&self, entitlement: Entitlement) -> bool {
        entitlement == Entitlement::NetworkHost && self.host_network
    }

    fn local(&self, source: &LocalSource, job: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
        if let Some(upload) = &self.upload
            && matches!(source.name.as_str(), "context" | "dockerfile")
        {
            return Ok(Arc::clone(upload));
        }
        let cancel = self.cancel.child_token();
        let stop = cancel.clone();
        let _stops = job.cancel.on_cancel(move || stop.cancel());
        let caller = self.caller(&source.session, cancel)?;
        let request = LocalRequest {
            name: source.name.clone(),
            include: source.include.clone(),
            exclude: source.exclude.clone(),
            follow: source.follow.clone(),
            shared_key_hint: source.shared_key_hint.clone(),
            afresh: source.differ == Differ::None,
        };
        let mut transfer = Transfer::begin(&source.name, job);
        let files = caller
            .receive(&request, &self.contexts, &mut |bytes| transfer.tell(bytes))
            .map_err(failed)?;
        transfer.end();
        Ok(local_files(files))
    }

    fn secret(&self, id: &str) -> WorldResult<Option<Vec<u8>>> {
        if self.is_alone() {
            return Ok(None);
        }
        self.own()?.secret(id).map_err(failed)
    }

    fn ssh(&self, id: &str, listener: UnixListener) -> WorldResult<Option<Box<dyn Send>>> {
        if self.is_alone() {
            return Ok(None);
        }
        let guard = self.own()?.forward_agent(id, listener).map_err(failed)?;
        Ok(guard.map(|guard| -> Box<dyn Send> { Box::new(guard) }))
    }

    fn credentials(&self, host: &str) -> WorldResult<Option<Login>> {
        if self.is_alone() {
            return Ok(None);
        }
        let found = self.own()?.credentials(host).map_err(failed)?;
        Ok(found.map(|found| match found.username.as_str() {
            // So clients tell identity tokens.
            "" => Login::Identity(found.secret),
            _ => Login::Password {
                username: found.username,
                password: found.secret,
            },
        }))
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
        let caller = self.caller(&source.session, self.cancel.clone())?;
        // So BuildKit's clients tell layouts from caches among their stores.
        let id = format!("oci:{}", source.store);
        Ok(Arc::new(caller.content(&id).map_err(failed)?))
    }
}

impl Keeper for SessionClient {
    fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn store(&self, id: &str) -> WorldResult<Box<dyn Store>> {
        let content = self.own()?.content(id).map_err(failed)?;
        Ok(Box::new(content))
    }
}

impl Blobs for ContentClient {
    fn read(&self, digest: &Digest) -> WorldResult<Box<dyn Read + Send>> {
        Ok(Box::new(Self::read(self, digest).map_err(failed)?))
    }
}

impl Store for ContentClient {
    fn write(&self, blob: &Descriptor, bytes: &mut dyn Read) -> WorldResult<()> {
        Self::write(self, blob, bytes).map_err(failed)
    }
}

/// Files that came, as the builder sees them.
pub(super) fn local_files(files: ReceivedFiles) -> Arc<dyn LocalFiles> {
    Arc::new(Received(files))
}

/// Files that came from a client.
struct Received(ReceivedFiles);

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Received").field(&self.0.path()).finish()
    }
}

impl LocalFiles for Received {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn digest(&self, path: &Path) -> Option<Digest> {
        self.0.digest(path).as_ref().map(Digest::from_sha256)
    }

    fn each_below(
        &self,
        directory: &Path,
        tell: &mut dyn FnMut(LocalEntry<'_>) -> WorldResult<()>,
    ) -> WorldResult<bool> {
        let Some(entries) = self.0.below(directory) else {
            return Ok(false);
        };
        entries.into_iter().try_for_each(tell)?;
        Ok(true)
    }
}

/// What is told of a transfer.
pub(super) struct Transfer<'a> {
    job: &'a Job<'a>,
    status: Status,
    told: Instant,
}

impl<'a> Transfer<'a> {
    pub(super) fn begin(name: &str, job: &'a Job<'a>) -> Self {
        let now = Timestamp::now();
        let status = Status {
            vertex: job.vertex.clone(),
            id: format!("transferring {name}:"),
            name: String::new(),
            current: 0,
            total: 0,
            at: now,
            started: Some(now),
            completed: None,
        };
        job.status(status.clone());
        Self {
            job,
            status,
            told: Instant::now(),
        }
    }

    pub(super) fn tell(&mut self, bytes: u64) {
        self.status.current = bytes;
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        self.status.at = Timestamp::now();
        self.job.status(self.status.clone());
    }

    pub(super) fn end(mut self) {
        self.status.at = Timestamp::now();
        self.status.completed = Some(self.status.at);
        self.job.status(self.status);
    }
}
