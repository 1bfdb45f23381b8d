//! `run`: create, start, and stay until the end.

use super::create::{
    BUNDLE, CONSOLE_SOCKET, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS,
};
use super::{Command, Context, create, delete, id};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::error::{Error, Step as _};
use crate::launch::{self, Started, Wishes};
use crate::plan::Bundle;
use crate::state::Container;
use crate::{foreground, hooks, protect};
use hull_linux::process::Signals;
use hull_spec::runtime::ContainerStatus;
use std::process::ExitCode;

pub(super) const DETACH: Flag = Flag::new(
    "detach",
    Kind::Switch,
    "do not stay until the process has ended",
)
.letter('d');

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "run",
    summary: "make a container and start it",
    arguments: "<container-id>\n\nThe id is the name of the new container; no other on this host may have it.",
    description: "Makes the container of a bundle, starts its process, and ends with its exit code.\n\nThe bundle is a directory with a file \"config.json\" and a root file system. What\nis run is in the file: its process has the list args. See \"hull-runtime spec --help\".",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        DETACH,
        Flag::new(
            "keep",
            Kind::Switch,
            "do not delete the container when it has ended",
        ),
        PID_FILE,
        Flag::new(
            "no-subreaper",
            Kind::Switch,
            "do not adopt processes whose parent has ended",
        ),
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
    ],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

/// Runs a container; its exit code is ours unless it is detached.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let preserved = create::preserved(arguments, create::listening())?;
    protect::executable(preserved)?;
    let bundle = create::bundle(arguments)?;
    let id = id(arguments)?;
    let detach = arguments.is_set("detach");
    let terminal = create::terminal(&bundle);
    let mut wishes = Wishes {
        preserved,
        rootless: context.rootless,
        systemd: context.systemd_cgroup,
        ..create::wishes(arguments, terminal, detach)?
    };
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
        delete::remove_after(&container, &context.report);
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
