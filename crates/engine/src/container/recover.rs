//! After a restart of the daemon: what became of the containers.

use super::exit::wants_restart;
use super::live::Container;
use super::record::Record;
use super::state::Event;
use super::{Exit, NetworkMode, RestartPolicy, State};
use crate::{Engine, Result};
use hull_image::Snapshotter;
use hull_shim::protocol::Snapshot;
use hull_shim::{Events, ExitRecord, Handle};
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Shims are asked by so many threads: each question waits for two processes to get their turn.
const THREADS: usize = 8;

/// How long a shim may take to answer, on a machine with much to do. One that takes longer is taken to be as it was,
/// and waited for in the background.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long when another one did not answer: somebody has stopped many, perhaps.
const SHORT_PATIENCE: Duration = Duration::from_millis(200);

/// What became of one container.
#[derive(Default)]
struct Found {
    /// The shim of one that runs, with its events unless it does not answer.
    running: Option<(Handle, Option<Events>)>,
    /// Its row is to be written anew.
    changed: bool,
    /// It is to go: it ended, and was to be removed then.
    goes: bool,
    /// It ended while nobody looked, with this code after so long.
    ended: Option<(i32, Duration)>,
}

impl Engine {
    /// Reads the containers, finds the shims of those that run, writes down the ends of the others,
    /// and removes what nobody owns. Called once, before anybody else can call.
    pub(crate) fn recover_containers(self: &Arc<Self>) -> Result<()> {
        self.recover_volumes()?;
        let records = self.rows.containers()?.into_iter();
        let containers: Vec<Arc<Container>> = records
            .map(|record| Arc::new(Container::new(self.with_places(record))))
            .collect();
        for container in &containers {
            self.adopt_name(container);
            self.name_volumes(&container.record());
        }
        self.adopt_snapshots(&containers);
        let found = self.look_at_all(&containers);
        self.settle(&containers, &found);
        self.sweep();
        self.sweep_contexts();
        self.sweep_checkouts();
        self.unmount_unused();
        let both = containers.iter().zip(found);
        let running: Vec<_> = both
            .filter_map(|(container, found)| Some((container, found.running?)))
            .collect();
        let live: Vec<Record> = running
            .iter()
            .map(|(container, _)| container.record())
            .collect();
        self.sweep_memory(&live);
        if let Err(error) = self.recover_networks(&live) {
            // Containers go on with the network they have; the next one that needs the bridge says why not.
            tracing::warn!(error = %error.full_message(), "the network was not cleaned up");
        }
        for (container, (shim, events)) in running {
            match events {
                Some(events) => self.watch(container, &shim, super::exit::stream_of(events)?),
                None => self.await_shim(container, shim),
            }
            self.watch_health(container);
        }
        self.resume_policies();
        Ok(())
    }

    /// The rows of containers may be in the exec root only, where those of their snapshots are not.
    fn adopt_snapshots(&self, containers: &[Arc<Container>]) {
        let known: HashSet<String> = match self.snapshots.keys() {
            Ok(keys) => keys.into_iter().collect(),
            // Then nothing is swept either.
            Err(_) => return,
        };
        for container in containers.iter().filter(|c| !known.contains(&c.id)) {
            self.adopt_snapshot(&container.record());
        }
    }

    /// Gives a container's snapshot its row again; that it cannot is told when the row is asked for.
    pub(super) fn adopt_snapshot(&self, record: &Record) {
        let image = record.image_id.parse().ok();
        let image = image.and_then(|id| self.store.image(&id).ok());
        let adopted = image.map(|image| self.snapshots.adopt(&record.id, &image.layers));
        if let Some(Err(error)) = adopted {
            tracing::warn!(container = record.id, %error, "a container's snapshot was not found");
        }
    }

