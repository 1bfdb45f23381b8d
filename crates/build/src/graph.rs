//! What is to be built, as a graph: a vertex does one thing to the outputs of others. The operations are
//! those of BuildKit's LLB (moby/buildkit `solver/pb/ops.proto`), so that a definition a client sends
//! converts one to one; Dockerfiles become the same.
//!
//! A [`Graph`] only grows, and a vertex can only name earlier ones: there are no cycles, and the order of
//! the vertices is one in which they can be done. A vertex is known by the digest of what it does and of
//! its inputs' digests; what only describes it ([`Metadata`]) does not count.

use hull_spec::{Digest, Platform};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// No graph has more vertices: what a hostile client's may cost.
pub const MAX_VERTICES: usize = 100_000;

/// A vertex of a [`Graph`], by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VertexId(usize);

impl VertexId {
    /// Its place in [`Graph::vertices`].
    #[must_use]
    pub const fn place(self) -> usize {
        self.0
    }
}

/// One of the outputs of a vertex: a tree of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Output {
    /// Whose.
    pub vertex: VertexId,
    /// Which, from 0.
    pub index: usize,
}

/// Vertices, each after its inputs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    vertices: Vec<Vertex>,
    known: HashMap<Digest, VertexId>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Vertex {
    /// What it is known by: of the operation, the platform, and the inputs.
    pub digest: Digest,
    /// What it does.
    pub op: Op,
    /// To what: the operation names these by their place.
    pub inputs: Vec<Output>,
    /// For which platform; `None` is the host's.
    pub platform: Option<Platform>,
    /// What describes it.
    pub metadata: Metadata,
}

/// Why a vertex cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVertex {
    /// An input is not in the graph.
    #[error("input {0} of the vertex is no vertex of the graph")]
    Input(usize),
    /// The vertex of an input has fewer outputs.
    #[error("input {0} of the vertex has no output {1}")]
    Output(usize, usize),
    /// The operation names an input that the vertex does not have.
    #[error("operation names input {0}, vertex has {1}")]
    Place(usize, usize),
    /// An action names one that does not come before it, or one output is given twice, or left out.
    #[error("file action {0}: {1}")]
    Action(usize, &'static str),
    /// An exec's mounts do not fit together.
    #[error("mount {0:?}: {1}")]
    Mount(String, &'static str),
    /// Too many vertices, mounts or actions.
    #[error("graph is too large")]
    TooLarge,
}

impl Graph {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a vertex, or finds the one that does the same: then descriptions that one lacks are added, and
    /// it ignores the cache if either is to.
    ///
    /// # Errors
    /// [`InvalidVertex`]
    pub fn add(
        &mut self,
        op: Op,
        inputs: Vec<Output>,
        platform: Option<Platform>,
        metadata: Metadata,
    ) -> Result<VertexId, InvalidVertex> {
        for (place, input) in inputs.iter().enumerate() {
            let vertex = self.vertices.get(input.vertex.0);
            let vertex = vertex.ok_or(InvalidVertex::Input(place))?;
            if input.index >= vertex.op.outputs() {
                return Err(InvalidVertex::Output(place, input.index));
            }
        }
        op.check(inputs.len())?;
        let digest = self.digest(&op, &inputs, platform.as_ref());
        if let Some(id) = self.known.get(&digest) {
            self.vertices[id.0].metadata.join(metadata);
            return Ok(*id);
        }
        if self.vertices.len() >= MAX_VERTICES {
            return Err(InvalidVertex::TooLarge);
        }
        let id = VertexId(self.vertices.len());
        self.known.insert(digest.clone(), id);
        self.vertices.push(Vertex {
            digest,
            op,
            inputs,
            platform,
            metadata,
        });
        Ok(id)
    }

    /// Like [`Graph::add`], for a vertex of which the first output is wanted.
    ///
    /// # Errors
    /// [`InvalidVertex`]
    pub fn output(
        &mut self,
        op: Op,
        inputs: Vec<Output>,
        platform: Option<Platform>,
        metadata: Metadata,
    ) -> Result<Output, InvalidVertex> {
        let vertex = self.add(op, inputs, platform, metadata)?;
        Ok(Output { vertex, index: 0 })
    }

    /// All vertices, each after its inputs.
    #[must_use]
    pub fn vertices(&self) -> &[Vertex] {
        &self.vertices
    }

    /// A vertex of this graph.
    ///
    /// # Panics
    /// For one of another graph.
    #[must_use]
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0]
    }

    /// The vertices that these outputs need, themselves included, each after its inputs.
    #[must_use]
    pub fn needed(&self, outputs: &[Output]) -> Vec<VertexId> {
        let mut needed = vec![false; self.vertices.len()];
        for output in outputs {
            needed[output.vertex.0] = true;
        }
        for place in (0..self.vertices.len()).rev() {
            if needed[place] {
                for input in &self.vertices[place].inputs {
                    needed[input.vertex.0] = true;
                }
            }
        }
        let places = needed.iter().enumerate();
        places
            .filter_map(|(place, needed)| needed.then_some(VertexId(place)))
            .collect()
    }

    /// A vertex's own description is not part of it; that of its inputs comes in with their digests.
    fn digest(&self, op: &Op, inputs: &[Output], platform: Option<&Platform>) -> Digest {
        let inputs: Vec<(&Digest, usize)> = inputs
            .iter()
            .map(|input| (&self.vertices[input.vertex.0].digest, input.index))
            .collect();
        digest_of(&(op, inputs, platform))
    }
}

