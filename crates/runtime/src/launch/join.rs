//! A further process in a container that runs.

use super::end::end;
use super::listener;
use super::serve::executed;
use super::{Started, Wishes, below, limits, place};
use crate::cgroups;
use crate::error::{Error, Step as _, said};
use crate::handshake::{ToInit, pair};
use crate::init::{self, Common};
use crate::plan::bit;
use crate::rdt;
use crate::rootless;
use crate::state::Container;
use hull_linux::namespace::flag;
use hull_linux::path::Root;
use hull_linux::procfs::Proc;
use hull_spec::runtime::{ContainerStatus, Linux, Process, Spec};
use rustix::fd::AsFd as _;

/// The container's root directory when there is no mount namespace of its own to enter: nothing else
/// separates it from the host's files. (runc leaves such a process in the host's root.)
fn root_to_change_to(
    container: &Container,
    proc: &Proc,
    kinds: u64,
) -> Result<Option<Root>, Error> {
    if kinds & flag::MOUNT != 0 {
        return Ok(None);
    }
    let root = proc
        .root_of(container.record.pid)
        .step(|| "open the container's root")?;
    // Asked after the number was used: then it still was the container's.
    container
        .process()?
        .ok_or_else(|| said("cannot exec in a stopped container"))?;
    Ok(Some(Root::from_directory(root)))
}

/// What of these is entered before the process is born. Who is nobody here may enter a PID namespace only
/// as somebody in the user namespace it belongs to.
fn entered_at_birth(
    container: &Container,
    process: &Process,
    linux: &Linux,
    kinds: u64,
) -> Result<u64, Error> {
    if kinds & flag::USER == 0 || rootless::may_administer() {
        return Ok(kinds & flag::PID);
    }
    check_user(container, process, linux)?;
    Ok(kinds & (flag::USER | flag::PID))
}

/// What a user without privileges cannot have.
fn check_user(container: &Container, process: &Process, linux: &Linux) -> Result<(), Error> {
    if container.directory.waits_for_start() {
        // The first process holds descriptors of the host, and is closed to everybody until it is the program.
        return Err(said(
            "cannot exec in a rootless container that has not been started",
        ));
    }
    rootless::check_groups(process, linux)
}

/// Starts a process in a running container, whose configuration is `spec`.
pub(crate) fn join(
    container: &Container,
    spec: &Spec,
    process: &Process,
    wishes: &Wishes,
) -> Result<Started, Error> {
    let target = container
        .process()?
        .ok_or_else(|| said("cannot exec in a stopped container"))?;
    let nothing = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&nothing);
    let kinds = (linux.namespaces.iter()).fold(0, |kinds, namespace| kinds | bit(namespace.kind));
    let proc = Proc::open().step(|| "open /proc")?;
    let group = cgroups::open(&container.record.cgroup)?
        .map(|group| below::choose(group, &wishes.cgroups, container.record.pid))
        .transpose()?;
    let (channel, theirs) = pair()?;
    let common = Common {
        process,
        spec,
        proc: &proc,
        channel: &theirs,
        runtime: &channel,
        console: wishes.console.as_ref(),
        preserved: wishes.preserved,
        has_user: kinds & flag::USER != 0,
        modules: init::Modules::of(process),
        id: &container.record.id,
        keep_keyring: container.record.no_new_keyring,
        affinity: process.exec_cpu_affinity.as_ref(),
    };
    let early = entered_at_birth(container, process, linux, kinds)?;
    let root = root_to_change_to(container, &proc, kinds)?;
    let enter = || {
        place::enter(target.as_fd(), kinds & !early & !flag::PID)?;
        root.as_ref().map_or(Ok(()), init::change_root)
    };
    // Where it is born then, its score cannot be set from here any more.
    let before = || {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        limits::set_score(&proc, own, process)
    };
    let child = place::spawn_beside(target.as_fd(), early, before, || {
        init::run(&common, group.as_ref(), || init::joining(&common, enter))
    })?;
    drop(theirs);
    let started = Started { child, channel };
    let pid = started.child.pid.as_raw_nonzero().get();
    let served = limits::set_resources(pid, process).and_then(|()| {
        if early & flag::USER == 0 {
            limits::set_score(&proc, pid, process)?;
        }
        if let Some(rdt) = &linux.intel_rdt {
            rdt::join(rdt, &container.record.id, pid)?;
        }
        started.channel.send(ToInit::Go)?;
        executed(&started, "", |number| {
            let state = container.record.state(ContainerStatus::Running);
            listener::hand_over(&started, number, linux.seccomp.as_ref(), state)
        })?;
        wishes.tell(&started.child, "setns")
    });
    served.inspect_err(|_| end(&started))?;
    Ok(started)
}
