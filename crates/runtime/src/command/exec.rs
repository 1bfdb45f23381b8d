//! `exec`: one more process in a running container.

use super::create::{CONSOLE_SOCKET, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS};
use super::run::{DETACH, own_terminal};
use super::{Command, Context, create};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::error::{Error, Step as _, said};
use crate::launch::{self, Wishes};
use crate::state::Container;
use crate::{config, foreground, protect};
use hull_linux::process::Signals;
use hull_spec::runtime::{Capabilities, ContainerStatus, Process};
use std::path::Path;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "exec",
    summary: "run another process in a container",
    arguments: "<container-id> <command> [command options]  || -p process.json <container-id>\n\n\
        The id names the container; the command is what is run in it, unless \"-p\" says so.\n\n\
        EXAMPLE:\n       # hull-runtime exec <container-id> ps",
    description: "",
    flags: FLAGS,
    order: Order::Second,
    count: (1, usize::MAX),
    run,
};

const FLAGS: &[Flag] = &[
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    Flag::new("cwd", Kind::Text, "working directory in the container"),
    Flag::new(
        "env",
        Kind::List,
        "environment variable to add (NAME=value)",
    )
    .letter('e'),
    Flag::new("tty", Kind::Switch, "give it a pseudoterminal").letter('t'),
    Flag::new("user", Kind::Text, "UID (format: <uid>[:<gid>])").letter('u'),
    Flag::new("additional-gids", Kind::List, "more group ids").letter('g'),
    Flag::new("process", Kind::Text, "file with the process as JSON").letter('p'),
    DETACH,
    PID_FILE,
    Flag::new("process-label", Kind::Text, "SELinux label of the process"),
    Flag::new("apparmor", Kind::Text, "AppArmor profile of the process"),
    Flag::new(
        "no-new-privs",
        Kind::Switch,
        "the process cannot gain privileges",
    ),
    Flag::new("cap", Kind::List, "capability to add").letter('c'),
    PRESERVE_FDS,
    Flag::new(
        "cgroup",
        Kind::List,
        "control group below the container's to run in ([<controller>:]<cgroup>)",
    ),
    Flag::new(
        "ignore-paused",
        Kind::Switch,
        "start it though the container is paused",
    ),
];

/// Starts the process and, unless detached, stays with it.
fn run(context: &Context, options: &Arguments) -> Result<ExitCode, Error> {
    protect::executable(create::preserved(options)?)?;
    let container = context.container(options)?;
    match container.status()? {
        ContainerStatus::Stopped => return Err(said("cannot exec in a stopped container")),
        ContainerStatus::Paused if !options.is_set("ignore-paused") => {
            return Err(said(
                "cannot exec in a paused container (use --ignore-paused to override)",
            ));
        }
        _ => {}
    }
    let command = options.rest.get(1..).unwrap_or_default();
    let process = process(&container, options, command)?;
    config::check_process(&process)?;
    let detach = options.is_set("detach");
    let socket = options.text("console-socket");
    if process.terminal && detach && socket.is_none() {
        return Err(said(
            "cannot allocate tty if runc will detach without setting console socket",
        ));
    }
    let mut wishes = Wishes {
        console: launch::console_socket(socket)?,
        pid_file: options.text("pid-file").map(Into::into),
        preserved: create::preserved(options)?,
        ..Wishes::default()
    };
    let own_end = own_terminal(&mut wishes, process.terminal && socket.is_none())?;
    let signals = if detach {
        None
    } else {
        Some(Signals::open().step(|| "open the signals")?)
    };
    let started = launch::join(&container, &process, &wishes)?;
    drop(wishes);
    let Some(signals) = signals else {
        return Ok(ExitCode::SUCCESS);
    };
    let master = own_end
        .as_ref()
        .map(foreground::receive_master)
        .transpose()?;
    Ok(ExitCode::from(foreground::stay(
        &started, &signals, master,
    )?))
}

/// The process of `--process`, or the container's own with what the options change.
fn process(
    container: &Container,
    options: &Arguments,
    command: &[String],
) -> Result<Process, Error> {
    let mut process = match options.text("process") {
        Some(path) => config::read_process(Path::new(path))?,
        None => {
            let spec = container.directory.config()?;
            let mut process = spec
                .process
                .ok_or_else(|| said("process property must not be empty"))?;
            process.args = command.to_vec();
            process.terminal = false;
            process
        }
    };
    if process.args.is_empty() {
        return Err(said("exec args cannot be empty"));
    }
    if options.is_set("tty") {
        process.terminal = true;
    }
    if let Some(cwd) = options.text("cwd") {
        cwd.clone_into(&mut process.cwd);
    }
    if let Some(profile) = options.text("apparmor") {
        profile.clone_into(&mut process.apparmor_profile);
    }
    if let Some(label) = options.text("process-label") {
        label.clone_into(&mut process.selinux_label);
    }
    if options.is_set("no-new-privs") {
        process.no_new_privileges = true;
    }
    process.env.extend(options.values("env").iter().cloned());
    for gid in options.values("additional-gids") {
        process.user.additional_gids.push(number(gid)?);
    }
    if let Some(user) = options.text("user") {
        let (uid, gid) = user
            .split_once(':')
            .map_or((user, None), |(uid, gid)| (uid, Some(gid)));
        process.user.uid = number(uid)?;
        if let Some(gid) = gid {
            process.user.gid = number(gid)?;
        }
    }
    let more: Vec<String> = options.values("cap").to_vec();
    if !more.is_empty() {
        let sets = process
            .capabilities
            .get_or_insert_with(Capabilities::default);
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(more.iter().cloned());
        }
    }
    Ok(process)
}

fn number(text: &str) -> Result<u32, Error> {
    text.parse()
        .step(|| format!("parsing {text} as int failed"))
}