/// The digest of a value's canonical encoding: JSON in the order of declaration, maps sorted.
///
/// # Panics
/// Never for values without maps whose keys are no text.
#[must_use]
pub fn digest_of(value: &impl Serialize) -> Digest {
    let text = serde_json::to_vec(value).expect("graph values are JSON");
    Digest::from_sha256(&Sha256::digest(text).into())
}

/// What describes a vertex and does not change what it makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// What the progress shows, such as `[2/3] RUN make`; empty: made from the operation.
    pub name: String,
    /// Whether it is done even if its result is known.
    pub ignore_cache: bool,
    /// The group that the progress shows instead.
    pub group: Option<ProgressGroup>,
    /// Where in the Dockerfile it comes from: an index into the sources of the build, and its ranges of
    /// lines (from 1, both included).
    pub location: Option<Location>,
    /// Further descriptions, as LLB's `description`.
    pub description: BTreeMap<String, String>,
}

impl Metadata {
    /// With a name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    fn join(&mut self, other: Self) {
        self.ignore_cache |= other.ignore_cache;
        if self.name.is_empty() {
            self.name = other.name;
        }
        self.group = self.group.take().or(other.group);
        self.location = self.location.take().or(other.location);
        for (key, value) in other.description {
            self.description.entry(key).or_insert(value);
        }
    }
}

/// A group of vertices in the progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressGroup {
    /// What it is known by.
    pub id: String,
    /// What is shown.
    pub name: String,
    /// Whether the vertex keeps its own line until it is done.
    pub weak: bool,
}

/// Lines of a file from which a vertex was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Which of the build's source files.
    pub source: usize,
    /// First and last line, from 1.
    pub lines: Vec<(u32, u32)>,
}

/// What a vertex does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Brings files from outside; no inputs.
    Source(Source),
    /// Runs a process.
    Exec(Box<Exec>),
    /// Changes files without one.
    File(Files),
    /// Lays the inputs above each other, the first lowest.
    Merge {
        /// Which inputs.
        inputs: Vec<usize>,
    },
    /// What has to be laid above `lower` to get `upper`.
    Diff {
        /// An input; `None` is an empty tree.
        lower: Option<usize>,
        /// An input; `None` is an empty tree.
        upper: Option<usize>,
    },
}

impl Op {
    /// How many outputs it has.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Exec(exec) => exec.mounts.iter().filter_map(|m| m.output).count(),
            Self::File(files) => files.actions.iter().filter_map(|a| a.output).count(),
            _ => 1,
        }
    }

    fn check(&self, inputs: usize) -> Result<(), InvalidVertex> {
        let has = |place: Option<usize>| match place {
            Some(place) if place >= inputs => Err(InvalidVertex::Place(place, inputs)),
            _ => Ok(()),
        };
        match self {
            Self::Source(_) => Ok(()),
            Self::Exec(exec) => exec.check(inputs),
            Self::File(files) => files.check(inputs),
            Self::Merge { inputs: of } => of.iter().try_for_each(|place| has(Some(*place))),
            Self::Diff { lower, upper } => has(*lower).and_then(|()| has(*upper)),
        }
    }
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// `docker-image://`
    Image(ImageSource),
    /// `local://`: files that the client has.
    Local(LocalSource),
    /// `git://`
    Git(GitSource),
    /// `http://`, `https://`
    Http(HttpSource),
    /// `oci-layout://`: an image in a directory that the client has.
    OciLayout(OciLayoutSource),
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSource {
    /// Its whole name, `docker.io/library/busybox:latest`, with `@sha256:…` once it was resolved.
    pub reference: String,
    /// Whether a registry is asked.
    pub resolve: ResolveMode,
    /// Only so many of its layers; 0 is all.
    pub layer_limit: u32,
}

