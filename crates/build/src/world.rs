//! What the builder asks of the world. The engine implements [`World`] (images, steps, files); who
//! serves the build's client implements [`Client`] (its files, secrets, agents, credentials). All of it
//! blocks and is called from several threads at once.

mod cancel;
mod local;

pub use cancel::{Cancel, OnCancel};
pub use local::{Directory, LocalEntry, LocalFiles};

use crate::blobs::Blobs;
use crate::cache::Entry;
use crate::graph::{ImageSource, LocalSource, OciLayoutSource, Source, Vertex};
use crate::portable::PortableResult;
use crate::progress::{Status, Stream, Watch};
use hull_spec::{Digest, Platform};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

/// Why something of the world failed. The text is what the user is shown.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The build was cancelled.
    #[error("context canceled")]
    Cancelled,
    /// A process ended with a code that is no success.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Exit {
        /// Its words, joined.
        command: String,
        /// How it ended.
        code: i32,
    },
    /// What the vertex names is not there.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// What Hull has not (yet).
    #[error("{0}")]
    Unsupported(String),
    /// What is there is no regular file.
    #[error("{0}")]
    NotAFile(String),
    /// Anything else.
    #[error("{text}")]
    Other {
        /// What failed.
        text: String,
        /// Why.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl WorldError {
    /// A failure with only a text.
    #[must_use]
    pub fn other(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Other { text, source: None }
    }

    /// A failure and its cause.
    pub fn caused(
        text: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Other {
            text: text.into(),
            source: Some(source.into()),
        }
    }

    /// The text with the causes behind it.
    #[must_use]
    pub fn full_message(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// What the world's operations yield.
pub type WorldResult<T> = Result<T, WorldError>;

/// Who asked for a build: what its side of the connection has. What one does not have is missing.
pub trait Client: Send + Sync {
    /// Brings files of the client's to this machine.
    ///
    /// # Errors
    /// [`WorldError::NotFound`] without such a source, and what the client said.
    fn local(&self, source: &LocalSource, job: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>>;

    /// The blobs of an image layout of the client's.
    ///
    /// # Errors
    /// [`WorldError::NotFound`] without such a layout, and what the client said.
    fn layout(&self, source: &OciLayoutSource, _job: &Job<'_>) -> WorldResult<Arc<dyn Blobs>> {
        let text = format!("the client has no image layout {:?}", source.store);
        Err(WorldError::NotFound(text))
    }

    /// A secret's bytes; `None` when the client does not have it.
    ///
    /// # Errors
    /// What the client said.
    fn secret(&self, id: &str) -> WorldResult<Option<Vec<u8>>>;

    /// Passes connections that come to `listener` on to an agent of the client's, until the returned value
    /// is dropped; `None` when the client has no such agent.
    ///
    /// # Errors
    /// What the client said.
    fn ssh(&self, id: &str, listener: UnixListener) -> WorldResult<Option<Box<dyn Send>>>;

    /// How to log in to a registry; `None`: without.
    ///
    /// # Errors
    /// What the client said.
    fn credentials(&self, host: &str) -> WorldResult<Option<Login>>;

    /// A result that is known elsewhere, where the client wants it to be looked for, by its key.
    fn elsewhere(&self, _key: &Digest, _job: &Job<'_>) -> Option<PortableResult> {
        None
    }

    /// Brings the layers of such a result into the store.
    ///
    /// # Errors
    /// What the place says where they are.
    fn bring(&self, result: &PortableResult, _job: &Job<'_>) -> WorldResult<Entry> {
        let text = format!("the files of {} are nowhere", result.description);
        Err(WorldError::NotFound(text))
    }

    /// What a cache that steps mount has elsewhere, by its name: what is in it when it is new.
    ///
    /// # Errors
    /// What the place says where it is.
    fn mount_elsewhere(&self, _name: &str, _job: &Job<'_>) -> WorldResult<Option<Tree>> {
        Ok(None)
    }

    /// Whether steps of this client's build may have what others may not: it said so, and this machine agrees.
    fn allows(&self, _entitlement: Entitlement) -> bool {
        false
    }

    /// What surrounds the processes of its steps.
    fn surroundings(&self) -> Surroundings {
        Surroundings::default()
    }

    /// Whether an image is to be made of what a failing step has left.
    fn keeps_failed(&self) -> bool {
        false
    }

    /// Such an image was made; it is the client's from now on.
    fn kept_failed(&self, _image: &Digest) {}
}

/// What a step has only where the build's client and the machine's owner want it: a Dockerfile may be a stranger's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entitlement {
    /// The host's network.
    NetworkHost,
    /// A process without confinement.
    SecurityInsecure,
}

impl fmt::Display for Entitlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
        })
    }
}