    /// What became of each, in their order.
    fn look_at_all(&self, containers: &[Arc<Container>]) -> Vec<Found> {
        let each = containers.len().div_ceil(THREADS).max(1);
        let silence = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let look = |part: &[Arc<Container>]| {
                let found = part
                    .iter()
                    .map(|container| self.recover_one(container, silence));
                found.collect::<Vec<_>>()
            };
            let parts = containers.chunks(each);
            let parts = parts.map(|part| scope.spawn(move || look(part)));
            let parts: Vec<_> = parts.collect();
            let joined = parts.into_iter().flat_map(|part| match part.join() {
                Ok(found) => found,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect()
        })
    }

    /// Writes down what was found, and tells of the ends.
    fn settle(self: &Arc<Self>, containers: &[Arc<Container>], found: &[Found]) {
        let both = || containers.iter().zip(found);
        let changed: Vec<_> = both()
            .filter(|(_, found)| found.changed && !found.goes)
            .map(|(container, _)| Arc::clone(container))
            .collect();
        let gone: Vec<String> = both()
            .filter(|(_, found)| found.goes)
            .map(|(container, _)| container.id.clone())
            .collect();
        if let Err(error) = self.rows.settle(&changed, &gone) {
            // The next daemon would find the same. On a full disk this one is needed to make room.
            tracing::error!(error = %error.full_message(), "what became of containers was not written down");
        }
        for (container, found) in both() {
            self.leave_volumes(container, found);
            if let Some((code, ran)) = found.ended {
                self.tell_end(container, code, ran);
            }
            if found.goes {
                let name = container.read(|record| record.name.clone());
                self.forget(&container.id, &name);
                self.tell_container(container, "destroy", &[]);
            }
        }
    }

    /// Lets go of the volumes of a container that ended, or goes. What programs have to be asked for, a thread asks
    /// for: one that hangs holds up nobody but who wants to start this container.
    fn leave_volumes(self: &Arc<Self>, container: &Arc<Container>, found: &Found) {
        let (ended, goes) = (found.ended.is_some(), found.goes);
        let record = container.record();
        let leave = move |engine: &Self| {
            if ended {
                engine.unmount_volumes(&record);
            }
            if goes {
                engine.release_volumes(&record, true);
            }
        };
        if !self.has_foreign_volumes(&container.record()) {
            return leave(self);
        }
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        let (held, begun) = std::sync::mpsc::channel();
        let work = move || {
            let _operation = container.operation.blocking_lock();
            // The error would mean that nobody waits.
            let _ = held.send(());
            leave(&engine);
        };
        let name = "volumes".to_owned();
        match std::thread::Builder::new().name(name).spawn(work) {
            Ok(_) => drop(begun.recv()),
            Err(error) => tracing::error!(%error, "volumes of a container stay mounted"),
        }
    }

    /// Rows of versions that knew one network only: what they had becomes a place of the default bridge.
    fn with_places(&self, mut record: Record) -> Record {
        if record.networks.is_some() {
            return record;
        }
        let name = match &record.config.network {
            NetworkMode::Container(_) => None,
            mode => Some(mode.text()),
        };
        let place = record.endpoint.take().unwrap_or_default();
        record.networks = Some(
            name.map(|name| (name, Box::new(place)))
                .into_iter()
                .collect(),
        );
        record
    }