/// Whether a registry is asked for an image that is in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResolveMode {
    /// As [`ResolveMode::PreferLocal`] with one store for all.
    #[default]
    Default,
    /// Always.
    ForcePull,
    /// Only for what is not in the store.
    PreferLocal,
}

/// Files that the client has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalSource {
    /// Under which name: `context`, `dockerfile`, …
    pub name: String,
    /// The session that has it; empty is the build's own.
    pub session: String,
    /// Only these, in `.dockerignore`'s notation; none is all.
    pub include: Vec<String>,
    /// Without these, in `.dockerignore`'s notation.
    pub exclude: Vec<String>,
    /// Of these paths, symbolic links are followed, and what they name comes along.
    pub follow: Vec<String>,
    /// Helps to find what the same client sent earlier.
    pub shared_key_hint: String,
    /// How files are compared with what was sent earlier.
    pub differ: Differ,
    /// Only names and metadata are wanted, except of files that match [`LocalSource::metadata_except`].
    pub metadata_only: bool,
    /// See [`LocalSource::metadata_only`].
    pub metadata_except: Vec<String>,
}

/// How files are compared with what was sent earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Differ {
    /// By their metadata.
    #[default]
    Metadata,
    /// Not at all.
    None,
}

/// A git repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSource {
    /// Where it is, in any form git takes.
    pub remote: String,
    /// Branch, tag or commit; empty is the remote's HEAD.
    pub reference: String,
    /// Only this directory of it.
    pub subdir: String,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
    /// The commit it must be, or how its digest begins.
    pub checksum: String,
    /// Submodules are left out.
    pub skip_submodules: bool,
    /// The secret that has a token.
    pub auth_token_secret: String,
    /// The secret that has the whole header.
    pub auth_header_secret: String,
    /// Lines of `known_hosts`.
    pub known_ssh_hosts: String,
    /// The client's agent that is used; empty is none.
    pub ssh: String,
}

/// A file behind a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpSource {
    /// `http:` or `https:`.
    pub url: String,
    /// What it must be.
    pub checksum: Option<Digest>,
    /// The file's name; empty: from the answer or the URL.
    pub filename: String,
    /// Its mode; `None` is 0600.
    pub mode: Option<u32>,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The secret that has the `Authorization` header.
    pub auth_header_secret: String,
}

/// An image in a layout directory of the client's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciLayoutSource {
    /// `name@sha256:…`
    pub reference: String,
    /// The store's name in the session.
    pub store: String,
    /// The session; empty is the build's own.
    pub session: String,
    /// Only so many of its layers; 0 is all.
    pub layer_limit: u32,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `KEY=value`
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// `user[:group]`, names or numbers; empty is root.
    pub user: String,
    /// The proxies that the process sees; they are no part of its key in the cache.
    pub proxy: Option<Proxy>,
    /// Further lines of `/etc/hosts`: name and address.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// The host's name; empty: `buildkitsandbox`.
    pub hostname: String,
    /// Limits: name, soft, hard; -1 is none.
    pub ulimits: Vec<(String, i64, i64)>,
    /// Below which cgroup.
    pub cgroup_parent: String,
    /// Whether directories made for mounts go also where they were made above each other.
    pub remove_stubs_recursively: bool,
    /// Exit codes that are no failure; none: only 0.
    pub valid_exit_codes: Vec<i32>,
    /// What it sees; one of them at `/`.
    pub mounts: Vec<Mount>,
    /// Its network.
    pub network: NetworkMode,
    /// Its rights.
    pub security: SecurityMode,
    /// Secrets in its environment.
    pub secret_env: Vec<SecretEnv>,
    /// CDI devices: name, and whether it may be missing.
    pub devices: Vec<(String, bool)>,
}

/// Proxies, as the predefined build arguments name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// `HTTP_PROXY`
    pub http: String,
    /// `HTTPS_PROXY`
    pub https: String,
    /// `FTP_PROXY`
    pub ftp: String,
    /// `NO_PROXY`
    pub no: String,
    /// `ALL_PROXY`
    pub all: String,
}

