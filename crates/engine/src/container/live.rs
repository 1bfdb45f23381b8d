//! A container in the running engine: its record, its shim, and who waits for it.

use super::health::Watch;
use super::record::Record;
use super::state::{Event, InvalidTransition};
use super::{AttachOptions, State, WaitResult};
use crate::{Error, ErrorKind, Result};
use hull_shim::Handle;
use jiff::Timestamp;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// A client that attached before the container runs.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) options: AttachOptions,
    pub(crate) stream: oneshot::Sender<Result<UnixStream>>,
}

/// The way to the process.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// While there is a shim.
    pub(crate) shim: Option<Handle>,
    /// Clients to be connected as soon as there is one.
    pub(crate) pending: Vec<Pending>,
    /// The checkpoint from which the start that is about to come goes on.
    pub(crate) restore: Option<PathBuf>,
}

/// Docker's complaint about a container that waits to be started again.
pub(crate) fn restarting(id: &str) -> Error {
    let text = format!("Container {id} is restarting, wait until the container is running");
    Error::new(ErrorKind::Conflict, text)
}

/// What is told to those who wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// It runs, or will be started again by its policy.
    pub(crate) running: bool,
    /// How often it has ended, also if its policy starts it again.
    pub(crate) exits: u64,
    /// How it ended last.
    pub(crate) last: WaitResult,
    /// It is gone.
    pub(crate) removed: bool,
}

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    record: RwLock<Record>,
    link: Mutex<Link>,
    health_watch: Mutex<Option<Watch>>,
    /// Held by whoever changes the container; never while waiting for its process to end.
    pub(crate) operation: tokio::sync::Mutex<()>,
    pub(crate) progress: watch::Sender<Progress>,
    /// Set while it is stopped only to be started again: one that goes with its end stays.
    pub(crate) comes_back: AtomicBool,
    /// When its run began.
    pub(crate) run: Run,
}

/// When a run began: nanoseconds since boot, a clock that nobody can set. 0 when that is not known.
#[derive(Debug, Default)]
pub(crate) struct Run(AtomicU64);

impl Run {
    /// It begins now.
    pub(crate) fn begin(&self) {
        self.0.store(nanoseconds(since_boot()), Ordering::Relaxed);
    }

    /// It began when this process did.
    pub(crate) fn begin_with(&self, pid: i32) {
        let began = hull_linux::procfs::start_time(pid).ok().flatten();
        let began = began.map_or(0, |(ticks, _)| {
            let second = rustix::param::clock_ticks_per_second().max(1);
            ticks.saturating_mul(1_000_000_000 / second)
        });
        self.0.store(began, Ordering::Relaxed);
    }

    fn lasted(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            began => Some(since_boot().saturating_sub(Duration::from_nanos(began))),
        }
    }
}

impl Container {
    pub(crate) fn new(record: Record) -> Self {
        let last = record
            .state
            .exit()
            .map(|exit| WaitResult {
                code: exit.code,
                error: Some(exit.error.clone()).filter(|error| !error.is_empty()),
            })
            .unwrap_or_default();
        let progress = Progress {
            running: record.is_running() || matches!(record.state, State::Restarting { .. }),
            last,
            ..Progress::default()
        };
        Self {
            id: record.id.clone(),
            record: RwLock::new(record),
            link: Mutex::default(),
            health_watch: Mutex::default(),
            operation: tokio::sync::Mutex::default(),
            progress: watch::Sender::new(progress),
            comes_back: AtomicBool::default(),
            run: Run::default(),
        }
    }

    /// How long the present or last run has lasted until now, whatever the clock was set to meanwhile, or by the
    /// clock where nothing else is known. `None` without one.
    pub(crate) fn ran(&self) -> Option<Duration> {
        self.run.lasted().or_else(|| {
            let started = self.read(|record| record.state.started())?;
            let ran = Timestamp::now().duration_since(started);
            Some(Duration::try_from(ran).unwrap_or_default())
        })
    }

    /// A copy of the record as it is now.
    pub(crate) fn record(&self) -> Record {
        self.read(Record::clone)
    }

    /// Looks into the record.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.record.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the record, in memory.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut self.record.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies `event` to the state, in memory.
    pub(crate) fn apply(&self, event: Event) -> Result<(), InvalidTransition> {
        self.change(|record| {
            record.state = record.state.clone().next(event)?;
            Ok(())
        })
    }

    /// The way to the process. Held only for moments.
    pub(crate) fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asks how it is; nobody asks any more when it is taken out.
    pub(crate) fn health_watch(&self) -> MutexGuard<'_, Option<Watch>> {
        self.health_watch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The shim, or Docker's complaint that there is none.
    pub(crate) fn shim(&self) -> Result<Handle> {
        self.link().shim.clone().ok_or_else(|| self.not_running())
    }

    /// Docker's complaint about a container that does not run.
    pub(crate) fn not_running(&self) -> Error {
        Error::new(
            ErrorKind::Conflict,
            format!("container {} is not running", self.id),
        )
    }

    /// Tells those who wait.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    /// Turns away the clients that attached to a container which now will not run.
    pub(crate) fn refuse_pending(&self, why: &Error) {
        for pending in std::mem::take(&mut self.link().pending) {
            let refusal = Error::new(why.kind(), why.full_message());
            // The error means that the client is gone.
            let _ = pending.stream.send(Err(refusal));
        }
    }
}

/// Time since boot, with that spent asleep (`CLOCK_BOOTTIME`, clock_gettime(2)).
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_as_long_as_its_process_lives() {
        let run = Run::default();
        assert_eq!(run.lasted(), None);
        run.begin_with(1);
        let longest = run.lasted().unwrap();
        run.begin_with(std::process::id().cast_signed());
        let own = run.lasted().unwrap();
        assert!(own <= longest && own < Duration::from_secs(3600), "{own:?}");
        run.begin();
        assert!(run.lasted().unwrap() <= own);
        // Nobody is process -1.
        run.begin_with(-1);
        assert_eq!(run.lasted(), None);
    }
}
