//! `run`: create, start, and stay until the end.

use super::{Context, create, delete, only_argument};
use crate::arguments::Arguments;
use crate::error::{Error, Step as _, said};
use crate::launch::{self, Started, Wishes};
use crate::plan::Bundle;
use crate::state::Container;
use crate::{foreground, hooks, protect};
use hull_linux::process::Signals;
use hull_spec::runtime::ContainerStatus;
use std::process::ExitCode;

/// Runs a container; its exit code is ours unless it is detached.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let id = only_argument("run", arguments)?;
    protect::executable(create::preserved(arguments)?)?;
    let bundle = Bundle::read(arguments.value("bundle"))?;
    let detach = arguments.is_set("detach");
    let terminal = create::terminal(&bundle);
    if detach && terminal && arguments.value("console-socket").is_none() {
        return Err(said(
            "cannot allocate tty if runc will detach without setting console socket",
        ));
    }
    let mut wishes = create::wishes(arguments, terminal && detach)?;
    let own_end = own_terminal(&mut wishes, terminal && !detach)?;
    // Before the process exists, so that its end cannot be missed.
    let signals = if detach {
        None
    } else {
        Some(Signals::open().step(|| "open the signals")?)
    };
    if !detach && !arguments.is_set("no-subreaper") {
        let us = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(us).step(|| "become subreaper")?;
    }
    let (container, started) =
        launch::create(&context.root, &id, &bundle, &wishes, &context.report)?;
    drop(wishes);
    let master = own_end.as_ref().map(foreground::receive_master).transpose();
    let begun = master.and_then(|master| begin(&container, &started, &bundle).map(|()| master));
    let master = match begun {
        Ok(master) => master,
        Err(error) => {
            launch::end(&started);
            // The failure is what is reported.
            let _ = delete::destroy(&container);
            return Err(error);
        }
    };
    let Some(signals) = signals else {
        return Ok(ExitCode::SUCCESS);
    };
    let code = foreground::stay(&started, &signals, master)?;
    if !arguments.is_set("keep") {
        delete::remove(&container, &context.report)?;
    }
    Ok(ExitCode::from(code))
}

fn begin(container: &Container, started: &Started, bundle: &Bundle) -> Result<(), Error> {
    launch::start_now(started)?;
    let state = container.record.state(ContainerStatus::Running);
    hooks::run("poststart", &bundle.spec.hooks.poststart, &state)
}

/// When we are the other side of the terminal, init sends it to ourselves.
pub(super) fn own_terminal(
    wishes: &mut Wishes,
    wanted: bool,
) -> Result<Option<rustix::fd::OwnedFd>, Error> {
    if !wanted {
        return Ok(None);
    }
    let (ours, theirs) = foreground::console_pair()?;
    wishes.console = Some(theirs);
    Ok(Some(ours))
}