/// What surrounds the processes of all steps of a build, and is no part of what they are known by. Nothing and 0 are
/// no statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The network of steps that ask for none: `host`, `none`, a network's name, or `container:` and a container's.
    pub network: String,
    /// Bytes.
    pub memory: i64,
    /// Bytes of memory and swap; -1 is no limit.
    pub memory_swap: i64,
    /// A share among others.
    pub cpu_shares: i64,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds of a period.
    pub cpu_quota: i64,
    /// Processors, such as `0-2,4`.
    pub cpuset_cpus: String,
    /// Nodes of memory.
    pub cpuset_mems: String,
}

/// How to log in to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Name and password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that tokens are had for.
    Identity(String),
    /// The token itself.
    Registry(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// For whom something is done.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The vertex that is told about; of [`World::resolve_image`] and a frontend's own files one that is no
    /// part of the graph.
    pub vertex: &'a Digest,
    /// Who asked.
    pub client: &'a dyn Client,
    /// Who wants to know.
    pub watch: &'a dyn Watch,
    /// When to stop.
    pub cancel: &'a Cancel,
}

impl Job<'_> {
    /// Tells of output of the vertex.
    pub fn log(&self, stream: Stream, bytes: &[u8]) {
        self.watch
            .tell(crate::progress::Event::Log(crate::progress::Log {
                vertex: self.vertex.clone(),
                stream,
                bytes: bytes.to_vec(),
                at: jiff::Timestamp::now(),
            }));
    }

    /// Tells how far a part of the vertex is.
    pub fn status(&self, status: Status) {
        self.watch.tell(crate::progress::Event::Status(status));
    }
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("vertex", self.vertex)
            .finish_non_exhaustive()
    }
}

/// Keeps something from being removed as long as it is there.
#[derive(Clone)]
pub struct Keep(Arc<dyn Send + Sync>);

impl Keep {
    /// What keeps it.
    pub fn new(what: impl Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(what)))
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keep").field(&Arc::as_ptr(&self.0)).finish()
    }
}

/// An image that was found.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// Its name with the digest of its manifest or index where one is known.
    pub reference: String,
    /// What [`ResolvedImage::reference`] is pinned to.
    pub digest: Option<Digest>,
    /// Its config's digest, which also is its id.
    pub id: Digest,
    /// Its config, the bytes.
    pub config: Vec<u8>,
    /// What [`SourceKey::content`] of it is, where that is known by now.
    pub content: Option<String>,
    /// Keeps its files.
    pub keep: Option<Keep>,
}

/// One directory of a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Piece {
    /// A layer in the image store, by its diffID.
    Layer(Digest),
    /// What a step wrote, by its id.
    Step(String),
}

/// Files: what a vertex makes and what it works on.
#[derive(Clone, Debug)]
pub enum Tree {
    /// Pieces above each other, the lowest first; none is an empty tree.
    Pieces(Vec<Piece>),
    /// A client's. Has no result in the cache.
    Local(Arc<dyn LocalFiles>),
}

impl Tree {
    /// The empty one.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Pieces(Vec::new())
    }
}

/// What a source is known by before its files are here.
#[derive(Clone, Debug, Default)]
pub struct SourceKey {
    /// Equal for equal content, cheaper than the content: an image's layers, a commit, a file's digest. `None`: of a
    /// local source, whose content is compared.
    pub content: Option<String>,
    /// The files, where they had to be brought to know that. They belong to the caller, as those of [`World::perform`].
    pub brought: Option<Tree>,
    /// Keeps what is here of it until its files are fetched.
    pub keep: Option<Keep>,
}

