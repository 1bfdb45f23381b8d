//! `start`.
//!
//! ```text
//! network namespace and place on the bridge   undone in reverse when a later step fails
//! hosts, hostname, resolv.conf, config.json
//! shim: root mounted, runtime create
//! clients that attached before are connected
//! runtime start
//! ```

use super::bundle::Init;
use super::live::{Container, Pending};
use super::state::Event;
use super::{Exit, LogDriver, NetworkMode, Paths, PidMode, State, WaitResult, bundle, gpus};
use crate::container::record::Record;
use crate::network::{Wired, published};
use crate::{Engine, Error, ErrorKind, Result, RuntimeProgram, blocking};
use hull_image::Snapshotter;
use hull_shim::{Handle, Launch};
use hull_spec::rootfs::RootFs;
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::UnixStream;

/// A container that has just been started.
struct Started {
    shim: Handle,
    events: UnixStream,
}

impl Engine {
    /// Starts a container.
    ///
    /// # Errors
    /// `AlreadyInThatState` when it runs or its restart policy is about to start it, `Conflict` when it is
    /// paused or being removed, and what the runtime said when it could not be started.
    pub async fn start(self: &Arc<Self>, name: &str) -> Result<()> {
        self.start_from(name, None).await
    }

    /// Starts a container where a checkpoint in this directory left it.
    pub(super) async fn start_from(
        self: &Arc<Self>,
        name: &str,
        checkpoint: Option<PathBuf>,
    ) -> Result<()> {
        let container = self.find(name)?;
        let _operation = container.operation.lock().await;
        container.read(|record| match record.state {
            State::Restarting { .. } => Err(already_running()),
            ref state => may_start(state),
        })?;
        container.change(|record| {
            record.stopped_on_request = false;
            record.restart_count = 0;
            record.short_runs = 0;
        });
        container.link().restore = checkpoint;
        let started = self.start_locked(&container).await;
        // Also when it did not get that far.
        container.link().restore = None;
        started
    }

    /// Starts a container whose operation lock is held.
    pub(super) async fn start_locked(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        may_start(&container.record().state)?;
        let engine = Arc::clone(self);
        let starting = Arc::clone(container);
        let started = blocking(move || engine.start_blocking(&starting)).await;
        match started {
            Ok(Started { shim, events }) => {
                container.tell(|progress| progress.running = true);
                self.tell_networks(container, "connect");
                self.tell_container(container, "start", &[]);
                self.watch(container, &shim, events);
                self.watch_health(container);
                Ok(())
            }
            Err(error) => {
                container.refuse_pending(&error);
                self.tell_networks(container, "disconnect");
                if container.read(|record| record.config.auto_remove)
                    && let Err(error) = self.remove_locked(container, true).await
                {
                    tracing::warn!(container = %container.id, error = %error.full_message(), "auto-remove failed");
                }
                Err(error)
            }
        }
    }

    fn start_blocking(&self, container: &Arc<Container>) -> Result<Started> {
        let outcome = self.wire(container).and_then(|wired| {
            let brought_up = self.bring_up(container, wired);
            let kept = brought_up.and_then(|started| {
                // What cannot be written down would be lost with this daemon: not acknowledged, so ended.
                let kept = self.keep_started(container, started.shim.pid());
                kept.map(|()| started)
            });
            if kept.is_err() {
                container.link().shim = None;
                // Also what a shim that was killed has left: its container may wait for its start, or run.
                self.end_shim(&container.record());
                self.unmount_volumes(&container.record());
                self.unwire(container);
                self.release_memory(container);
            }
            kept
        });
        if let Err(error) = &outcome {
            self.keep_failure(container, error);
        }
        outcome
    }

    /// Writes down that a container runs, then shows it.
    fn keep_started(&self, container: &Container, pid: i32) -> Result<()> {
        let mut record = container.record();
        let at = Timestamp::now();
        record.state = record
            .state
            .next(Event::Started { pid, at })
            .map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
        record.out_of_memory = false;
        record.begin_health();
        self.rows.put_progress(&record)?;
        container.run.begin();
        container.change(|kept| {
            kept.state = record.state;
            kept.out_of_memory = false;
            kept.health = record.health;
        });
        Ok(())
    }