    fn recover_one(&self, container: &Container, silence: &AtomicBool) -> Found {
        let record = container.record();
        let bundle = self.bundle_dir(&record.id);
        let patience = match silence.load(Ordering::Relaxed) {
            true => SHORT_PATIENCE,
            false => PATIENCE,
        };
        let shim = Handle::connect(&bundle, patience)
            .and_then(|(shim, snapshot)| Ok((shim.events()?, shim, snapshot)));
        let mut found = Found::default();
        match shim {
            Ok((events, shim, snapshot))
                if snapshot.started
                    && !matches!(record.state, State::Created { .. } | State::Exited { .. }) =>
            {
                found.changed = adopt_state(container, &record, &snapshot);
                container.run.begin_with(snapshot.pid);
                found.running = Some((shim, Some(events)));
                return found;
            }
            // Created but not acknowledged: as if it had not been asked.
            Ok((_, shim, _)) => self.end_unacknowledged(&record, &shim),
            // Whatever it is about, its container's process is there.
            Err(hull_shim::Error::Silent { .. }) => {
                silence.store(true, Ordering::Relaxed);
                if let Some(pid) = record.state.pid() {
                    container.run.begin_with(pid);
                    found.running = Some((Handle::assume(&bundle, pid), None));
                    return found;
                }
            }
            Err(_) => {}
        }
        if record.is_running() {
            found.ended = Some(self.take_missed_end(container, &record));
            found.changed = true;
        } else if bundle.exists() || self.has_remains(&record.id) {
            self.end_shim(&record);
        }
        found.goes = container.read(|record| {
            let over = matches!(
                record.state,
                State::Exited { .. } | State::Created { failed: Some(_) }
            );
            record.config.auto_remove && over
        });
        found
    }

    /// Has a thread wait until a shim answers, or is gone. Meanwhile its container is taken to be as it was.
    fn await_shim(self: &Arc<Self>, container: &Arc<Container>, shim: Handle) {
        tracing::warn!(container = %container.id, "a container's shim does not answer");
        container.link().shim = Some(shim.clone());
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        let runtime = tokio::runtime::Handle::current();
        let wait = move || {
            let events = shim.await_events();
            let _inside = runtime.enter();
            if events.is_ok() {
                engine.adopt_late(&container, &shim);
            }
            match events.map(super::exit::stream_of) {
                Ok(Ok(events)) => engine.watch(&container, &shim, events),
                _ => engine.follow_none(&container),
            }
        };
        let name = "silent-shim".to_owned();
        if let Err(error) = std::thread::Builder::new().name(name).spawn(wait) {
            tracing::error!(%error, "nobody waits for a shim that does not answer");
        }
    }

    /// What a shim that was silent has to tell now, unless its container has ended for somebody else.
    fn adopt_late(&self, container: &Container, shim: &Handle) {
        // Asked for while nobody changes it: what others were told meanwhile counts.
        let _operation = container.operation.blocking_lock();
        let (record, snapshot) = (container.record(), shim.snapshot());
        if let Ok(snapshot) = snapshot
            && record.is_running()
            && adopt_state(container, &record, &snapshot)
            && let Err(error) = self.rows.put(&container.record())
        {
            tracing::warn!(container = %container.id, error = %error.full_message(), "a container's state was not written down");
        }
    }

    fn end_unacknowledged(&self, record: &Record, shim: &Handle) {
        let _ = shim.kill(9);
        self.end_shim(record);
    }

    /// It ran when the last daemon ended, and does not now. Gives the exit code, and how long it ran.
    fn take_missed_end(&self, container: &Container, record: &Record) -> (i32, Duration) {
        let told = ExitRecord::read(&self.exit_file(&record.id)).ok().flatten();
        let (code, at) = match &told {
            Some(told) => (told.exit_code, told.exited_at.parse().ok()),
            // Nobody saw it end: its shim was killed, or, where not even its bundle is left, the host was
            // restarted. The codes are dockerd's.
            None if self.bundle_dir(&record.id).exists() => (137, None),
            None => (255, None),
        };
        let exit = Exit {
            code,
            oom_killed: told.is_some_and(|told| told.oom_killed),
            at: at.unwrap_or_else(Timestamp::now),
            error: String::new(),
        };
        self.end_shim(record);
        container.change(Record::idle_places);
        let again = wants_restart(record, code);
        let ran = record.state.started();
        let ran = ran.and_then(|started| Duration::try_from(exit.at.duration_since(started)).ok());
        let ran = ran.unwrap_or_default();
        let _ = container.apply(Event::Exited(exit));
        container.change(Record::end_health);
        if again {
            let _ = container.apply(Event::WillRestart);
            container.change(|record| record.count_restart(ran));
        }
        container.tell(|progress| {
            progress.running = again;
            progress.last.code = code;
        });
        (code, ran)
    }