/// The network of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// As `run` has it.
    #[default]
    Default,
    /// The host's.
    Host,
    /// None.
    None,
}

/// The rights of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityMode {
    /// As `run` has them.
    #[default]
    Sandbox,
    /// As `run --privileged` has them.
    Insecure,
}

/// A secret in an environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretEnv {
    /// Its id.
    pub id: String,
    /// The variable.
    pub name: String,
    /// Whether it may be missing.
    pub optional: bool,
}

/// Something a process sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where: an absolute path.
    pub dest: String,
    /// The input it is; `None`: empty.
    pub input: Option<usize>,
    /// The path in the input.
    pub selector: String,
    /// The output it becomes, from 0 without gaps.
    pub output: Option<usize>,
    /// Whether it cannot be written.
    pub readonly: bool,
    /// What it is.
    pub kind: MountKind,
    /// Whether the step's key holds the input's content instead of what made it; `None`: as it fits.
    pub content_cache: Option<bool>,
}

/// What a mount is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// The input's files. Where it is neither read-only nor an output, what is written is lost.
    #[default]
    Bind,
    /// A directory that stays from build to build; at first as the input.
    Cache {
        /// What it is known by.
        id: String,
        /// What happens when two steps want it.
        sharing: Sharing,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; 0: no limit.
        size: u64,
    },
    /// A secret, as a file.
    Secret(ClientFile),
    /// A socket of the client's agent.
    Ssh(ClientFile),
}

/// A file with something of the client's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFile {
    /// What the client knows it by.
    pub id: String,
    /// The file's owner.
    pub uid: u32,
    /// The file's group.
    pub gid: u32,
    /// The file's mode.
    pub mode: u32,
    /// Whether it may be missing: then there is no mount.
    pub optional: bool,
}

/// What happens when two steps want one cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// Both have it.
    #[default]
    Shared,
    /// The second gets another.
    Private,
    /// The second waits.
    Locked,
}

impl Exec {
    /// The mount at `/`.
    #[must_use]
    pub fn root(&self) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.dest == "/")
    }

    fn check(&self, inputs: usize) -> Result<(), InvalidVertex> {
        if self.mounts.len() > MAX_PARTS {
            return Err(InvalidVertex::TooLarge);
        }
        let wrong = |mount: &Mount, why| Err(InvalidVertex::Mount(mount.dest.clone(), why));
        let mut outputs = Vec::new();
        for mount in &self.mounts {
            if let Some(place) = mount.input.filter(|place| *place >= inputs) {
                return Err(InvalidVertex::Place(place, inputs));
            }
            if !mount.dest.starts_with('/') {
                return wrong(mount, "destination is not absolute");
            }
            match mount.kind {
                MountKind::Bind => {}
                _ if mount.output.is_some() => return wrong(mount, "only a bind has an output"),
                _ if mount.dest == "/" => return wrong(mount, "the root has to be a bind"),
                _ => {}
            }
            outputs.extend(mount.output);
        }
        if self.root().is_none() {
            return Err(InvalidVertex::Mount("/".to_owned(), "missing"));
        }
        outputs.sort_unstable();
        if !outputs.iter().copied().eq(0..outputs.len()) {
            return Err(InvalidVertex::Mount("/".to_owned(), "outputs have gaps"));
        }
        Ok(())
    }
}

/// No operation has more mounts or actions.
const MAX_PARTS: usize = 10_000;

/// Changes of files, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The changes.
    pub actions: Vec<Action>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What is changed.
    pub base: Tree,
    /// From where a copy comes; ignored by the others.
    pub from: Tree,
    /// The output that the result becomes, from 0 without gaps.
    pub output: Option<usize>,
    /// The change.
    pub change: Change,
}

/// A tree that an action uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tree {
    /// An empty one.
    #[default]
    Empty,
    /// An input of the vertex.
    Input(usize),
    /// What an earlier action made.
    Action(usize),
}

/// A change of files. Paths are inside the trees; links are never followed out of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Copies.
    Copy(Box<CopyFiles>),
    /// Writes a file.
    MakeFile(MakeFile),
    /// Makes a directory.
    MakeDir(MakeDir),
    /// Makes a symbolic link.
    Symlink(Symlink),
    /// Removes.
    Remove(Remove),
}

