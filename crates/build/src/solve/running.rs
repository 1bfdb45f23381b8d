//! A step under way, for all builds that wait for it.

use super::done::Done;
use super::{Context, Shared};
use crate::progress::{Event, Watch};
use crate::world::{Cancel, WorldError};
use hull_spec::Digest;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of output that are kept for builds that come later.
const BACKLOG: usize = 1 << 20;

/// What became of a step.
pub(super) type StepResult = Result<Arc<Done>, Arc<WorldError>>;

/// A step under way.
pub(super) struct Running {
    /// Asked for when nobody waits any more.
    pub(super) cancel: Cancel,
    state: Mutex<State>,
    changed: Condvar,
    /// Not a part of the state: who is told something may ask for the end while it is told, and that wakes who waits.
    told: Mutex<Told>,
}

#[derive(Default)]
struct State {
    waiting: usize,
    /// Nobody waited: it ends, and is no one's any more.
    abandoned: bool,
    result: Option<StepResult>,
}

#[derive(Default)]
struct Told {
    watches: Vec<(u64, Arc<dyn Watch>)>,
    next: u64,
    backlog: Vec<Event>,
    kept: usize,
}

impl Running {
    fn new() -> Self {
        Self {
            cancel: Cancel::new(),
            state: Mutex::default(),
            changed: Condvar::new(),
            told: Mutex::default(),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins those who wait; `false` when the step ends because nobody did.
    fn join(&self) -> bool {
        let mut state = self.state();
        state.waiting += usize::from(!state.abandoned);
        !state.abandoned
    }

    /// Waits for the result, or for the end of this build.
    fn wait(&self, context: &Context, cancel: &Cancel, me: &Arc<Self>) -> StepResult {
        let number = self.listen(Arc::clone(&context.watch));
        let woken = Arc::clone(me);
        let _wakes = cancel.on_cancel(move || {
            // Between look and wait nobody would hear it.
            drop(woken.state());
            woken.changed.notify_all();
        });
        let mut state = self.state();
        while state.result.is_none() && !cancel.is_cancelled() {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        // The last one leaves nothing: the thread that did the step may take a while to end.
        let result = match state.waiting {
            0 => state.result.take(),
            _ => state.result.clone(),
        };
        state.abandoned = result.is_none() && state.waiting == 0;
        let abandoned = state.abandoned;
        drop(state);
        if abandoned {
            self.cancel.cancel();
        }
        self.told().watches.retain(|(other, _)| *other != number);
        result.unwrap_or_else(|| Err(Arc::new(WorldError::Cancelled)))
    }

    /// Tells what was, and from now on what is.
    fn listen(&self, watch: Arc<dyn Watch>) -> u64 {
        let mut told = self.told();
        for event in &told.backlog {
            watch.tell(event.clone());
        }
        let number = told.next;
        told.next += 1;
        told.watches.push((number, watch));
        number
    }

    fn finish(&self, result: StepResult) {
        let mut state = self.state();
        if !state.abandoned {
            state.result = Some(result);
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl Watch for Running {
    fn tell(&self, event: Event) {
        let mut told = self.told();
        let size = match &event {
            Event::Log(log) => log.bytes.len() + 64,
            _ => 256,
        };
        if told.kept + size <= BACKLOG {
            told.kept += size;
            told.backlog.push(event.clone());
        }
        let watches: Vec<Arc<dyn Watch>> = told
            .watches
            .iter()
            .map(|(_, watch)| Arc::clone(watch))
            .collect();
        drop(told);
        // Who takes long holds up nobody who joins or leaves.
        for watch in watches {
            watch.tell(event.clone());
        }
    }
}

/// Does a step, or waits for the one who is at it; also tells whether it was done for this build.
pub(super) fn together(
    shared: &Arc<Shared>,
    key: &Digest,
    (context, cancel): (&Context, &Cancel),
    work: impl FnOnce(Arc<Running>) -> StepResult + Send + 'static,
) -> (StepResult, bool) {
    let all = || {
        shared
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    };
    let mut running = all();
    let known = running.get(key).filter(|step| step.join()).cloned();
    if let Some(step) = known {
        drop(running);
        return (step.wait(context, cancel, &step), false);
    }
    let step = Arc::new(Running::new());
    step.join();
    running.insert(key.clone(), Arc::clone(&step));
    drop(running);
    let (doing, owner, own) = (Arc::clone(&step), Arc::clone(shared), key.clone());
    let thread = std::thread::Builder::new().name("build-step".to_owned());
    let spawned = thread.spawn(move || {
        let caught = std::panic::AssertUnwindSafe(|| work(Arc::clone(&doing)));
        let result = std::panic::catch_unwind(caught).unwrap_or_else(|_| {
            Err(Arc::new(WorldError::other(
                "the builder failed at this step",
            )))
        });
        let mut running = owner.running.lock().unwrap_or_else(PoisonError::into_inner);
        // It may be another's by now, if nobody waited for this one.
        if running
            .get(&own)
            .is_some_and(|found| Arc::ptr_eq(found, &doing))
        {
            running.remove(&own);
        }
        drop(running);
        doing.finish(result);
    });
    if let Err(error) = spawned {
        all().remove(key);
        step.finish(Err(Arc::new(WorldError::caused("start a thread", error))));
    }
    (step.wait(context, cancel, &step), true)
}
