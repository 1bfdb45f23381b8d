//! The runtime's side of a new process: what it makes before, during and after, and how it takes all of
//! it back when something fails.

mod below;
mod end;
mod ground;
mod id_map;
mod join;
mod limits;
mod listener;
mod net_devices;
mod place;
mod serve;
mod sources;

pub(crate) use end::{end, exit_code, exit_code_of, wait};
pub(crate) use join::join;
pub(crate) use serve::start_now;

use crate::cgroups;
use crate::config;
use crate::console;
use crate::error::{Error, Step as _, said};
use crate::files;
use crate::handshake::{RuntimeEnd, pair};
use crate::id::ContainerId;
use crate::init::{self, Common, First};
use crate::plan::Bundle;
use crate::rdt;
use crate::report::Report;
use crate::rootless;
use crate::state::{Container, Record, StateDirectory};
use crate::systemd;
use ground::Ground;
use hull_linux::namespace::flag;
use hull_linux::process::Child;
use hull_linux::procfs;
use hull_spec::runtime::Linux;
use net_devices::Moved;
use rustix::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// What the command line says about a new process.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// `--console-socket`, connected; or our own end when we are the terminal's other side.
    pub(crate) console: Option<OwnedFd>,
    /// `--pidfd-socket`, connected.
    pub(crate) pidfd_socket: Option<OwnedFd>,
    /// `--pid-file`.
    pub(crate) pid_file: Option<PathBuf>,
    /// `--preserve-fds` and `LISTEN_FDS`.
    pub(crate) preserved: u32,
    /// `--no-pivot`.
    pub(crate) no_pivot: bool,
    /// `--no-new-keyring`.
    pub(crate) no_new_keyring: bool,
    /// `--rootless`; nothing for `auto`.
    pub(crate) rootless: Option<bool>,
    /// `--systemd-cgroup`.
    pub(crate) systemd: bool,
    /// `--cgroup`, of a process that joins a container.
    pub(crate) cgroups: Vec<String>,
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
    for text in config::warnings(&bundle.spec) {
        report.warning(&text);
    }
    let mut record = record(id, bundle, wishes);
    if wishes.systemd {
        let nothing = Linux::default();
        let linux = bundle.spec.linux.as_ref().unwrap_or(&nothing);
        record.cgroup = systemd::place(linux, id.as_str())?;
    }
    let directory = StateDirectory::create(root, id)?;
    let _making = directory.claim();
    let mut container = Container { directory, record };
    let made = make(&mut container, bundle, wishes, report);
    if made.is_err() {
        // The failure is what is reported; what cannot be taken back, `delete --force` finds.
        let _ = crate::command::delete::destroy(&container);
    }
    Ok((container, made?))
}

/// The record of a container that has no process yet.
pub(crate) fn record(id: &ContainerId, bundle: &Bundle, wishes: &Wishes) -> Record {
    let nothing = Linux::default();
    let linux = bundle.spec.linux.as_ref().unwrap_or(&nothing);
    Record {
        id: id.as_str().to_owned(),
        pid: 0,
        start_time: 0,
        bundle: bundle.path.clone(),
        rootfs: bundle.rootfs.clone(),
        cgroup: cgroups::Place::of(linux, id.as_str()),
        created: jiff::Timestamp::now().to_string(),
        annotations: bundle.spec.annotations.clone(),
        owner: rustix::process::getuid().as_raw(),
        no_new_keyring: wishes.no_new_keyring,
        resctrl: Vec::new(),
    }
}

fn make(
    container: &mut Container,
    bundle: &Bundle,
    wishes: &Wishes,
    report: &Report,
) -> Result<Started, Error> {
    let ground = Ground::lay(container, bundle, wishes)?;
    if ground.group.is_none() && !ground.namespaces.is_new(flag::PID) {
        report.warning(
            "a container without a control group and a PID namespace of its own: nothing knows its processes but the first",
        );
    }
    let started = bear(&ground, container, bundle, wishes)?;
    let mut moved = Moved::default();
    let served = (|| {
        container.record.pid = started.child.pid.as_raw_nonzero().get();
        container.record.start_time = start_time(container.record.pid)?;
        let pid = container.record.pid;
        let place = &mut container.record.cgroup;
        if let (true, Some(group)) = (place.unit.is_some(), &ground.group) {
            let rootless = || rootless::does_without_groups(wishes.rootless);
            systemd::adopt(place, group, pid, &bundle.spec, rootless)?;
        }
        if let Some(process) = &bundle.spec.process {
            limits::set(&ground.proc, container.record.pid, process)?;
        }
        if let (true, Some(linux)) = (ground.namespaces.is_new(flag::USER), &bundle.spec.linux) {
            id_map::write(&ground.proc, container.record.pid, linux)?;
        }
        let rdt = bundle
            .spec
            .linux
            .as_ref()
            .and_then(|linux| linux.intel_rdt.as_ref());
        if let Some(rdt) = rdt {
            container.record.resctrl = rdt::plan(rdt, &container.record.id);
        }
        container.directory.write(&container.record)?;
        if let Some(rdt) = rdt {
            rdt::apply(rdt, &container.record.id, container.record.pid)?;
        }
        if let Some(linux) = &bundle.spec.linux {
            moved = Moved::to(container.record.pid, linux)?;
        }
        serve::serve(container, &started, &bundle.spec, report)?;
        wishes.tell(&started.child, "standard")
    })();
    served.inspect_err(|_| {
        moved.back();
        end(&started);
    })?;
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
        modules: init::Modules::of(process),
        id: &container.record.id,
        keep_keyring: wishes.no_new_keyring,
        affinity: None,
    };
    let first = First {
        rootfs: &bundle.rootfs,
        bundle: &bundle.path,
        namespaces: &ground.namespaces,
        cgroup: ground.group.as_ref(),
        sources: &ground.sources,
        fifo: ground.fifo.as_ref(),
        no_pivot: wishes.no_pivot,
        record: &container.record,
    };
    let cgroup = ground.directory.as_ref().map(OwnedFd::as_fd);
    // A process that was born in its group need not go there, and systemd moves one by itself.
    let goes = cgroup.is_none() && container.record.cgroup.unit.is_none();
    let group = ground.group.as_ref().filter(|_| goes);
    let child = place::spawn(&ground.namespaces, cgroup, || {
        init::run(&common, group, || init::first(&common, &first))
    })?;
    // Our copy of init's end is closed with this function: the end of file shows when init has ended.
    Ok(Started { child, channel })
}

fn start_time(pid: i32) -> Result<u64, Error> {
    let found = procfs::start_time(pid).step(|| "read the new process")?;
    found
        .map(|(start, _)| start)
        .ok_or_else(|| said("container init ended at once"))
}

impl Wishes {
    /// Tells who asked for it about the new process: its number, its descriptor.
    fn tell(&self, child: &Child, kind: &str) -> Result<(), Error> {
        if let Some(socket) = &self.pidfd_socket {
            console::send(socket, child.pidfd.as_fd(), kind)?;
        }
        match &self.pid_file {
            Some(path) => write_pid(path, child.pid.as_raw_nonzero().get()),
            None => Ok(()),
        }
    }
}

/// The pid file appears with its content or not at all.
pub(crate) fn write_pid(path: &Path, pid: i32) -> Result<(), Error> {
    let name = path
        .file_name()
        .ok_or_else(|| said("pid file has no name"))?;
    let new = path.with_file_name(format!(".{}", name.to_string_lossy()));
    files::replace(path, &new, pid.to_string().as_bytes(), 0o666)
        .step(|| format!("open {}", new.display()))
}
