//! `start`: the first process becomes the user's program.

use super::{Command, Context};
use crate::arguments::{Arguments, Order};
use crate::error::{Error, said, status_name};
use crate::hooks;
use crate::state::Container;
use hull_spec::runtime::ContainerStatus;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "start",
    summary: "start the program of a container that was created",
    arguments: "<container-id>\n\nThe id names the container.",
    description: "Lets the process of a created container become the program its bundle names.",
    flags: &[],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    start(&context.container(arguments)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Lets the first process of a created container go on, then runs the poststart hooks.
pub(crate) fn start(container: &Container) -> Result<(), Error> {
    match container.status()? {
        ContainerStatus::Created => {}
        ContainerStatus::Running => {
            return Err(said("cannot start an already running container"));
        }
        ContainerStatus::Stopped => {
            return Err(said("cannot start a container that has stopped"));
        }
        status => {
            return Err(said(format!(
                "cannot start a container in the {} state",
                status_name(status)
            )));
        }
    }
    container.directory.release_fifo()?;
    let hooks = container.directory.config()?.hooks.poststart;
    let state = container.record.state(ContainerStatus::Running);
    if let Err(error) = hooks::run("poststart", &hooks, &state) {
        // As runc: a container whose start is not complete is not left running.
        super::delete::kill(container)?;
        return Err(error);
    }
    Ok(())
}
