//! `resume`: the processes of a paused container go on.

use super::{Command, Context};
use crate::arguments::{Arguments, Order};
use crate::cgroups;
use crate::error::{Error, Step as _};
use hull_spec::runtime::ContainerStatus;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "resume",
    summary: "have the processes of a paused container go on",
    arguments: "<container-id>\n\nThe id names the container.",
    description: "Thaws the container's control group.",
    flags: &[],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

/// Thaws the container's control group.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let container = context.container(arguments)?;
    if container.status()? != ContainerStatus::Paused {
        return Err(Error::NotPaused);
    }
    let group = cgroups::open(&container.record.cgroup)?.ok_or(Error::NotPaused)?;
    group.thaw().step(|| "unable to thaw")?;
    Ok(ExitCode::SUCCESS)
}
