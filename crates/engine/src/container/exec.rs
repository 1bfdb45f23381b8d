//! Processes started in running containers.

use super::live::Container;
use super::record::Record;
use super::{Config, Seccomp, State, bundle, merge, user};
use crate::exec::{ExecConfig, ExecDetails, ExecStart};
use crate::{Engine, Error, ErrorKind, Result, blocking, names};
use hull_image::Snapshotter;
use hull_shim::{AttachOptions, ExecRequest};
use hull_spec::runtime::Process;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// How far an exec is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    started: bool,
    pid: i32,
    pub(super) exit_code: Option<i32>,
}

/// An exec.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(super) id: String,
    pub(super) container: Arc<Container>,
    config: ExecConfig,
    pub(super) progress: watch::Sender<Progress>,
}

/// All execs: they live as long as their container runs.
#[derive(Debug, Default)]
pub(crate) struct Execs(RwLock<HashMap<String, Arc<Exec>>>);

impl Execs {
    fn insert(&self, exec: Arc<Exec>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(exec.id.clone(), exec);
    }

    fn get(&self, id: &str) -> Result<Arc<Exec>> {
        let found = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned();
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("No such exec instance: {id}")))
    }

    /// The ids of a container's execs that have not ended.
    pub(crate) fn of(&self, container: &str) -> Vec<String> {
        let execs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mine = execs.values().filter(|exec| {
            exec.container.id == container && exec.progress.borrow().exit_code.is_none()
        });
        mine.map(|exec| exec.id.clone()).collect()
    }

    /// A container's processes are gone, and with them what was never told of their end.
    pub(crate) fn container_ended(&self, container: &str) {
        let mut execs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for exec in execs.values().filter(|exec| exec.container.id == container) {
            exec.progress.send_if_modified(|now| {
                let running = now.started && now.exit_code.is_none();
                if running {
                    now.exit_code = Some(137);
                }
                running
            });
        }
        // Those that ended may still be asked for; as in Docker, a new run of the container forgets them.
        execs.retain(|_, exec| {
            exec.container.id != container || exec.progress.borrow().exit_code.is_some()
        });
    }

    /// A container is gone, and nobody asks for its execs any more.
    pub(super) fn container_removed(&self, container: &str) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, exec| exec.container.id != container);
    }

    pub(super) fn forget(&self, id: &str) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    fn forget_ended(&self) {
        /// How many ended execs are kept for who asks late.
        const KEPT: usize = 1000;
        let mut execs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if execs.len() > 2 * KEPT {
            execs.retain(|_, exec| exec.progress.borrow().exit_code.is_none());
        }
    }
}