/// A copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyFiles {
    /// What.
    pub source: String,
    /// Where; with a slash at the end, into it.
    pub dest: String,
    /// Whose it becomes; `None`: as it was.
    pub owner: Option<Owner>,
    /// The mode it gets: octal, or chmod's words; `None`: as it was.
    pub mode: Option<Mode>,
    /// Whether a link at `source` is followed.
    pub follow_symlink: bool,
    /// Whether of a directory what is in it is copied.
    pub contents: bool,
    /// Whether archives are unpacked.
    pub unpack: bool,
    /// Whether the directories above `dest` are made.
    pub create_dest: bool,
    /// Whether `source` is a pattern.
    pub wildcard: bool,
    /// Whether a pattern may match nothing.
    pub empty_wildcard: bool,
    /// The time of change that all get, nanoseconds since 1970; `None`: as it was.
    pub timestamp: Option<i64>,
    /// Only these, in `.dockerignore`'s notation; none is all.
    pub include: Vec<String>,
    /// Without these.
    pub exclude: Vec<String>,
    /// Whether what is at `dest` goes, also where one is a directory and the other is none.
    pub replace: bool,
    /// Paths that must be there.
    pub required: Vec<String>,
}

/// The mode that copied files get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// These bits.
    Bits(u32),
    /// chmod's words, such as `u+x,go-w`.
    Words(String),
}

/// A new file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeFile {
    /// Where.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// What is in it.
    pub data: Vec<u8>,
    /// Whose; `None` is root's.
    pub owner: Option<Owner>,
    /// Its time of change, nanoseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
}

/// A new directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeDir {
    /// Where.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Whether those above it are made, and it may exist.
    pub parents: bool,
    /// Whose; `None` is root's.
    pub owner: Option<Owner>,
    /// Its time of change, nanoseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
}

/// A new symbolic link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symlink {
    /// What it says.
    pub target: String,
    /// Where it is.
    pub path: String,
    /// Whose; `None` is root's.
    pub owner: Option<Owner>,
    /// Its time of change, nanoseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
}

/// A removal, of directories with all that is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// What.
    pub path: String,
    /// Whether it may be missing.
    pub allow_missing: bool,
    /// Whether it is a pattern.
    pub wildcard: bool,
}

/// Whose a file is to be. `None` of the group: the group of that number or the user's own, as `chown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub user: Option<Account>,
    /// The group.
    pub group: Option<Account>,
}

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    /// A number.
    Id(u32),
    /// A name, looked up in this tree's `/etc/passwd` or `/etc/group`.
    Name {
        /// The name.
        name: String,
        /// Where it is looked up: an input, or what an action changes.
        tree: Tree,
    },
}

impl Files {
    fn check(&self, inputs: usize) -> Result<(), InvalidVertex> {
        if self.actions.len() > MAX_PARTS {
            return Err(InvalidVertex::TooLarge);
        }
        let mut outputs = Vec::new();
        for (place, action) in self.actions.iter().enumerate() {
            for tree in action.trees() {
                match tree {
                    Tree::Input(input) if input >= inputs => {
                        return Err(InvalidVertex::Place(input, inputs));
                    }
                    Tree::Action(other) if other >= place => {
                        return Err(InvalidVertex::Action(place, "names one after it"));
                    }
                    _ => {}
                }
            }
            outputs.extend(action.output);
        }
        outputs.sort_unstable();
        if outputs.is_empty() || !outputs.iter().copied().eq(0..outputs.len()) {
            let last = self.actions.len().saturating_sub(1);
            return Err(InvalidVertex::Action(last, "outputs have gaps"));
        }
        Ok(())
    }
}

impl Action {
    /// The trees it uses, its owner's included.
    pub fn trees(&self) -> impl Iterator<Item = Tree> + '_ {
        let owner = self.change.owner().into_iter();
        let accounts = owner.flat_map(|owner| owner.user.iter().chain(&owner.group));
        let named = accounts.filter_map(|account| match account {
            Account::Name { tree, .. } => Some(*tree),
            Account::Id(_) => None,
        });
        [self.base, self.from].into_iter().chain(named)
    }
}

impl Change {
    /// Whose the files become.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Copy(copy) => copy.owner.as_ref(),
            Self::MakeFile(file) => file.owner.as_ref(),
            Self::MakeDir(dir) => dir.owner.as_ref(),
            Self::Symlink(link) => link.owner.as_ref(),
            Self::Remove(_) => None,
        }
    }
}
