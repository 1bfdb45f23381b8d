//! `resume`: the processes of a paused container go on.

use super::Context;
use crate::arguments::Arguments;
use crate::cgroups;
use crate::error::{Error, Step as _};
use hull_spec::runtime::ContainerStatus;

/// Thaws the container's control group.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Error> {
    let container = context.container("resume", arguments)?;
    if container.status()? != ContainerStatus::Paused {
        return Err(Error::NotPaused);
    }
    let group = cgroups::open(&container.record.cgroup)?.ok_or(Error::NotPaused)?;
    group.thaw().step(|| "unable to thaw")
}
