//! The builds under way, by the name that their clients gave them: several calls belong to one.

use super::failure;
use super::progress::Progress;
use bollard_buildkit_proto::moby::buildkit::v1::frontend;
use hull_engine::build::plan::{Plan, PlannedImage};
use hull_engine::build::solve::{Context, Solution, Solver};
use hull_engine::build::world::Cancel;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// The longest name of a build, bytes.
const MAX_NAME: usize = 256;
/// No build has more results, and no daemon more builds.
const MAX_RESULTS: usize = 10_000;
const MAX_BUILDS: usize = 1_000;
/// So many builds are kept that have ended before somebody asked what they told.
const MAX_UNASKED: usize = 8;
/// How long a call waits for the build it belongs to: it is made beside the one that begins it.
const BUILD_WAIT: Duration = Duration::from_secs(6);

/// One of the images of a plan.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) plan: Arc<Plan>,
    /// Its place in the plan.
    image: usize,
}

impl Planned {
    /// All of a plan.
    pub(super) fn all(plan: &Arc<Plan>) -> Vec<Self> {
        let count = plan.images.len();
        let one = |image| Self {
            plan: Arc::clone(plan),
            image,
        };
        (0..count).map(one).collect()
    }

    pub(super) fn image(&self) -> &PlannedImage {
        &self.plan.images[self.image]
    }
}

/// Files that were made once.
#[derive(Debug)]
struct Made {
    _plan: Arc<Plan>,
    solution: Mutex<Option<Arc<Solution>>>,
}

/// What is to be exported.
#[derive(Clone, Debug, Default)]
pub(super) struct Returned {
    /// What there is, with the client's name of the platform where there are several.
    pub(super) images: Vec<(String, Planned)>,
    /// What the client says about it.
    pub(super) metadata: HashMap<String, Vec<u8>>,
}

/// A build under way.
#[derive(Debug)]
pub(super) struct Build {
    name: String,
    /// The client's session.
    pub(super) session: String,
    pub(super) progress: Arc<Progress>,
    pub(super) context: Context,
    results: Mutex<HashMap<String, Planned>>,
    solved: Mutex<HashMap<(usize, usize), Arc<Made>>>,
    returned: Mutex<Option<Result<Returned, Status>>>,
    came: Notify,
}

impl Build {
    pub(super) fn new(
        (name, session): (&str, &str),
        progress: Arc<Progress>,
        context: Context,
    ) -> Self {
        Self {
            name: name.to_owned(),
            session: session.to_owned(),
            progress,
            context,
            results: Mutex::default(),
            solved: Mutex::default(),
            returned: Mutex::default(),
            came: Notify::new(),
        }
    }

    /// What its client calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn results(&self) -> MutexGuard<'_, HashMap<String, Planned>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a result; what it is known by.
    ///
    /// # Errors
    /// `ResourceExhausted` when there are too many.
    pub(super) fn keep(&self, result: Planned) -> Result<String, Status> {
        let mut results = self.results();
        if results.len() >= MAX_RESULTS {
            return Err(Status::resource_exhausted("too many results"));
        }
        let id = format!("{}-{}", self.name, results.len());
        results.insert(id.clone(), result);
        Ok(id)
    }

    /// A result that was kept.
    ///
    /// # Errors
    /// `Unknown`, as BuildKit has it.
    pub(super) fn result(&self, id: &str) -> Result<Planned, Status> {
        let found = self.results().get(id).cloned();
        found.ok_or_else(|| Status::unknown(format!("no such ref: {id}")))
    }

    /// The files of a result, which are made at most once, and stay as long as the build; `None`: there are none.
    /// Blocks.
    ///
    /// # Errors
    /// The step's that failed.
    pub(super) fn solution(
        &self,
        solver: &Solver,
        planned: &Planned,
    ) -> Result<Option<Arc<Solution>>, Status> {
        let Some(output) = planned.image().output else {
            return Ok(None);
        };
        // The plan lives as long as the build: it is one of its results, or held with this one.
        let key = (Arc::as_ptr(&planned.plan).addr(), planned.image);
        let made = {
            let mut solved = self.solved.lock().unwrap_or_else(PoisonError::into_inner);
            let made = solved.entry(key).or_insert_with(|| {
                Arc::new(Made {
                    _plan: Arc::clone(&planned.plan),
                    solution: Mutex::default(),
                })
            });
            Arc::clone(made)
        };
        // Who comes second waits for the first.
        let mut place = made.solution.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(solution) = &*place {
            return Ok(Some(Arc::clone(solution)));
        }
        let solved = solver.solve(&planned.plan.graph, &[output], &self.context);
        let solved = solved.map_err(|error| failure::of_solve(&error, &planned.plan.sources))?;
        *place = solved.into_iter().next().map(Arc::new);
        Ok(place.clone())
    }

    /// Sets what the client has made of it; the first counts.
    pub(super) fn give(&self, returned: Result<Returned, Status>) {
        let mut place = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        place.get_or_insert(returned);
        drop(place);
        self.came.notify_waiters();
    }

