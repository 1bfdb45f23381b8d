//! A step's end. Who waits for the step waits until its files are nobody's any more; namespaces, groups and directories
//! are taken away behind that, in a thread.

use crate::Engine;
use crate::container::live::Container;
use hull_shim::protocol::Event;
use hull_shim::{Events, ExitRecord};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Of so many steps something may be left; those after them wait for their own.
const MOST: usize = 16;
/// How long what is left of steps is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Undoes what was done for a step.
pub(super) struct Running {
    pub(super) engine: Arc<Engine>,
    pub(super) container: Arc<Container>,
    /// Whether the shim has cleaned up itself.
    pub(super) cleaned: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let (engine, record) = (&self.engine, self.container.record());
        if !self.cleaned {
            engine.end_shim(&record);
        }
        engine.unwire(&self.container);
        // What is left is swept by the next start.
        let _ = fs_err::remove_dir_all(engine.bundle_dir(&record.id));
        let _ = fs_err::remove_dir_all(engine.container_dir(&record.id));
        let _ = fs_err::remove_file(engine.exit_file(&record.id));
    }
}

/// A step that runs, and then what is left of it: gone when this is dropped.
pub(super) struct Ending {
    running: Running,
    events: Events,
    /// Whether the shim is about to clean up.
    exited: bool,
    /// Whether nobody uses the root any more.
    unmounted: bool,
    /// Given back when all of this is gone: the last member.
    place: Option<Place>,
}

impl Ending {
    pub(super) fn new(running: Running, events: Events) -> Self {
        Self {
            running,
            events,
            exited: false,
            unmounted: false,
            place: None,
        }
    }

    /// Waits until the process has ended and its root is nobody's any more; `None` when the shim was killed.
    pub(super) fn exit(&mut self) -> io::Result<Option<ExitRecord>> {
        let mut exit = None;
        while !self.unmounted
            && let Some(event) = self.events.wait()?
        {
            match event {
                Event::Exited(record) => {
                    exit = Some(record);
                    self.exited = true;
                }
                Event::Unmounted => self.unmounted = true,
                Event::Cleaned => {
                    self.unmounted = true;
                    self.running.cleaned = true;
                }
                Event::OutOfMemory | Event::ExecExited { .. } => {}
            }
        }
        Ok(exit)
    }

    /// Takes away what is left: in a thread where nobody has to wait for it.
    pub(super) fn behind(mut self) {
        if !self.unmounted {
            return;
        }
        self.place = self.running.engine.builds.endings.enter();
        if self.place.is_some() {
            let thread = std::thread::Builder::new().name("build-end".to_owned());
            // Without a thread it is done here.
            let _ = thread.spawn(move || drop(self));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        while self.exited
            && !self.running.cleaned
            && let Ok(Some(event)) = self.events.wait()
        {
            self.running.cleaned = event == Event::Cleaned;
        }
    }
}

/// Steps that have ended, and of which something is left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endings(Arc<Meeting>);

#[derive(Debug, Default)]
struct Meeting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: BTreeSet<u64>,
}

impl Endings {
    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among them; `None` when there are too many.
    fn enter(&self) -> Option<Place> {
        let mut state = self.state();
        let number = state.next;
        if state.open.len() >= MOST {
            return None;
        }
        state.next += 1;
        state.open.insert(number);
        drop(state);
        let all = self.clone();
        Some(Place { all, number })
    }

    /// Waits until nothing is left of the steps that have ended up to now, unless that takes very long: then something
    /// is wrong with a runtime, and the next start looks after it.
    pub(crate) fn wait(&self) {
        let state = self.state();
        let next = state.next;
        let open = |state: &mut State| state.open.first().is_some_and(|oldest| *oldest < next);
        // Nothing panics while it is locked.
        drop(self.0.changed.wait_timeout_while(state, PATIENCE, open));
    }
}

/// One of them.
struct Place {
    all: Endings,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.state().open.remove(&self.number);
        self.all.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_waits_for_those_of_before_only() {
        let endings = Endings::default();
        endings.wait();
        let first = endings.enter().unwrap();
        let waiting = {
            let endings = endings.clone();
            std::thread::spawn(move || endings.wait())
        };
        drop(first);
        waiting.join().unwrap();
        let places: Vec<Place> = std::iter::from_fn(|| endings.enter()).collect();
        assert_eq!(places.len(), MOST);
        drop(places);
        endings.wait();
    }
}
