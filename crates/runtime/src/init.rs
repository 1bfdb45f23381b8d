//! The new process' side, in order. Each step is a file; the runtime's side is in `launch.rs`, what the
//! two say to each other in `handshake.rs`.

mod cgroup_mount;
mod console;
mod copy_up;
mod devices;
mod enter;
mod hide;
mod identity;
mod kernel;
mod label;
pub(crate) mod mounts;
mod program;
pub(crate) mod reaper;
mod rootfs;

pub(crate) use label::Modules;
pub(crate) use rootfs::change_root;

use crate::error::{Error, Step as _, chain};
use crate::handshake::{InitEnd, RuntimeEnd, ToInit, ToRuntime};
use crate::plan::Namespaces;
use crate::state::Record;
use hull_linux::cgroup::Cgroup;
use hull_linux::path::Root;
use hull_linux::procfs::Proc;
use hull_spec::runtime::{ContainerStatus, CpuAffinity, Process, Spec, State};
use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use std::convert::Infallible;
use std::path::Path;

/// What every new process needs, first or executed later.
#[derive(Debug)]
pub(crate) struct Common<'a> {
    /// The process.
    pub(crate) process: &'a Process,
    /// The container's configuration.
    pub(crate) spec: &'a Spec,
    /// The host's procfs, opened before anything of the container existed.
    pub(crate) proc: &'a Proc,
    /// The way to the runtime.
    pub(crate) channel: &'a InitEnd,
    /// The runtime's end of it, which is not ours to keep.
    pub(crate) runtime: &'a RuntimeEnd,
    /// Who gets the pseudo terminal.
    pub(crate) console: Option<&'a OwnedFd>,
    /// How many descriptors beyond standard error the program keeps.
    pub(crate) preserved: u32,
    /// Whether the process is in a user namespace of the container.
    pub(crate) has_user: bool,
    /// Security modules of the kernel that the process has labels for.
    pub(crate) modules: Modules,
    /// The container's id.
    pub(crate) id: &'a str,
    /// Whether the runtime's session keyring is kept.
    pub(crate) keep_keyring: bool,
    /// Processors of a process that joins a container.
    pub(crate) affinity: Option<&'a CpuAffinity>,
}

/// What the first process needs beside it.
#[derive(Debug)]
pub(crate) struct First<'a> {
    /// The root file system on the host.
    pub(crate) rootfs: &'a Path,
    /// The bundle: where relative sources of mounts start.
    pub(crate) bundle: &'a Path,
    /// Its namespaces.
    pub(crate) namespaces: &'a Namespaces,
    /// Its control group.
    pub(crate) cgroup: Option<&'a Cgroup>,
    /// Sources of bind mounts that were opened by the runtime, ids mapped, by the mount's place in the
    /// configuration.
    pub(crate) sources: &'a [Option<OwnedFd>],
    /// The start fifo; without it the runtime says when to go on.
    pub(crate) fifo: Option<&'a OwnedFd>,
    /// chroot instead of pivot_root.
    pub(crate) no_pivot: bool,
    /// For the state that hooks get.
    pub(crate) record: &'a Record,
}

impl First<'_> {
    /// The state as hooks get it, with the id this process has on the host.
    fn state(&self, common: &Common<'_>, status: ContainerStatus) -> Result<State, Error> {
        let own = common.proc.own_id().step(|| "find the process in procfs")?;
        Ok(State {
            pid: own.parse().ok(),
            ..self.record.state(status)
        })
    }
}

/// Runs a process' side to its end and tells the runtime when it fails.
///
/// The first step is into the control group, while the host's files are in sight.
pub(crate) fn run(
    common: &Common<'_>,
    group: Option<&Cgroup>,
    steps: impl FnOnce() -> Result<Infallible, Error>,
) -> i32 {
    common.runtime.leave();
    let affinity = common.affinity;
    let before = affinity.map_or(Ok(()), |wanted| kernel::run_on("initial", &wanted.initial));
    let entered = before.and_then(|()| {
        let entered = group.map_or(Ok(()), Cgroup::enter);
        entered.step(|| "unable to apply cgroup configuration")
    });
    let placed = entered
        .and_then(|()| affinity.map_or(Ok(()), |wanted| kernel::run_on("final", &wanted.last)));
    let Err(error) = placed.and_then(|()| steps());
    // When the runtime is not there to listen, there is nobody to tell.
    let _ = common.channel.send(&ToRuntime::Failed(chain(&error)));
    1
}

/// The first process of a container.
pub(crate) fn first(common: &Common<'_>, first: &First<'_>) -> Result<Infallible, Error> {
    common.channel.expect(ToInit::Go)?;
    enter::first(common, first)?;
    if first.namespaces.has_mounts() {
        set_up_root(common, first)?;
    } else if !common.spec.mounts.is_empty() {
        rootfs::aside(|| set_up_root(common, first))?;
    } else {
        run_hooks(common, first)?;
        let root = Root::open(first.rootfs).step(|| format!("open {}", first.rootfs.display()))?;
        rustix::process::umask(rootfs::mask(common.process));
        rootfs::change_root(&root)?;
        kernel::set(common)?;
    }
    kernel::schedule(common)?;
    let program = identity::become_user(common)?;
    common.channel.send(&ToRuntime::Ready)?;
    program.wait_and_execute(common, first)
}

/// The root with all that belongs there, in a mount namespace that is not the host's.
fn set_up_root(common: &Common<'_>, first: &First<'_>) -> Result<(), Error> {
    let (root, null) = rootfs::prepare(common, first)?;
    run_hooks(common, first)?;
    rootfs::enter(&root, first)?;
    kernel::set(common)?;
    // Before the root's propagation: what is unbindable can be copied no more.
    hide::all(common, &root, null)?;
    rootfs::finish(common, &root)
}

/// A process that joins a container; the namespaces are entered already.
pub(crate) fn joining(
    common: &Common<'_>,
    enter: impl FnOnce() -> Result<(), Error>,
) -> Result<Infallible, Error> {
    common.channel.expect(ToInit::Go)?;
    enter::joining(common, enter)?;
    if common.process.terminal {
        let root = Root::open(Path::new("/")).step(|| "open the container's root")?;
        console::set_up(common, &root, false)?;
    }
    let first = common.spec.process.as_ref();
    let masks = [Some(common.process), first].into_iter().flatten();
    if let Some(mask) = masks.filter_map(|process| process.user.umask).next() {
        rustix::process::umask(Mode::from_raw_mode(mask));
    }
    kernel::schedule(common)?;
    let program = identity::become_user(common)?;
    program.execute(common)
}

/// The hooks between the making of the namespaces and the change of the root.
fn run_hooks(common: &Common<'_>, first: &First<'_>) -> Result<(), Error> {
    let hooks = &common.spec.hooks;
    if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
        common.channel.send(&ToRuntime::RunHooks)?;
        common.channel.expect(ToInit::HooksDone)?;
    }
    if hooks.create_container.is_empty() {
        return Ok(());
    }
    let state = first.state(common, ContainerStatus::Creating)?;
    rustix::process::chdir(first.rootfs).step(|| format!("chdir to {}", first.rootfs.display()))?;
    crate::hooks::run("createContainer", &hooks.create_container, &state)
}