    fn keep_failure(&self, container: &Container, error: &Error) {
        let failed = Exit {
            code: failure(&error.full_message()).map_or(128, |(code, _)| code),
            oom_killed: false,
            at: Timestamp::now(),
            error: error.full_message(),
        };
        let told = WaitResult {
            code: failed.code,
            error: Some(failed.error.clone()),
        };
        container.tell(|progress| progress.last = told);
        let kept = container
            .apply(Event::StartFailed(failed))
            .map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))
            .and_then(|()| self.rows.put(&container.record()));
        if let Err(error) = kept {
            tracing::warn!(container = %container.id, error = %error.full_message(), "that a container could not be started was not written down");
        }
    }

    /// Tells that a container came into its networks, or left them.
    pub(super) fn tell_networks(&self, container: &Container, action: &str) {
        let places = container.read(|record| record.places().clone());
        for (name, place) in places {
            let row = self
                .networks
                .find(&place.network_id)
                .or_else(|_| self.networks.find(&name));
            if let Ok(live) = row {
                self.tell_network(&live.row(), action, Some(&container.id));
            }
        }
    }

    fn bring_up(&self, container: &Arc<Container>, wired: Wired) -> Result<Started> {
        let mut record = container.record();
        let linked = self.linked(&record)?;
        record.effective.env.extend(linked.env.iter().cloned());
        container.change(|record| record.link_env.clone_from(&linked.env));
        let prepared = self.prepare_mounts(&record)?;
        let files = self.write_files(&record, &linked)?;
        let mut root = self.snapshots.root_fs(&record.id);
        if matches!(root, Err(hull_image::snapshot::Error::Missing(_))) {
            // The database failed on a full disk before it had the row on the disk.
            self.adopt_snapshot(&record);
            root = self.snapshots.root_fs(&record.id);
        }
        let mut root = root.map_err(crate::image::snapshot_error)?;
        if let RootFs::Overlay { volatile, .. } = &mut root {
            // After a loss of power the next daemon removes it.
            *volatile = record.config.auto_remove;
        }
        let (shared, init) = (self.shared(&record)?, self.init_of(&record));
        let context = bundle::Context {
            root: &root,
            files: &files,
            points: &prepared.points,
            netns: wired.netns.as_deref(),
            cgroup_v2: self.cgroups.is_v2(),
            shared: &shared,
            init: init.as_ref(),
        };
        let mut spec = bundle::spec(&record, context)?;
        gpus::add(
            &mut spec,
            &record.config.device_requests,
            &self.config.cdi_directories,
        )?;
        let mut launch = self.launch(&record, root)?;
        launch.sources = prepared.sources;
        launch.restore = container.link().restore.take();
        write_bundle(&launch, &spec)?;
        let shim = Handle::spawn(&self.config.shim, &launch, wired.sockets)
            .map_err(|e| create_failed(&e))?;
        let events = self.begin(container, &shim)?;
        Ok(Started { shim, events })
    }

    /// Connects those who attached before, then lets the process run.
    fn begin(&self, container: &Container, shim: &Handle) -> Result<UnixStream> {
        let events = shim.events().map_err(|e| create_failed(&e))?;
        let events = super::exit::stream_of(events)?;
        let waiting = {
            let mut link = container.link();
            link.shim = Some(shim.clone());
            std::mem::take(&mut link.pending)
        };
        for Pending { options, stream } in waiting {
            let attached = shim
                .attach(super::attach::wanted(options))
                .map_err(|e| create_failed(&e));
            // The error means that the client is gone.
            let _ = stream.send(attached);
        }
        shim.start().map_err(|e| create_failed(&e))?;
        Ok(events)
    }

    /// The init of a container that has one: with process ids of its own, as in Docker.
    fn init_of(&self, record: &Record) -> Option<Init> {
        let own = |program: &RuntimeProgram| program.path.ends_with("hull-runtime");
        let wanted = record.config.init == Some(true) && record.config.pid == PidMode::Private;
        let settings = self.settings();
        let runtime = settings.runtimes.get(&record.effective.runtime);
        match (&self.config.init_path, runtime) {
            _ if !wanted => None,
            (Some(path), _) => Some(Init::Program(path.clone())),
            (None, Some(runtime)) if own(runtime) => Some(Init::Runtime),
            // Executed by that name, Hull's runtime is an init to any other.
            (None, _) => {
                let ours = settings.runtimes.values().find(|program| own(program));
                ours.map(|program| Init::Program(program.path.clone()))
            }
        }
    }

    pub(super) fn launch(
        &self,
        record: &Record,
        rootfs: hull_spec::rootfs::RootFs,
    ) -> Result<Launch> {
        let settings = self.settings();
        let program = settings
            .runtimes
            .get(&record.effective.runtime)
            .ok_or_else(|| {
                let text = format!(
                    "unknown or invalid runtime name: {}",
                    record.effective.runtime
                );
                Error::new(ErrorKind::InvalidInput, text)
            })?;
        let bundle = self.bundle_dir(&record.id);
        Ok(Launch {
            id: record.id.clone(),
            exit_file: self.exit_file(&record.id),
            restore: None,
            root_first: false,
            bundle,
            runtime: program.path.clone(),
            runtime_args: program.args.clone(),
            runtime_root: self.runtime_root(),
            rootfs,
            foreign_mounts: self.store.mounts_dir().map(Into::into),
            foreign_sources: self.volume_mounts(),
            first: matches!(record.state, State::Created { .. }),
            sources: Vec::new(),
            shared_memory: Some(self.memory_dir()),
            log: super::log::config(record, &self.container_dir(&record.id))?,
            receiver: super::log::receiver(
                record,
                &self.container_dir(&record.id),
                &self.config.logger,
            )?,
            held: 0,
            relays: published::relays(&record.publications),
            tty: record.config.tty,
            open_stdin: record.config.open_stdin,
            stdin_once: record.config.stdin_once,
            console_size: record.config.console_size,
            cgroup: Some(super::resources::cgroup(&record.config, &record.id)),
        })
    }

    /// Where the container's files are; those about the network are another's when it shares that one's.
    pub(crate) fn paths(&self, record: &Record) -> Paths {
        let directory = self.container_dir(&record.id);
        let shared = match &record.config.network {
            NetworkMode::Container(other) => self.container_dir(other),
            _ => directory.clone(),
        };
        let log = match record.config.log.driver {
            LogDriver::JsonFile => super::log::place(&directory, record).path,
            // Not for other programs: Docker tells of none either.
            LogDriver::Local | LogDriver::None | LogDriver::Remote(_) => PathBuf::new(),
        };
        Paths {
            resolv_conf: shared.join("resolv.conf"),
            hostname: shared.join("hostname"),
            hosts: shared.join("hosts"),
            log,
        }
    }
}

