//! What a build tells while it runs. Both of Docker's forms are made of it: the classic stream of JSON
//! lines, and BuildKit's `StatusResponse`.

use hull_spec::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::graph::{Location, ProgressGroup};

/// Somebody who wants to know. Called from several threads; must not block for long.
pub trait Watch: Send + Sync {
    /// Something happened.
    fn tell(&self, event: Event);
}

/// Nobody who wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn tell(&self, _: Event) {}
}

/// Something that happened in a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A vertex as it is now: each later one replaces the earlier ones of the same digest.
    Vertex(Box<VertexState>),
    /// How far a part of a vertex is: each later one replaces the earlier ones of the same vertex and id.
    Status(Status),
    /// A process of a vertex is about to begin: the vertex is really done, and not only looked for.
    Process(Process),
    /// Output of a vertex.
    Log(Log),
    /// Something about the Dockerfile.
    Warning(Warning),
}

/// A vertex as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VertexState {
    /// Which.
    pub digest: Digest,
    /// Of what it is made.
    pub inputs: Vec<Digest>,
    /// What is shown.
    pub name: String,
    /// Whether its result was known.
    pub cached: bool,
    /// When it began; `None`: not yet.
    pub started: Option<Timestamp>,
    /// When it ended; `None`: not yet.
    pub completed: Option<Timestamp>,
    /// Why it failed; empty: it did not.
    pub error: String,
    /// The group it is shown in.
    pub group: Option<ProgressGroup>,
    /// Where it comes from.
    pub location: Option<Location>,
    /// Further descriptions.
    pub description: BTreeMap<String, String>,
}

/// How far a part of a vertex is, such as the download of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of which vertex.
    pub vertex: Digest,
    /// Which part, among the vertex's.
    pub id: String,
    /// What is shown; empty: the id.
    pub name: String,
    /// How much is done.
    pub current: u64,
    /// Of how much; 0: not known.
    pub total: u64,
    /// When this was so.
    pub at: Timestamp,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended; `None`: not yet.
    pub completed: Option<Timestamp>,
}

/// A process of a vertex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Of which.
    pub vertex: Digest,
    /// The id of the container it runs in, 64 hexadecimal digits.
    pub container: String,
}

/// Output of a vertex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Of which.
    pub vertex: Digest,
    /// To where.
    pub stream: Stream,
    /// What; not always whole lines.
    pub bytes: Vec<u8>,
    /// When.
    pub at: Timestamp,
}

/// An output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// 1
    Stdout,
    /// 2
    Stderr,
}

/// Something about the Dockerfile that is no error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The vertex it is shown with; `None`: of the whole build.
    pub vertex: Option<Digest>,
    /// 1 for all but the rarest.
    pub level: i64,
    /// One line.
    pub short: String,
    /// More lines.
    pub detail: Vec<String>,
    /// Where to read on.
    pub url: String,
    /// Where it is about.
    pub location: Option<Location>,
}
