//! One graph being solved: which vertex is next, in which thread.

use super::vertex::Outcome;
use super::{Context, Shared, Solution, SolveError};
use crate::graph::{Graph, Output, VertexId};
use crate::progress::{Event, VertexState};
use crate::world::{Cancel, Job, Piece, Tree, WorldError};
use jiff::Timestamp;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// One graph being solved.
pub(super) struct Build {
    pub(super) shared: Arc<Shared>,
    pub(super) graph: Arc<Graph>,
    pub(super) context: Context,
    /// Ends with the context's, and with the first failure.
    pub(super) cancel: Cancel,
    /// By the vertices' places.
    outcomes: Vec<OnceLock<Outcome>>,
    /// Pieces that are there: each result names all that are below it, too.
    pub(super) there: Mutex<HashSet<Piece>>,
    desk: Arc<Desk>,
}

/// Where threads meet. A thread lets go of the build before it tells here that it has ended: who is told that a
/// build is over may count on nothing being kept for it any more.
#[derive(Default)]
struct Desk {
    work: Mutex<Work>,
    changed: Condvar,
}

impl Desk {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread has ended.
    fn leave(&self) {
        self.work().active -= 1;
        self.changed.notify_all();
    }
}

#[derive(Default)]
struct Work {
    /// How many inputs of each vertex are not known yet.
    missing: Vec<usize>,
    /// Who waits for each.
    waiting: Vec<Vec<VertexId>>,
    /// Threads at work.
    active: usize,
    /// Vertices that could be done, were there another thread.
    queue: VecDeque<VertexId>,
    failed: Option<SolveError>,
}

/// What a client sends may have a hundred thousand vertices that could be done at once.
fn most_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, Into::into);
    (4 * processors).max(16)
}

impl Build {
    pub(super) fn new(shared: Arc<Shared>, graph: Arc<Graph>, context: &Context) -> Arc<Self> {
        let count = graph.vertices().len();
        Arc::new(Self {
            shared,
            graph,
            context: context.clone(),
            cancel: Cancel::new(),
            outcomes: (0..count).map(|_| OnceLock::new()).collect(),
            there: Mutex::default(),
            desk: Arc::default(),
        })
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.desk.work()
    }

    /// Gets the outcomes of all that these targets need.
    pub(super) fn run(self: &Arc<Self>, targets: &[Output]) -> Result<(), SolveError> {
        let inner = self.cancel.clone();
        let _ends = self.context.cancel.on_cancel(move || inner.cancel());
        let needed = self.graph.needed(targets);
        for id in &needed {
            self.tell(&self.state(*id));
        }
        let ready = self.prepare(&needed);
        for id in ready {
            self.start(id);
        }
        let mut work = self.work();
        while work.active > 0 {
            work = self
                .desk
                .changed
                .wait(work)
                .unwrap_or_else(PoisonError::into_inner);
        }
        match work.failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Counts inputs; gives the vertices without.
    fn prepare(&self, needed: &[VertexId]) -> Vec<VertexId> {
        let mut work = self.work();
        let count = self.graph.vertices().len();
        work.missing = vec![0; count];
        work.waiting = vec![Vec::new(); count];
        let mut ready = Vec::new();
        for id in needed {
            let mut inputs: Vec<VertexId> = self.inputs(*id).collect();
            inputs.sort_unstable();
            inputs.dedup();
            work.missing[id.place()] = inputs.len();
            for input in &inputs {
                work.waiting[input.place()].push(*id);
            }
            if inputs.is_empty() {
                ready.push(*id);
            }
        }
        ready
    }

    fn inputs(&self, id: VertexId) -> impl Iterator<Item = VertexId> + '_ {
        let inputs = self.graph.vertex(id).inputs.iter();
        inputs.map(|input| input.vertex)
    }

    /// Goes on with a vertex in a thread of its own, or in the next that ends where there are enough.
    fn start(self: &Arc<Self>, id: VertexId) {
        let mut work = self.work();
        if work.active >= most_threads() {
            work.queue.push_back(id);
            return;
        }
        work.active += 1;
        drop(work);
        let build = Arc::clone(self);
        let thread = std::thread::Builder::new().name("build".to_owned());
        let spawned = thread.spawn(move || build.work_from(id));
        if let Err(error) = spawned {
            let error = WorldError::caused("start a thread", error);
            self.fail(id, Arc::new(error));
            self.desk.leave();
        }
    }