impl Engine {
    /// Prepares a process in a running container. Returns its id.
    ///
    /// # Errors
    /// `Conflict` when the container does not run, `InvalidInput` without a command.
    pub async fn exec_create(self: &Arc<Self>, name: &str, config: ExecConfig) -> Result<String> {
        let container = self.find(name)?;
        may_exec(&container.record(), name)?;
        if config.args.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "No exec command specified",
            ));
        }
        if !config.user.is_empty() {
            let (engine, exec) = (Arc::clone(self), Arc::clone(&container));
            let user = config.user.clone();
            blocking(move || {
                let found = engine.exec_user(&exec.record(), &user);
                found
                    .map(drop)
                    .map_err(|error| Error::new(ErrorKind::InvalidInput, error.full_message()))
            })
            .await?;
        }
        self.execs.forget_ended();
        Ok(self.new_exec(container, config).id.clone())
    }

    /// Prepares a process: it counts from now on.
    pub(super) fn new_exec(&self, container: Arc<Container>, config: ExecConfig) -> Arc<Exec> {
        let id = names::id();
        self.tell_container(
            &container,
            &format!("exec_create: {}", shown(&config.args)),
            &[("execID", &id)],
        );
        let exec = Arc::new(Exec {
            id,
            container,
            config,
            progress: watch::Sender::default(),
        });
        self.execs.insert(Arc::clone(&exec));
        exec
    }

    /// Starts it. The stream is the process's input and output; `None` when detached.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it was started or the container does not run; what the runtime
    /// said when the command cannot be run.
    pub async fn exec_start(
        self: &Arc<Self>,
        id: &str,
        start: ExecStart,
    ) -> Result<Option<UnixStream>> {
        let exec = self.execs.get(id)?;
        may_exec(&exec.container.record(), &exec.container.id)?;
        let first = exec
            .progress
            .send_if_modified(|now| !std::mem::replace(&mut now.started, true));
        if !first {
            let running = self.exec_inspect(id).await?.running;
            let state = if running {
                "is already running"
            } else {
                "has already run"
            };
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("exec command {id} {state}"),
            ));
        }
        let stream = self.run_exec(&exec, start).await?;
        stream.map(super::attach::to_tokio).transpose()
    }

    /// Runs what was prepared. The stream is for who attaches.
    pub(super) async fn run_exec(
        self: &Arc<Self>,
        exec: &Arc<Exec>,
        start: ExecStart,
    ) -> Result<Option<std::os::unix::net::UnixStream>> {
        let engine = Arc::clone(self);
        let starting = Arc::clone(exec);
        let action = format!("exec_start: {}", shown(&exec.config.args));
        self.tell_container(&exec.container, &action, &[("execID", &exec.id)]);
        match blocking(move || engine.exec_blocking(&starting, start)).await {
            Ok((pid, stream)) => {
                exec.progress.send_modify(|now| now.pid = pid);
                Ok(stream)
            }
            Err(error) => {
                exec.progress
                    .send_modify(|now| now.exit_code = Some(failure_code(error.message())));
                Err(error)
            }
        }
    }

    fn exec_user(&self, record: &Record, user: &str) -> Result<user::Resolved> {
        let root = self
            .snapshots
            .root_fs(&record.id)
            .map_err(crate::image::snapshot_error)?;
        user::resolve(&root, user, &record.config.groups)
    }

    fn exec_blocking(
        &self,
        exec: &Exec,
        start: ExecStart,
    ) -> Result<(i32, Option<std::os::unix::net::UnixStream>)> {
        let config = &exec.config;
        let record = exec.container.record();
        let root = self
            .snapshots
            .root_fs(&record.id)
            .map_err(crate::image::snapshot_error)?;
        let attach = AttachOptions {
            stdin: config.stdin,
            stdout: config.stdout,
            stderr: config.stderr,
        };
        let request = ExecRequest {
            id: exec.id.clone(),
            process: process(&record, config, &root)?,
            attach: (!start.detach).then_some(attach),
            console_size: start.console_size.or(config.console_size),
        };
        let shim = exec.container.shim()?;
        let failed = |error| match error {
            hull_shim::Error::Refused(message) => {
                // The runtime's own words, as runc's: `exec failed: unable to start …`.
                let text = format!("OCI runtime exec failed: {message}");
                Error::new(ErrorKind::InvalidInput, text)
            }
            other => Error::new(
                ErrorKind::Internal,
                "could not run a process in the container",
            )
            .caused_by(other),
        };
        let done = shim.exec(request);
        done.map_err(|error| exec.container.refused(&shim, error, failed))
    }

    /// An exec's process has ended.
    pub(super) fn exec_ended(&self, container: &Arc<Container>, id: &str, exit_code: i32) {
        let Ok(exec) = self.execs.get(id) else { return };
        exec.progress
            .send_modify(|now| now.exit_code = Some(exit_code));
        self.tell_container(
            container,
            "exec_die",
            &[("execID", id), ("exitCode", &exit_code.to_string())],
        );
    }

    /// Tells of a client that left an exec by the detach keys, for the event.
    pub fn exec_detached(&self, id: &str) {
        if let Ok(exec) = self.execs.get(id) {
            self.tell_container(&exec.container, "exec_detach", &[("execID", id)]);
        }
    }

    /// Changes the size of its terminal. One that is being started is waited for: clients ask for the size
    /// before they know.
    ///
    /// # Errors
    /// `NotFound`, also when it has ended; `InvalidInput` when it could not be started, `Internal` when it is not.
    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        /// As dockerd.
        const PATIENCE: Duration = Duration::from_secs(10);
        let exec = self.execs.get(id)?;
        let mut progress = exec.progress.subscribe();
        let begun = progress.wait_for(|now| now.pid != 0 || now.exit_code.is_some());
        let now = match tokio::time::timeout(PATIENCE, begun).await {
            Ok(Ok(now)) => *now,
            _ => {
                let text = "timeout waiting for exec session ready";
                return Err(Error::new(ErrorKind::Internal, text));
            }
        };
        if now.pid == 0 {
            let text = "exec process is not started";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        if now.exit_code.is_some() {
            let text = format!("NotFound: process does not exist {id}: not found");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        if !exec.config.tty {
            // There is nothing to change, and dockerd does not mind.
            return Ok(());
        }
        let shim = exec.container.shim()?;
        let id = id.to_owned();
        blocking(move || {
            shim.resize(Some(&id), rows, columns)
                .map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))
        })
        .await
    }

    /// One exec.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecDetails> {
        let exec = self.execs.get(id)?;
        let now = *exec.progress.borrow();
        if now.pid != 0 && now.exit_code.is_none() {
            self.catch_up(&exec).await;
        }
        let now = *exec.progress.borrow();
        let config = exec.config.clone();
        let user = if config.user.is_empty() {
            exec.container.read(|record| record.effective.user.clone())
        } else {
            config.user.clone()
        };
        Ok(ExecDetails {
            id: exec.id.clone(),
            container_id: exec.container.id.clone(),
            config,
            user,
            running: now.started && now.exit_code.is_none(),
            exit_code: now.exit_code,
            pid: now.pid,
        })
    }

    /// A client asks for the exit code as soon as the stream has ended; the news of it comes by
    /// another connection. When the shim has it no more, the news is on its way: wait for it.
    async fn catch_up(&self, exec: &Arc<Exec>) {
        /// The news has only to cross a socket.
        const PATIENCE: Duration = Duration::from_secs(5);
        let shim = exec.container.link().shim.clone();
        let id = exec.id.clone();
        let runs = blocking(move || {
            let snapshot = shim.and_then(|shim| shim.snapshot().ok());
            Ok(snapshot.is_some_and(|snapshot| snapshot.execs.iter().any(|(exec, _)| *exec == id)))
        });
        if !runs.await.unwrap_or(false) {
            let mut progress = exec.progress.subscribe();
            let _ =
                tokio::time::timeout(PATIENCE, progress.wait_for(|now| now.exit_code.is_some()))
                    .await;
        }
    }
}

