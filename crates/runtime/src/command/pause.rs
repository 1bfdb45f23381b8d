//! `pause`: all processes stand still.

use super::{Command, Context};
use crate::arguments::{Arguments, Order};
use crate::cgroups;
use crate::error::{Error, Step as _};
use hull_spec::runtime::ContainerStatus;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "pause",
    summary: "have all processes of a container stand still",
    arguments: "<container-id>\n\nThe id names the container.",
    description: "Freezes the container's control group until \"resume\".",
    flags: &[],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

/// Freezes the container's control group.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let container = context.container(arguments)?;
    match container.status()? {
        ContainerStatus::Running | ContainerStatus::Created => {}
        _ => return Err(Error::NotRunning),
    }
    let group = cgroups::needed(&container.record.cgroup, "cannot toggle freezer")?;
    group.freeze().step(|| "unable to freeze")?;
    Ok(ExitCode::SUCCESS)
}