    /// A vertex, and then one that waited for it, and so on.
    fn work_from(self: Arc<Self>, id: VertexId) {
        let mut next = Some(id);
        while let Some(id) = next.take() {
            // A panic must not leave those waiting who wait for this.
            let caught = std::panic::AssertUnwindSafe(|| self.evaluate(id));
            let outcome = std::panic::catch_unwind(caught).unwrap_or_else(|_| {
                Err(Arc::new(WorldError::other(
                    "the builder failed at this step",
                )))
            });
            match outcome {
                Ok(outcome) => {
                    let _ = self.outcomes[id.place()].set(outcome);
                    let mut ready = self.done(id).into_iter();
                    next = ready.next();
                    ready.for_each(|other| self.start(other));
                }
                Err(error) => self.fail(id, error),
            }
            if next.is_none() {
                next = self.queued();
            }
        }
        let desk = Arc::clone(&self.desk);
        drop(self);
        desk.leave();
    }

    /// A vertex that waits for a thread; after a failure there is nothing more to do.
    fn queued(&self) -> Option<VertexId> {
        let mut work = self.work();
        match work.failed {
            None => work.queue.pop_front(),
            Some(_) => None,
        }
    }

    /// A vertex is known; gives those that can be done now.
    fn done(&self, id: VertexId) -> Vec<VertexId> {
        let mut work = self.work();
        if work.failed.is_some() {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut work.waiting[id.place()]);
        let mut ready = Vec::new();
        for other in waiting {
            work.missing[other.place()] -= 1;
            if work.missing[other.place()] == 0 {
                ready.push(other);
            }
        }
        ready
    }

    fn fail(&self, id: VertexId, source: Arc<WorldError>) {
        let vertex = self.graph.vertex(id);
        let mut work = self.work();
        // What ends because of the first failure is none of its own.
        work.failed.get_or_insert_with(|| SolveError {
            vertex: vertex.digest.clone(),
            name: vertex.metadata.name.clone(),
            location: vertex.metadata.location.clone(),
            source,
        });
        drop(work);
        self.cancel.cancel();
    }

    /// What is known of a vertex that was done.
    pub(super) fn outcome(&self, id: VertexId) -> Result<&Outcome, WorldError> {
        let outcome = self.outcomes[id.place()].get();
        outcome.ok_or_else(|| WorldError::other("a step was used before it was done"))
    }

    /// The files of an output; what is still outside is fetched.
    pub(super) fn tree(self: &Arc<Self>, output: Output) -> Result<Tree, Arc<WorldError>> {
        let outcome = self.outcome(output.vertex).map_err(Arc::new)?;
        let trees = self.fetched(output.vertex, outcome)?;
        let tree = trees.trees.get(output.index).cloned();
        tree.ok_or_else(|| Arc::new(WorldError::other("a step has less outputs than it should")))
    }

    pub(super) fn solution(self: &Arc<Self>, output: Output) -> Result<Solution, SolveError> {
        let vertex = self.graph.vertex(output.vertex);
        let failed = |source| SolveError {
            vertex: vertex.digest.clone(),
            name: vertex.metadata.name.clone(),
            location: vertex.metadata.location.clone(),
            source,
        };
        let tree = self.tree(output).map_err(failed)?;
        let outcome = self.outcome(output.vertex);
        let outcome = outcome.map_err(|error| failed(Arc::new(error)))?;
        Ok(Solution {
            tree,
            id: format!("{}#{}", outcome.id, output.index),
            _pin: outcome.pin.clone(),
            _keep: outcome.keep(),
        })
    }

    pub(super) fn job(&self, id: VertexId) -> Job<'_> {
        Job {
            vertex: &self.graph.vertex(id).digest,
            client: &*self.context.client,
            watch: &*self.context.watch,
            cancel: &self.cancel,
        }
    }

    /// A vertex as it is before it begins.
    pub(super) fn state(&self, id: VertexId) -> VertexState {
        let vertex = self.graph.vertex(id);
        let inputs = self.inputs(id);
        VertexState {
            digest: vertex.digest.clone(),
            inputs: inputs
                .map(|input| self.graph.vertex(input).digest.clone())
                .collect(),
            name: match vertex.metadata.name.as_str() {
                "" => super::key::described(&vertex.op),
                name => name.to_owned(),
            },
            cached: false,
            started: None,
            completed: None,
            error: String::new(),
            group: vertex.metadata.group.clone(),
            location: vertex.metadata.location.clone(),
            description: vertex.metadata.description.clone(),
        }
    }

    pub(super) fn tell(&self, state: &VertexState) {
        self.context
            .watch
            .tell(Event::Vertex(Box::new(state.clone())));
    }

    /// Tells that a vertex begins, and how it ends.
    pub(super) fn told<T>(
        &self,
        id: VertexId,
        work: impl FnOnce(&mut VertexState) -> Result<T, Arc<WorldError>>,
    ) -> Result<T, Arc<WorldError>> {
        let mut state = self.state(id);
        state.started = Some(Timestamp::now());
        self.tell(&state);
        let result = work(&mut state);
        state.completed = Some(Timestamp::now());
        if let Err(error) = &result {
            state.error = error.full_message();
        }
        self.tell(&state);
        result
    }
}
