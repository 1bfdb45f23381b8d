//! What is to be built, as a graph: a vertex does one thing to the outputs of others. The operations are
//! those of BuildKit's LLB (moby/buildkit `solver/pb/ops.proto`), so that a definition a client sends
//! converts one to one; Dockerfiles become the same.
//!
//! A [`Graph`] only grows, and a vertex can only name earlier ones: there are no cycles, and the order of
//! the vertices is one in which they can be done. A vertex is known by the digest of what it does and of
//! its inputs' digests; what only describes it ([`Metadata`]) does not count.

mod exec;
mod files;
mod source;

pub use exec::{
    ClientFile, Exec, Mount, MountKind, NetworkMode, Proxy, SecretEnv, SecurityMode, Sharing,
};
pub use files::{
    Account, Action, Change, CopyFiles, Files, MakeDir, MakeFile, Mode, Owner, Remove, Symlink,
    Tree,
};
pub use source::{
    Differ, GitSource, HttpSource, ImageSource, LocalSource, OciLayoutSource, ResolveMode, Source,
};

use hull_spec::{Digest, Platform};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};

/// No operation has more mounts or actions.
const MAX_PARTS: usize = 10_000;

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