/// `named`: the container as the client named it.
pub(super) fn may_exec(record: &Record, named: &str) -> Result<()> {
    let conflict = |text: String| Err(Error::new(ErrorKind::Conflict, text));
    match record.state {
        State::Running { .. } => Ok(()),
        State::Paused { .. } => conflict(format!(
            "Container {named} is paused, unpause the container before exec"
        )),
        State::Restarting { .. } => Err(super::live::restarting(&record.id)),
        _ => conflict(format!("container {} is not running", record.id)),
    }
}

/// A command in an event: dockerd writes a blank behind the program in any case.
fn shown(args: &[String]) -> String {
    let (program, rest) = args
        .split_first()
        .map_or(("", args), |(program, rest)| (program.as_str(), rest));
    format!("{program} {}", rest.join(" "))
}

fn failure_code(message: &str) -> i32 {
    if message.contains("executable file not found")
        || message.contains("no such file or directory")
    {
        127
    } else {
        126
    }
}

/// The runtime's document: the container's own process, with what the exec changes.
fn process(
    record: &Record,
    exec: &ExecConfig,
    root: &hull_spec::rootfs::RootFs,
) -> Result<Process> {
    let (config, effective) = (&record.config, &record.effective);
    if !exec.working_dir.is_empty() && !exec.working_dir.starts_with('/') {
        let text = "OCI runtime exec failed: exec failed: Cwd must be an absolute path";
        return Err(Error::new(ErrorKind::Internal, text));
    }
    let who = if exec.user.is_empty() {
        &effective.user
    } else {
        &exec.user
    };
    let resolved = user::resolve(root, who, &config.groups)?;
    let mut with_own = effective.clone();
    with_own.env.extend(record.link_env.iter().cloned());
    with_own.env.extend(exec.env.iter().cloned());
    let rights = Config {
        privileged: config.privileged || exec.privileged,
        seccomp: Seccomp::Unconfined,
        ..Config::clone(config)
    };
    Ok(Process {
        terminal: exec.tty,
        capabilities: Some(bundle::capability_sets(&rights, resolved.user.uid)?),
        user: resolved.user,
        args: exec.args.clone(),
        env: merge::process_environment(&with_own, exec.tty, &resolved.home),
        cwd: if exec.working_dir.is_empty() {
            merge::clean(&effective.working_dir)
        } else {
            merge::clean(&exec.working_dir)
        },
        rlimits: super::resources::rlimits(&config.ulimits)?,
        no_new_privileges: config.no_new_privileges,
        oom_score_adj: super::resources::oom_score(config),
        ..Process::default()
    })
}
