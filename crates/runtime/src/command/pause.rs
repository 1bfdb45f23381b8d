//! `pause`: all processes stand still.

use super::Context;
use crate::arguments::Arguments;
use crate::cgroups;
use crate::error::{Error, Step as _};
use hull_spec::runtime::ContainerStatus;

/// Freezes the container's control group.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Error> {
    let container = context.container("pause", arguments)?;
    match container.status()? {
        ContainerStatus::Running | ContainerStatus::Created => {}
        ContainerStatus::Paused => return Ok(()),
        _ => return Err(Error::NotRunning),
    }
    let group = cgroups::open(&container.record.cgroup)?.ok_or(Error::NotRunning)?;
    group.freeze().step(|| "unable to freeze")
}
