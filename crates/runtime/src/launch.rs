//! The runtime's side of a new process: what it makes before, during and after, and how it takes all of
//! it back when something fails.

mod id_map;
mod limits;
mod place;

use crate::cgroups;
use crate::console;
use crate::error::{Error, Step as _, said};
use crate::handshake::{RuntimeEnd, ToInit, ToRuntime, pair};
use crate::hooks;
use crate::id::ContainerId;
use crate::init::{self, Common, First};
use crate::plan::{Bundle, Namespaces, bit};
use crate::report::Report;
use crate::state::{Container, Record, StateDirectory};
use hull_linux::cgroup::Cgroup;
use hull_linux::mount::Options;
use hull_linux::namespace::flag;
use hull_linux::process::{Child, send_to_pidfd};
use hull_linux::procfs::{self, Proc};
use hull_spec::runtime::{ContainerStatus, Linux, Mount, Process, Spec};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};
use std::path::{Path, PathBuf};

/// What the command line says about a new process.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// `--console-socket`, connected; or our own end when we are the terminal's other side.
    pub(crate) console: Option<OwnedFd>,
    /// `--pid-file`.
    pub(crate) pid_file: Option<PathBuf>,
    /// `--preserve-fds` and `LISTEN_FDS`.
    pub(crate) preserved: u32,
    /// `--no-pivot`.
    pub(crate) no_pivot: bool,
    /// `--no-new-keyring`.
    pub(crate) no_new_keyring: bool,
    /// Whether somebody else will say `start`.
    pub(crate) fifo: bool,
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// The process.
    pub(crate) child: Child,
    /// The way to it.
    pub(crate) channel: RuntimeEnd,
}

/// Makes a container up to the point where its first process waits.
pub(crate) fn create(
    root: &Path,
    id: &ContainerId,
    bundle: &Bundle,
    wishes: &Wishes,
    report: &Report,
) -> Result<(Container, Started), Error> {
    let directory = StateDirectory::create(root, id)?;
    let mut container = Container {
        directory,
        record: record(id, bundle),
    };
    let made = make(&mut container, bundle, wishes, report);
    if made.is_err() {
        // The failure is what is reported; what cannot be taken back, `delete --force` finds.
        let _ = crate::command::delete::destroy(&container);
    }
    Ok((container, made?))
}

fn record(id: &ContainerId, bundle: &Bundle) -> Record {
    let nothing = Linux::default();
    let linux = bundle.spec.linux.as_ref().unwrap_or(&nothing);
    Record {
        id: id.as_str().to_owned(),
        pid: 0,
        start_time: 0,
        bundle: bundle.path.clone(),
        rootfs: bundle.rootfs.clone(),
        cgroup: cgroups::path(linux, id.as_str()),
        created: jiff::Timestamp::now().to_string(),
        annotations: bundle.spec.annotations.clone(),
        owner: rustix::process::getuid().as_raw(),
    }
}

/// What is made or opened before the process is born, in this order.
struct Ground {
    namespaces: Namespaces,
    group: Option<Cgroup>,
    /// The group's directory, where a process can be born in it (cgroup v2).
    directory: Option<OwnedFd>,
    fifo: Option<OwnedFd>,
    sources: Vec<Option<OwnedFd>>,
    id_maps: Vec<Option<OwnedFd>>,
    proc: Proc,
}

impl Ground {
    fn lay(container: &Container, bundle: &Bundle, wishes: &Wishes) -> Result<Self, Error> {
        // First of all, so that whatever follows can be found and removed.
        container.directory.write(&container.record)?;
        container.directory.write_config(&bundle.text)?;
        let nothing = Linux::default();
        let linux = bundle.spec.linux.as_ref().unwrap_or(&nothing);
        let namespaces = Namespaces::of(linux)?;
        let group = cgroups::make(&container.record.cgroup, linux.resources.as_ref())?;
        let directory = match &group {
            Some(group) => group.open().step(|| "open the control group")?,
            None => None,
        };
        let sources = if namespaces.has_user() {
            open_sources(bundle)?
        } else {
            Vec::new()
        };
        Ok(Self {
            fifo: wishes
                .fifo
                .then(|| container.directory.make_fifo())
                .transpose()?,
            id_maps: id_map::of_mounts(&bundle.spec.mounts)?,
            proc: Proc::open().step(|| "open /proc")?,
            namespaces,
            group,
            directory,
            sources,
        })
    }
}

