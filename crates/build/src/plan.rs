//! What a frontend makes of a request: a graph and, for each platform, which of its outputs becomes an image with
//! which config.

use crate::graph::{Graph, Location, Output};
use crate::world::WorldError;
use hull_spec::Platform;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a frontend is asked for, in the words of BuildKit's clients: `filename`, `target`, `build-arg:NAME`,
/// `label:NAME`, `platform`, `no-cache`, `context`, `context:NAME`, `contextkey`, `dockerfilekey`, `add-hosts`, …
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Name → value.
    pub attributes: BTreeMap<String, String>,
    /// Trees that the client has made already: `context:NAME` names them as `input:…`.
    pub inputs: BTreeMap<String, PlanInput>,
}

/// A tree that is made as another graph says.
#[derive(Clone, Debug, Default)]
pub struct PlanInput {
    /// The graph.
    pub graph: Arc<Graph>,
    /// Which of its outputs; `None`: an empty tree.
    pub output: Option<Output>,
}

/// What is to be built.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// All vertices.
    pub graph: Arc<Graph>,
    /// One per platform, in the order in which they were asked for.
    pub images: Vec<PlannedImage>,
    /// Further answers, such as those of `--call`: `result.json`, `result.txt`, `result.statuscode`, `version`.
    pub answers: BTreeMap<String, Vec<u8>>,
    /// The files that locations are in.
    pub sources: Vec<SourceFile>,
    /// What was asked for.
    pub request: Request,
    /// When.
    pub began: Timestamp,
}

/// One platform's image.
#[derive(Clone, Debug)]
pub struct PlannedImage {
    /// Which.
    pub platform: Platform,
    /// Its files; `None`: none, `FROM scratch` alone.
    pub output: Option<Output>,
    /// Its config as BuildKit's frontend makes it: with history, without `created`, `rootfs` and times of what
    /// is built.
    pub config: Vec<u8>,
}

/// A file that a frontend has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// The whole of it.
    pub text: Vec<u8>,
}

/// Why a frontend cannot make a plan.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct PlanError {
    /// BuildKit's text.
    pub text: String,
    /// Where; of `file`.
    pub location: Option<Location>,
    /// The file, for clients that show its lines.
    pub file: Option<SourceFile>,
    /// What of the world failed.
    #[source]
    pub source: Option<WorldError>,
}
