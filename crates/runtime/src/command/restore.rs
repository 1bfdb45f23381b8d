//! `restore`: files become a running container.

use super::checkpoint::{
    AUTO_DEDUP, EMPTY_NS, EXT_UNIX_SK, FILE_LOCKS, GROUPS_MODE, LAZY_PAGES, SHELL_JOB,
    TCP_ESTABLISHED, WORK_PATH,
};
use super::create::{BUNDLE, CONSOLE_SOCKET, NO_PIVOT, PID_FILE};
use super::run::{DETACH, own_terminal};
use super::{Command, Context, checkpoint, create, delete, id};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::console;
use crate::criu::{self, Restore};
use crate::error::{Error, Step as _, said};
use crate::foreground;
use crate::launch::{self, Wishes};
use crate::plan::Bundle;
use hull_linux::process::{self, Signals};
use std::path::Path;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "restore",
    summary: "bring a saved container back",
    arguments: "<container-id>\n\nThe id is the name of the new container; no other on this host may have it.",
    description: "Makes the container of a bundle with the processes that \"checkpoint\" has saved,\nwith CRIU (the package criu).",
    flags: &[
        CONSOLE_SOCKET,
        Flag::new(
            "image-path",
            Kind::Text,
            "directory of the files; without it ./checkpoint",
        ),
        WORK_PATH,
        TCP_ESTABLISHED,
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        GROUPS_MODE,
        BUNDLE,
        DETACH,
        PID_FILE,
        Flag::new(
            "no-subreaper",
            Kind::Switch,
            "do not adopt processes whose parent has ended",
        ),
        NO_PIVOT,
        EMPTY_NS,
        AUTO_DEDUP,
        LAZY_PAGES,
        Flag::new(
            "lsm-profile",
            Kind::Text,
            "TYPE:NAME of a profile that replaces the saved one",
        ),
        Flag::new(
            "lsm-mount-context",
            Kind::Text,
            "context of mounts that replaces the saved one",
        ),
    ],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

/// What cannot be done is said before anything is.
fn check(context: &Context) -> Result<(), Error> {
    if context.systemd_cgroup {
        let text = "restore cannot put a container into a systemd unit: leave out --systemd-cgroup";
        return Err(said(text));
    }
    Ok(())
}

/// Restores a container; its exit code is ours unless it is detached.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    check(context)?;
    // What the caller left open is for neither CRIU nor hooks.
    process::close_on_exec_from(3).step(|| "close descriptors on exec")?;
    let options = checkpoint::options(arguments, checkpoint::images(arguments)?)?;
    let bundle = Bundle::read(arguments.text("bundle"))?;
    let id = id(arguments)?;
    let detach = arguments.is_set("detach");
    let terminal = create::terminal(&bundle);
    let socket = arguments.text("console-socket");
    match (terminal, detach, socket) {
        (true, true, None) => {
            return Err(said(
                "cannot allocate tty if runc will detach without setting console socket",
            ));
        }
        (_, false, Some(_)) | (false, _, Some(_)) => {
            return Err(said(
                "cannot use console socket if runc will not detach or allocate tty",
            ));
        }
        _ => {}
    }
    let mut wishes = Wishes {
        console: socket
            .map(|path| console::open(Path::new(path)))
            .transpose()?,
        ..Wishes::default()
    };
    let own_end = own_terminal(&mut wishes, terminal && !detach)?;
    let signals = (!detach).then(Signals::open).transpose();
    let signals = signals.step(|| "open the signals")?;
    if !detach && !arguments.is_set("no-subreaper") {
        let us = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(us).step(|| "become subreaper")?;
    }
    let restore = Restore {
        options,
        lsm_profile: arguments.text("lsm-profile").map(str::to_owned),
        lsm_mount_context: arguments.text("lsm-mount-context").map(str::to_owned),
        console: wishes.console.take(),
        rootless: context.rootless,
    };
    let made = criu::restore(&context.root, &id, &bundle, &restore, &context.report);
    let (container, started) = made?;
    drop(restore);
    let file = arguments.text("pid-file").map(Path::new);
    let written = file.map_or(Ok(()), |file| launch::write_pid(file, container.record.pid));
    let master =
        written.and_then(|()| own_end.as_ref().map(foreground::receive_master).transpose());
    let master = master.inspect_err(|_| {
        launch::end(&started);
        // The failure is what is reported.
        let _ = delete::destroy(&container);
    })?;
    let Some(signals) = signals else {
        return Ok(ExitCode::SUCCESS);
    };
    let code = foreground::stay(&started, &signals, master)?;
    delete::remove_after(&container, &context.report);
    Ok(ExitCode::from(code))
}