fn make(
    container: &mut Container,
    bundle: &Bundle,
    wishes: &Wishes,
    report: &Report,
) -> Result<Started, Error> {
    let ground = Ground::lay(container, bundle, wishes)?;
    let started = bear(&ground, container, bundle, wishes)?;
    let served = (|| {
        container.record.pid = started.child.pid.as_raw_nonzero().get();
        container.record.start_time = start_time(container.record.pid)?;
        if let Some(process) = &bundle.spec.process {
            limits::set(container.record.pid, process)?;
        }
        if let (true, Some(linux)) = (ground.namespaces.is_new(flag::USER), &bundle.spec.linux) {
            id_map::write(container.record.pid, linux)?;
        }
        container.directory.write(&container.record)?;
        serve(container, &started, &bundle.spec, report)?;
        write_pid(wishes.pid_file.as_deref(), container.record.pid)
    })();
    served.inspect_err(|_| end(&started))?;
    Ok(started)
}

/// The birth of the first process.
fn bear(
    ground: &Ground,
    container: &Container,
    bundle: &Bundle,
    wishes: &Wishes,
) -> Result<Started, Error> {
    let process = bundle.spec.process.as_ref();
    let process = process.ok_or_else(|| said("process property must not be empty"))?;
    let (channel, theirs) = pair()?;
    let common = Common {
        process,
        spec: &bundle.spec,
        proc: &ground.proc,
        channel: &theirs,
        runtime: &channel,
        console: wishes.console.as_ref(),
        preserved: wishes.preserved,
        has_user: ground.namespaces.has_user(),
        keep_keyring: wishes.no_new_keyring,
    };
    let first = First {
        rootfs: &bundle.rootfs,
        bundle: &bundle.path,
        namespaces: &ground.namespaces,
        cgroup: ground.group.as_ref(),
        sources: &ground.sources,
        id_maps: &ground.id_maps,
        fifo: ground.fifo.as_ref(),
        no_pivot: wishes.no_pivot,
        record: &container.record,
    };
    let cgroup = ground.directory.as_ref().map(OwnedFd::as_fd);
    // A process that was born in its group need not go there.
    let group = ground.group.as_ref().filter(|_| cgroup.is_none());
    let child = place::spawn(&ground.namespaces, cgroup, || {
        init::run(&common, group, || init::first(&common, &first))
    })?;
    // Our copy of init's end is closed with this function: the end of file shows when init has ended.
    Ok(Started { child, channel })
}

/// Sources of bind mounts may lie where only the host's root can look; root of a user namespace is not it.
fn open_sources(bundle: &Bundle) -> Result<Vec<Option<OwnedFd>>, Error> {
    let open = |mount: &Mount| {
        let options = Options::parse(&mount.options);
        let binds = (options.bind || mount.kind == "bind") && !options.remount;
        binds
            .then(|| init::mounts::open_source(&bundle.path, mount, &options))
            .transpose()
    };
    bundle.spec.mounts.iter().map(open).collect()
}

fn start_time(pid: i32) -> Result<u64, Error> {
    let found = procfs::start_time(pid).step(|| "read the new process")?;
    found
        .map(|(start, _)| start)
        .ok_or_else(|| said("container init ended at once"))
}

/// The runtime's part of the handshake, up to the point where init waits for `start`.
fn serve(
    container: &Container,
    started: &Started,
    spec: &Spec,
    report: &Report,
) -> Result<(), Error> {
    started.channel.send(ToInit::Go)?;
    loop {
        match started.channel.receive()? {
            Some(ToRuntime::Ready) => return Ok(()),
            Some(ToRuntime::Warning(text)) => report.warning(&text),
            Some(ToRuntime::RunHooks) => {
                let state = container.record.state(ContainerStatus::Creating);
                hooks::run("prestart", &spec.hooks.prestart, &state)
                    .and_then(|()| hooks::run("createRuntime", &spec.hooks.create_runtime, &state))
                    .step(|| "error during container init")
                    .step(|| "unable to start container process")?;
                started.channel.send(ToInit::HooksDone)?;
            }
            Some(ToRuntime::Failed(text)) => {
                return Err(said(text))
                    .step(|| "error during container init")
                    .step(|| "unable to start container process");
            }
            None => {
                let how = ended(started);
                return Err(said(how)).step(|| "unable to start container process");
            }
        }
    }
}