fn already_running() -> Error {
    Error::new(
        ErrorKind::AlreadyInThatState,
        "container is already running",
    )
}

fn may_start(state: &State) -> Result<()> {
    match state {
        State::Running { .. } => Err(already_running()),
        State::Paused { .. } => Err(Error::new(
            ErrorKind::Conflict,
            "cannot start a paused container, try unpause instead",
        )),
        State::Removing { .. } | State::Dead { .. } => Err(Error::new(
            ErrorKind::Conflict,
            "container is marked for removal and cannot be started",
        )),
        State::Created { .. } | State::Exited { .. } | State::Restarting { .. } => Ok(()),
    }
}

pub(super) fn write_bundle(launch: &Launch, spec: &hull_spec::runtime::Spec) -> Result<()> {
    let write = || -> std::io::Result<()> {
        fs_err::create_dir_all(&launch.bundle)?;
        match fs_err::remove_file(&launch.exit_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs_err::write(launch.bundle.join("config.json"), serde_json::to_vec(spec)?)
    };
    write().map_err(|e| {
        Error::new(
            ErrorKind::Internal,
            "could not write the container's bundle",
        )
        .caused_by(e)
    })
}

/// The words that dockerd wraps a runtime's message in; clients look for parts of them.
pub(super) fn create_failed(error: &hull_shim::Error) -> Error {
    match error {
        hull_shim::Error::Refused(message) => {
            if message.starts_with("cannot access path") {
                return Error::new(ErrorKind::NotFound, message.clone());
            }
            if message.starts_with("failed to initialize logging driver") {
                let text = format!("failed to create task for container: {message}");
                return Error::new(ErrorKind::Internal, text);
            }
            let prefix = "failed to create task for container: failed to create shim task: OCI runtime create failed";
            let text = if message.starts_with("runc") {
                message.clone()
            } else {
                format!("runc create failed: {message}")
            };
            let (kind, hint) = failure(message).map_or((ErrorKind::Internal, ""), |(_, hint)| {
                (ErrorKind::InvalidInput, hint)
            });
            Error::new(kind, format!("{prefix}: {text}{hint}"))
        }
        other => Error::new(ErrorKind::Internal, "failed to create task for container")
            .caused_by(other.to_string()),
    }
}

/// What is the user's own mistake by the message, with the exit code that Docker gives a container
/// whose command could not be run, and what it adds for people.
fn failure(message: &str) -> Option<(i32, &'static str)> {
    const NOT_A_DIRECTORY: &str = ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type";
    let lower = message.to_lowercase();
    let has = |part: &str| lower.contains(part);
    if has("permission denied") {
        Some((126, ""))
    } else if has("not a directory") {
        Some((127, NOT_A_DIRECTORY))
    } else if has("executable file not found") || has("no such file or directory") {
        Some((127, ""))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_decide_the_exit_code() {
        let code = |message| failure(message).map(|(code, _)| code);
        assert_eq!(
            code("exec: \"x\": executable file not found in $PATH"),
            Some(127)
        );
        assert_eq!(
            code("exec: \"/x\": stat /x: no such file or directory"),
            Some(127)
        );
        assert_eq!(code("exec: \"/x\": permission denied"), Some(126));
        assert_eq!(code("mount src=/a, dst=/b: not a directory"), Some(127));
        assert_eq!(code("something else"), None);
    }

    #[test]
    fn kind_and_text_are_dockers() {
        let failed = |message: &str| create_failed(&hull_shim::Error::Refused(message.to_owned()));
        let unknown = failed("runc create failed: out of luck");
        assert_eq!(unknown.kind(), ErrorKind::Internal);
        assert!(
            unknown
                .message()
                .ends_with("OCI runtime create failed: runc create failed: out of luck")
        );
        let mount = failed("dst=/b: not a directory");
        assert_eq!(mount.kind(), ErrorKind::InvalidInput);
        assert!(
            mount
                .message()
                .contains("not a directory: Are you trying to mount")
        );
    }
}
