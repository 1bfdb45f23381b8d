//! `delete`: nothing of a container is left.

use super::kill::has_pid_namespace;
use super::{Command, Context, id};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::cgroups;
use crate::error::{Error, Step as _, chain, said};
use crate::hooks;
use crate::id::ContainerId;
use crate::rdt;
use crate::report::Report;
use crate::state::{Container, StateDirectory};
use crate::systemd;
use hull_linux::cgroup::Cgroup;
use hull_linux::process::send_to_pidfd;
use hull_spec::runtime::ContainerStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd as _;
use rustix::process::Signal;
use std::path::Path;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "delete",
    summary: "remove what is left of a container",
    arguments: "<container-id>\n\nThe id names the container.\n\nEXAMPLE:\nTo remove the container \"ubuntu01\", which \"hull-runtime list\" shows as stopped:\n\n       # hull-runtime delete ubuntu01",
    description: "",
    flags: &[Flag::new(
        "force",
        Kind::Switch,
        "end the container (with SIGKILL) if it has not stopped",
    )
    .letter('f')],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

/// How long a killed process may take to be gone, in seconds: runc waits as long.
const KILL_TIME: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Removes a container that has stopped; with `--force`, any, and what a killed `create` has left.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let (id, force) = (id(arguments)?, arguments.is_set("force"));
    delete(&context.root, &id, force)?;
    Ok(ExitCode::SUCCESS)
}

/// Removes a container that has stopped; with `force`, any.
pub(crate) fn delete(root: &Path, id: &ContainerId, force: bool) -> Result<(), Error> {
    if force {
        return delete_by_force(root, id);
    }
    let container = Container::load(root, id)?;
    match container.status()? {
        ContainerStatus::Stopped => {}
        // Its program never ran.
        ContainerStatus::Created => kill(&container)?,
        status => {
            return Err(Error::NotStopped {
                id: id.as_str().to_owned(),
                status,
            });
        }
    }
    remove(&container)
}

fn delete_by_force(root: &Path, id: &ContainerId) -> Result<(), Error> {
    let Some(mut container) = find(root, id)? else {
        return Ok(());
    };
    // A create that was killed may still be in a system call that makes something: the group, above all.
    if container.record.pid == 0 && container.directory.wait_for_maker(KILL_TIME)? {
        match find(root, id)? {
            Some(found) => container = found,
            None => return Ok(()),
        }
    }
    kill(&container)?;
    remove(&container)
}

/// A container in whatever state; where there is no record, or one that cannot be read, what else is there
/// tells what was made.
fn find(root: &Path, id: &ContainerId) -> Result<Option<Container>, Error> {
    if let Ok(container) = Container::load(root, id) {
        return Ok(Some(container));
    }
    match StateDirectory::open(root, id) {
        Ok(directory) => Ok(Some(Container {
            record: directory.salvage(id),
            directory,
        })),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a container that has stopped and runs its poststop hooks.
///
/// # Errors
/// What keeps it from being removed; and a hook's failure when it is gone already, as in runc: the
/// specification would have a warning.
pub(crate) fn remove(container: &Container) -> Result<(), Error> {
    let config = container.directory.config();
    destroy(container)?;
    let Ok(config) = config else {
        // A create that was killed had not kept it: no hook has run.
        return Ok(());
    };
    let state = container.record.state(ContainerStatus::Stopped);
    hooks::run("poststop", &config.hooks.poststop, &state)
}

/// As [`remove`] at the end of another command, whose result is what counts.
pub(crate) fn remove_after(container: &Container, report: &Report) {
    if let Err(error) = remove(container) {
        report.error(&chain(&error));
    }
}

/// Ends all processes of a container and waits until the first is gone.
pub(crate) fn kill(container: &Container) -> Result<(), Error> {
    let Some(target) = container.process()? else {
        return Ok(());
    };
    // It may have ended by itself this moment.
    let _ = send_to_pidfd(target.as_fd(), 9);
    if let Some(group) = group(container) {
        // Also has it go on if it is frozen: what is frozen does not die.
        group
            .signal_all(Signal::KILL)
            .step(|| "kill the container's processes")?;
    }
    let ended = poll(&mut [PollFd::new(&target, PollFlags::IN)], Some(&KILL_TIME))
        .step(|| "wait for the container to end")?;
    if ended == 0 {
        return Err(said("container init still running"));
    }
    Ok(())
}

/// The container's group. On a host that has no hierarchies (any more) there is nothing to clean up.
fn group(container: &Container) -> Option<Cgroup> {
    cgroups::open(&container.record.cgroup).ok().flatten()
}

/// Removes control group and state. Processes that are left because there was no PID namespace to end them
/// are killed; with one, whoever is in the group came later and is somebody else's. That is not
/// known of a container whose record is broken: its first process may live.
pub(crate) fn destroy(container: &Container) -> Result<(), Error> {
    let place = &container.record.cgroup;
    let group = group(container).filter(Cgroup::exists);
    if let Some(group) = &group
        && group.pids().is_ok_and(|pids| !pids.is_empty())
        && !(container.record.is_whole() && has_pid_namespace(container))
    {
        group
            .signal_all(Signal::KILL)
            .step(|| "kill the container's processes")?;
    }
    if let Some(unit) = &place.unit {
        // Whatever the manager says, and whether there is one: the group goes.
        let _ = systemd::stop(unit);
    }
    if let Some(group) = group {
        group.remove().step(|| "remove the control group")?;
    }
    rdt::remove(&container.record.resctrl)?;
    container.directory.remove()
}