impl SourceKey {
    /// Of a source that nothing had to be brought of.
    pub fn known(content: impl Into<String>) -> Self {
        Self {
            content: Some(content.into()),
            ..Self::default()
        }
    }
}

/// What was brought from outside.
pub struct Fetched {
    /// The files.
    pub tree: Tree,
    /// Keeps them where no result in the cache does.
    pub keep: Option<Keep>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fetched").field(&self.tree).finish()
    }
}

/// Which of a tree's files a digest is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// A path in the tree.
    pub path: String,
    /// Whether it is a pattern.
    pub wildcard: bool,
    /// Whether a link at the path is followed.
    pub follow: bool,
    /// Only these, in `.dockerignore`'s notation; none is all.
    pub include: Vec<String>,
    /// Without these.
    pub exclude: Vec<String>,
}

/// What the machine does for a build.
pub trait World: Send + Sync {
    /// Finds an image: in the store, or asks its registry, without fetching its layers.
    ///
    /// # Errors
    /// [`WorldError::NotFound`] and what the registry said.
    fn resolve_image(
        &self,
        source: &ImageSource,
        platform: &Platform,
        job: &Job<'_>,
    ) -> WorldResult<ResolvedImage>;

    /// Finds an image in a layout of the client's, without its layers.
    ///
    /// # Errors
    /// [`WorldError::NotFound`] and what the client said.
    fn resolve_layout(
        &self,
        source: &OciLayoutSource,
        _platform: &Platform,
        _job: &Job<'_>,
    ) -> WorldResult<ResolvedImage> {
        let text = format!("{}: there are no image layouts", source.reference);
        Err(WorldError::Unsupported(text))
    }

    /// What a source is known by.
    ///
    /// # Errors
    /// What the source said.
    fn source_key(
        &self,
        source: &Source,
        platform: &Platform,
        job: &Job<'_>,
    ) -> WorldResult<SourceKey>;

    /// Brings the files of a source; `content` is what it is known by, where the source is not to be asked again.
    ///
    /// # Errors
    /// What the source said.
    fn fetch(
        &self,
        source: &Source,
        content: Option<&str>,
        platform: &Platform,
        job: &Job<'_>,
    ) -> WorldResult<Fetched>;

    /// Does an `Exec`, `File`, `Merge` or `Diff` to these inputs. The outputs stand in the order of their
    /// numbers. New pieces belong to the caller: they stay until [`World::discard`].
    ///
    /// # Errors
    /// [`WorldError::Exit`], and what failed. Nothing is left then.
    fn perform(&self, vertex: &Vertex, inputs: &[Tree], job: &Job<'_>) -> WorldResult<Vec<Tree>>;

    /// A digest of files: of names, kinds, modes, owners, links, extended attributes and bytes, but not of
    /// times. A selection that matches nothing has one too.
    ///
    /// # Errors
    /// What could not be read.
    fn content(&self, tree: &Tree, selection: &Selection, job: &Job<'_>) -> WorldResult<Digest>;

    /// The beginning of a regular file of a tree, at most `limit` bytes; `None` when it is not there. Links lead
    /// nowhere out of the tree.
    ///
    /// # Errors
    /// [`WorldError::NotAFile`] for what is no regular file, and what could not be read.
    fn read_file(&self, tree: &Tree, path: &str, limit: u64) -> WorldResult<Option<Vec<u8>>>;

    /// The names in a directory of a tree, sorted; none when it is not there. Links lead nowhere out of the tree.
    ///
    /// # Errors
    /// What could not be read.
    fn names(&self, _tree: &Tree, _path: &str) -> WorldResult<Vec<String>> {
        Ok(Vec::new())
    }

    /// Whether all pieces are there.
    fn has(&self, pieces: &[Piece]) -> bool;

    /// Removes what a step wrote; what is not there is removed already.
    fn discard(&self, step: &str);

    /// How many bytes a step wrote.
    fn size(&self, step: &str) -> u64;
}