    /// Removes snapshots and directories that belong to no container.
    fn sweep(&self) {
        let known: HashSet<String> = self
            .containers()
            .iter()
            .map(|container| container.id.clone())
            .collect();
        for parent in [
            self.config.data_root.join("containers"),
            self.config.exec_root.join("containers"),
        ] {
            for entry in fs_err::read_dir(&parent).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let id = name
                    .trim_end_matches(".exit.json.tmp")
                    .trim_end_matches(".exit.json");
                if known.contains(id) {
                    continue;
                }
                if entry.path().join(hull_shim::files::PID).exists() {
                    self.end_stray(&entry.path(), id);
                }
                let removed = if entry.path().is_dir() {
                    fs_err::remove_dir_all(entry.path())
                } else {
                    fs_err::remove_file(entry.path())
                };
                if let Err(error) = removed {
                    tracing::warn!(%error, "what is left of a container was not removed");
                }
            }
        }
        self.sweep_runtimes(&known);
        // Last: until its process ends, what a stray was given is mounted and written.
        for key in self.snapshots.keys().unwrap_or_default() {
            // A container's own, or that of an image it has mounted: `<id>-image-<n>`.
            let owner = key.split('-').next().unwrap_or(&key);
            if !known.contains(owner)
                && !self.builds.owns(&key)
                && let Err(error) = self.snapshots.remove(&key)
            {
                tracing::warn!(%error, "a snapshot without a container was not removed");
            }
        }
    }

    /// Starts what restart policies say: those that were waiting, and those that a new daemon is to
    /// start though they had ended for good. Those that need others' networks come after these.
    fn resume_policies(self: &Arc<Self>) {
        let mut waves: [Vec<Arc<Container>>; 2] = Default::default();
        for container in self.containers() {
            if container.read(resumes) {
                // Only in memory: until it runs, the next daemon would decide the same.
                let _ = container.apply(Event::WillRestart);
                container.tell(|progress| progress.running = true);
            }
            if container.read(|record| matches!(record.state, State::Restarting { .. })) {
                let wave = usize::from(container.read(needs_others));
                waves[wave].push(container);
            }
        }
        let engine = Arc::clone(self);
        let resume = async move {
            for wave in waves {
                let starting = wave.iter().map(|container| engine.restart_now(container));
                futures_util::future::join_all(starting).await;
            }
        };
        // Boxed and told to be Send: starting and ending call each other.
        tokio::spawn(Box::pin(resume) as futures_util::future::BoxFuture<'static, ()>);
    }
}

/// The kernel's word counts: the last daemon may have died between acting and writing it down. Tells whether
/// the state has changed.
fn adopt_state(container: &Container, record: &Record, found: &Snapshot) -> bool {
    container.change(|record| record.out_of_memory |= found.out_of_memory);
    let event = match (&record.state, found.paused) {
        (State::Running { .. }, true) => Some(Event::Froze),
        (State::Paused { .. }, false) => Some(Event::Thawed),
        // Its restart policy has started it.
        (State::Restarting { .. }, _) => Some(Event::Started {
            pid: found.pid,
            at: Timestamp::now(),
        }),
        _ => None,
    };
    event.is_some_and(|event| container.apply(event).is_ok())
}

/// Whether a container can start only when others run.
fn needs_others(record: &Record) -> bool {
    matches!(record.config.network, NetworkMode::Container(_)) || !record.config.links.is_empty()
}

/// Whether a new daemon starts an ended container: dockerd does so even with one that was stopped by
/// hand, unless its policy is `unless-stopped`.
fn resumes(record: &Record) -> bool {
    let State::Exited { exit, .. } = &record.state else {
        return false;
    };
    match record.config.restart {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !record.stopped_on_request,
        RestartPolicy::OnFailure { max_retries } => {
            exit.code != 0 && (max_retries == 0 || record.restart_count < max_retries)
        }
    }
}
