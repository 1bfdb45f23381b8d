//! The solver: does what a graph says, as far as somebody needs it and nobody has done it before.
//!
//! ```text
//! vertices that the targets need ─► each when its inputs are known, in threads
//!    │ key: what it does, and the inputs' results (of local files, and of files that are only copied: content)
//!    ├─ known ──────────────────► its result, without touching anything
//!    ├─ somebody is at it ──────► wait together; it ends early only when nobody waits any more
//!    └─ else ───────────────────► the inputs are fetched, the step is done, the result gets its row
//! ```
//!
//! An image that is only named by results in the cache is never pulled.

mod build;
mod done;
mod key;
mod running;
#[cfg(test)]
mod tests;
mod vertex;

use crate::cache::{Cache, Pin};
use crate::graph::{Graph, Location, NetworkMode, Op, Output, SecurityMode, digest_of};
use crate::progress::Watch;
use crate::world::{Cancel, Client, Entitlement, Keep, ResolvedImage, Tree, World, WorldError};
use build::Build;
use hull_spec::{Digest, Platform};
use running::Running;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Solves graphs, all of them with one cache.
#[derive(Clone)]
pub struct Solver(Arc<Shared>);

struct Shared {
    world: Arc<dyn World>,
    cache: Cache,
    /// Steps under way, by key.
    running: Mutex<HashMap<Digest, Arc<Running>>>,
}

impl fmt::Debug for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Solver").finish_non_exhaustive()
    }
}

/// For whom a graph is solved.
#[derive(Clone)]
pub struct Context {
    /// Who asked.
    pub client: Arc<dyn Client>,
    /// Who wants to know.
    pub watch: Arc<dyn Watch>,
    /// When to stop.
    pub cancel: Cancel,
    /// The platform of vertices that name none.
    pub platform: Platform,
    /// What all graphs of one build know of their sources.
    pub sources: KnownSources,
}

/// What a build has found its sources to be: a branch or a page that changes while it is built stays what it was.
#[derive(Clone, Debug, Default)]
pub struct KnownSources(Arc<Mutex<Sources>>);

#[derive(Debug, Default)]
struct Sources {
    /// By vertex.
    known: HashMap<Digest, KnownSource>,
    /// What images were found to be, by name and platform.
    images: HashMap<Digest, String>,
    /// Keep these until the build is over.
    keeps: Vec<Keep>,
}

/// One of them.
#[derive(Clone, Debug)]
struct KnownSource {
    content: String,
    /// Whether its files were here before.
    cached: bool,
}

impl KnownSources {
    /// What the source of a vertex was found to be.
    #[must_use]
    pub fn content(&self, vertex: &Digest) -> Option<String> {
        Some(self.get(vertex)?.content)
    }

    /// An image was looked up: in this build its name means what it means now, and its files stay.
    pub fn found(&self, image: &ResolvedImage, platform: &Platform) {
        let mut all = self.lock();
        if let Some(content) = &image.content {
            let name = digest_of(&(&image.reference, platform));
            all.images.insert(name, content.clone());
        }
        all.keeps.extend(image.keep.clone());
    }

    /// What an image is that was looked up before: its name, which in a layout has a digest, and how many of its
    /// layers are wanted.
    fn looked_up(&self, (name, limit): (&str, u32), platform: &Platform) -> Option<String> {
        let name = digest_of(&(name, platform));
        let found = self.lock().images.get(&name).cloned();
        // Of a part of it that says too much.
        found.filter(|_| limit == 0)
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, vertex: &Digest) -> Option<KnownSource> {
        self.lock().known.get(vertex).cloned()
    }

    fn set(&self, vertex: &Digest, known: KnownSource) {
        self.lock().known.insert(vertex.clone(), known);
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// An output that was asked for. Its files stay as long as this.
pub struct Solution {
    /// The files.
    pub tree: Tree,
    /// What they are known by: equal for what was made in the same way.
    pub id: String,
    _pin: Option<Arc<Pin>>,
    _keep: Option<Keep>,
}

impl fmt::Debug for Solution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Solution")
            .field("tree", &self.tree)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why a graph was not solved.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to solve: {}", source.full_message())]
pub struct SolveError {
    /// Which vertex failed.
    pub vertex: Digest,
    /// What it is called.
    pub name: String,
    /// Where it comes from.
    pub location: Option<Location>,
    /// Why.
    pub source: Arc<WorldError>,
}

impl Solver {
    /// A solver that works with `world` and remembers in `cache`.
    pub fn new(world: Arc<dyn World>, cache: Cache) -> Self {
        Self(Arc::new(Shared {
            world,
            cache,
            running: Mutex::default(),
        }))
    }

    /// What earlier builds made.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// What the solver works with.
    #[must_use]
    pub fn world(&self) -> &Arc<dyn World> {
        &self.0.world
    }

    /// Makes outputs of a graph. Blocks until all are there, one has failed, or the end is asked for.
    ///
    /// # Errors
    /// The first failure; the other vertices have stopped then, unless another build needs them.
    pub fn solve(
        &self,
        graph: &Arc<Graph>,
        targets: &[Output],
        context: &Context,
    ) -> Result<Vec<Solution>, SolveError> {
        permit(graph, targets, &*context.client)?;
        let build = Build::new(Arc::clone(&self.0), Arc::clone(graph), context);
        build.run(targets)?;
        targets
            .iter()
            .map(|target| build.solution(*target))
            .collect()
    }
}

/// Refuses steps that want more than the client allows, whether their results are known or not.
fn permit(graph: &Graph, targets: &[Output], client: &dyn Client) -> Result<(), SolveError> {
    for id in graph.needed(targets) {
        let vertex = graph.vertex(id);
        let Op::Exec(exec) = &vertex.op else { continue };
        let host = (exec.network == NetworkMode::Host).then_some(Entitlement::NetworkHost);
        let insecure =
            (exec.security == SecurityMode::Insecure).then_some(Entitlement::SecurityInsecure);
        let wanted = host.into_iter().chain(insecure);
        if let Some(refused) = wanted.into_iter().find(|wanted| !client.allows(*wanted)) {
            return Err(SolveError {
                vertex: vertex.digest.clone(),
                name: vertex.metadata.name.clone(),
                location: vertex.metadata.location.clone(),
                source: Arc::new(WorldError::Invalid(format!("{refused} is not allowed"))),
            });
        }
    }
    Ok(())
}