    /// Waits for what the client makes of it.
    pub(super) async fn returned(&self) -> Result<Returned, Status> {
        loop {
            let came = self.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            let returned = self
                .returned
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let Some(returned) = returned {
                return returned;
            }
            came.await;
        }
    }

    /// The results that a client's message names.
    ///
    /// # Errors
    /// For one that there is not.
    pub(super) fn named(&self, result: frontend::Result) -> Result<Returned, Status> {
        use frontend::result::Result as Named;
        let mut named: Vec<(String, String)> = match result.result {
            None => Vec::new(),
            Some(Named::RefDeprecated(id)) => vec![(String::new(), id)],
            Some(Named::Ref(one)) => vec![(String::new(), one.id)],
            Some(Named::RefsDeprecated(all)) => all.refs.into_iter().collect(),
            Some(Named::Refs(all)) => {
                let all = all.refs.into_iter();
                all.map(|(platform, one)| (platform, one.id)).collect()
            }
        };
        named.sort();
        let named = named.into_iter().filter(|(_, id)| !id.is_empty());
        let images = named.map(|(platform, id)| Ok((platform, self.result(&id)?)));
        Ok(Returned {
            images: images.collect::<Result<_, Status>>()?,
            metadata: result.metadata,
        })
    }
}

/// All builds under way.
#[derive(Debug, Default)]
pub(super) struct Builds {
    active: Mutex<HashMap<String, Arc<Build>>>,
    /// What builds told that nobody has asked about yet: the question is made beside the build, and may be late.
    unasked: Mutex<VecDeque<(String, Arc<Progress>)>>,
    came: Notify,
}

/// A build's place among the others. Its end is the build's.
#[derive(Debug)]
pub(super) struct Active {
    builds: Arc<Builds>,
    pub(super) build: Arc<Build>,
    cancel: Cancel,
    token: CancellationToken,
}

impl Drop for Active {
    fn drop(&mut self) {
        let mut active = self.builds.active();
        if !self.build.progress.is_read() {
            let mut unasked = self.builds.unasked();
            unasked.truncate(MAX_UNASKED - 1);
            let told = Arc::clone(&self.build.progress);
            unasked.push_front((self.build.name.clone(), told));
        }
        active.remove(&self.build.name);
        drop(active);
        self.token.cancel();
        self.cancel.cancel();
        self.build.progress.end();
    }
}

impl Builds {
    fn unasked(&self) -> MutexGuard<'_, VecDeque<(String, Arc<Progress>)>> {
        self.unasked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the build of that name tells, or told if it has just ended.
    ///
    /// # Errors
    /// As [`Builds::get`].
    pub(super) async fn progress(&self, name: &str) -> Result<Arc<Progress>, Status> {
        let look = || {
            let active = self.active();
            if let Some(build) = active.get(name) {
                return Some(Arc::clone(&build.progress));
            }
            let mut unasked = self.unasked();
            let place = unasked.iter().position(|(ended, _)| ended == name)?;
            unasked.remove(place).map(|(_, told)| told)
        };
        self.wait(name, look).await
    }

    fn active(&self) -> MutexGuard<'_, HashMap<String, Arc<Build>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a build. With the returned value it ends, and `token` is cancelled.
    ///
    /// # Errors
    /// When there is one of that name, or too many.
    pub(super) fn begin(
        self: &Arc<Self>,
        build: Build,
        token: CancellationToken,
    ) -> Result<Active, Status> {
        let name = build.name.clone();
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Status::invalid_argument("a build needs a short name"));
        }
        let cancel = build.context.cancel.clone();
        let build = Arc::new(build);
        let mut active = self.active();
        if active.contains_key(&name) {
            return Err(Status::unknown(format!("job ID {name} exists")));
        }
        if active.len() >= MAX_BUILDS {
            return Err(Status::resource_exhausted("too many builds"));
        }
        active.insert(name, Arc::clone(&build));
        drop(active);
        self.came.notify_waiters();
        Ok(Active {
            builds: Arc::clone(self),
            build,
            cancel,
            token,
        })
    }

    /// Ends the build of that name, if there is one.
    pub(super) fn cancel(&self, name: &str) {
        let found = self.active().get(name).cloned();
        if let Some(build) = found {
            build.context.cancel.cancel();
        }
    }

    /// The build of that name; waits a little for it to begin.
    ///
    /// # Errors
    /// `NotFound`, as BuildKit has it.
    pub(super) async fn get(&self, name: &str) -> Result<Arc<Build>, Status> {
        self.wait(name, || self.active().get(name).cloned()).await
    }

    /// Waits a little for what is there when the build has begun.
    async fn wait<T>(&self, name: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Status> {
        let begins = async {
            loop {
                let came = self.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                if let Some(found) = look() {
                    return found;
                }
                came.await;
            }
        };
        let found = tokio::time::timeout(BUILD_WAIT, begins).await;
        found.map_err(|_| Status::not_found(format!("no such job {name}")))
    }
}
