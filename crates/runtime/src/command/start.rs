//! `start`: the first process becomes the user's program.

use super::Context;
use crate::arguments::Arguments;
use crate::error::Error;
use crate::hooks;
use hull_spec::runtime::ContainerStatus;

/// Lets the first process go on, then runs the poststart hooks.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Error> {
    let container = context.container("start", arguments)?;
    if container.process()?.is_none() {
        return Err(crate::error::said(
            "cannot start a container that has stopped",
        ));
    }
    container.directory.release_fifo()?;
    let hooks = container.directory.config()?.hooks.poststart;
    let state = container.record.state(ContainerStatus::Running);
    if let Err(error) = hooks::run("poststart", &hooks, &state) {
        // As runc: a container whose start is not complete is not left running.
        super::delete::kill(&container)?;
        return Err(error);
    }
    Ok(())
}