/// Tells init of a container that nobody else starts to become its program, and learns whether it did.
pub(crate) fn start_now(started: &Started) -> Result<(), Error> {
    started.channel.send(ToInit::Exec)?;
    executed(started, "error during container init: ")
}

fn executed(started: &Started, when: &str) -> Result<(), Error> {
    match started.channel.receive()? {
        None => Ok(()),
        Some(ToRuntime::Failed(text)) => {
            Err(said(format!("{when}{text}"))).step(|| "unable to start container process")
        }
        Some(_) => Err(said("init said something out of turn")),
    }
}

/// Starts a process in a running container.
pub(crate) fn join(
    container: &Container,
    process: &Process,
    wishes: &Wishes,
) -> Result<Started, Error> {
    let target = container
        .process()?
        .ok_or_else(|| said("cannot exec in a stopped container"))?;
    let spec = container.directory.config()?;
    let nothing = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&nothing);
    let kinds = linux
        .namespaces
        .iter()
        .fold(0, |kinds, namespace| kinds | bit(namespace.kind));
    let proc = Proc::open().step(|| "open /proc")?;
    let group = cgroups::open(&container.record.cgroup)?;
    let (channel, theirs) = pair()?;
    let common = Common {
        process,
        spec: &spec,
        proc: &proc,
        channel: &theirs,
        runtime: &channel,
        console: wishes.console.as_ref(),
        preserved: wishes.preserved,
        has_user: kinds & flag::USER != 0,
        keep_keyring: true,
    };
    let enter = || place::enter(target.as_fd(), kinds & !flag::PID);
    let child = place::spawn_beside(target.as_fd(), kinds, || {
        init::run(&common, group.as_ref(), || init::joining(&common, enter))
    })?;
    drop(theirs);
    let started = Started { child, channel };
    let pid = started.child.pid.as_raw_nonzero().get();
    let served = (|| {
        limits::set(pid, process)?;
        started.channel.send(ToInit::Go)?;
        executed(&started, "")?;
        write_pid(wishes.pid_file.as_deref(), pid)
    })();
    served.inspect_err(|_| end(&started))?;
    Ok(started)
}

/// The pid file appears with its content or not at all.
fn write_pid(path: Option<&Path>, pid: i32) -> Result<(), Error> {
    let Some(path) = path else {
        return Ok(());
    };
    let name = path
        .file_name()
        .ok_or_else(|| said("pid file has no name"))?;
    let new = path.with_file_name(format!(".{}", name.to_string_lossy()));
    fs_err::write(&new, pid.to_string())
        .and_then(|()| fs_err::rename(&new, path))
        .step(|| "write the pid file")
}

/// Ends a process that is of no use and waits until it is gone.
pub(crate) fn end(started: &Started) {
    // It may have ended by itself; then there is only the waiting.
    let _ = send_to_pidfd(started.child.pidfd.as_fd(), 9);
    let _ = wait(&started.child);
}

/// Waits for a child to end.
pub(crate) fn wait(child: &Child) -> Result<WaitIdStatus, Error> {
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
    })
    .step(|| "wait for the process")?;
    status.ok_or_else(|| said("no status of the process"))
}

/// The exit code a shell would show.
pub(crate) fn exit_code(status: &WaitIdStatus) -> u8 {
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or(255);
    u8::try_from(code & 0xff).unwrap_or(255)
}

fn ended(started: &Started) -> String {
    match wait(&started.child) {
        Ok(status) => match status.terminating_signal() {
            Some(signal) => format!("container init was killed by signal {signal}"),
            None => format!("container init exited with status {}", exit_code(&status)),
        },
        Err(_) => "container init ended unexpectedly".to_owned(),
    }
}

/// Connects to the socket of `--console-socket` when the process has a terminal.
pub(crate) fn console_socket(path: Option<&str>) -> Result<Option<OwnedFd>, Error> {
    path.map(|path| console::open(Path::new(path))).transpose()
}
