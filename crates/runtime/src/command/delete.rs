//! `delete`: nothing of a container is left.

use super::{Command, Context, id};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::cgroups;
use crate::error::{Error, Step as _, chain};
use crate::hooks;
use crate::id::ContainerId;
use crate::report::Report;
use crate::state::{Container, StateDirectory};
use hull_linux::process::send_to_pidfd;
use hull_spec::runtime::ContainerStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd as _;
use rustix::process::Signal;
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
    delete(context, &id(arguments)?, arguments.is_set("force"))?;
    Ok(ExitCode::SUCCESS)
}

fn delete(context: &Context, id: &ContainerId, force: bool) -> Result<(), Error> {
    let container = match Container::load(&context.root, id) {
        Ok(container) => container,
        Err(_) if force => {
            // No record, or one that cannot be read: nothing but the directory was made yet.
            return match StateDirectory::open(&context.root, id) {
                Ok(directory) => directory.remove(),
                Err(_) => Ok(()),
            };
        }
        Err(error) => return Err(error),
    };
    match container.status()? {
        ContainerStatus::Stopped => {}
        // Its program never ran.
        ContainerStatus::Created => kill(&container)?,
        _ if force => kill(&container)?,
        status => {
            return Err(Error::NotStopped {
                id: id.as_str().to_owned(),
                status,
            });
        }
    }
    remove(&container, &context.report)
}

/// Removes a container that has stopped and runs its poststop hooks.
pub(super) fn remove(container: &Container, report: &Report) -> Result<(), Error> {
    let config = container.directory.config();
    destroy(container)?;
    let state = container.record.state(ContainerStatus::Stopped);
    if let Err(error) = config.and_then(|spec| hooks::run("poststop", &spec.hooks.poststop, &state))
    {
        // The container is gone whatever its hooks say (runtime-spec, "Lifecycle").
        report.warning(&chain(&error));
    }
    Ok(())
}

/// Ends all processes of a container and waits until the first is gone.
pub(crate) fn kill(container: &Container) -> Result<(), Error> {
    if let Some(target) = container.process()? {
        // It may have ended by itself this moment.
        let _ = send_to_pidfd(target.as_fd(), 9);
        if let Some(group) = cgroups::open(&container.record.cgroup)? {
            group
                .signal_all(Signal::KILL)
                .step(|| "kill the container's processes")?;
        }
        poll(&mut [PollFd::new(&target, PollFlags::IN)], Some(&KILL_TIME))
            .step(|| "wait for the container to end")?;
    }
    Ok(())
}

/// Removes control group and state. Processes that are left (there was no PID namespace to end them)
/// are killed.
pub(crate) fn destroy(container: &Container) -> Result<(), Error> {
    if let Some(group) = cgroups::open(&container.record.cgroup)?
        && group.exists()
    {
        if group.pids().is_ok_and(|pids| !pids.is_empty()) {
            group
                .signal_all(Signal::KILL)
                .step(|| "kill the container's processes")?;
        }
        group.remove().step(|| "remove the control group")?;
    }
    container.directory.remove()
}
