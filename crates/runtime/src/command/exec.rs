//! `exec`: one more process in a running container.

use super::{Context, create, run::own_terminal};
use crate::arguments::{Arguments, Flag};
use crate::error::{Error, Step as _, said};
use crate::id::ContainerId;
use crate::launch::{self, Wishes};
use crate::state::Container;
use crate::{config, foreground, protect};
use hull_linux::process::Signals;
use hull_spec::runtime::{Capabilities, ContainerStatus, Process};
use std::path::Path;
use std::process::ExitCode;

/// Options of `exec`.
pub(super) const FLAGS: &[Flag] = &[
    Flag("console-socket", None, true),
    Flag("pidfd-socket", None, true),
    Flag("cwd", None, true),
    Flag("env", Some('e'), true),
    Flag("tty", Some('t'), false),
    Flag("user", Some('u'), true),
    Flag("additional-gids", Some('g'), true),
    Flag("process", Some('p'), true),
    Flag("detach", Some('d'), false),
    Flag("pid-file", None, true),
    Flag("process-label", None, true),
    Flag("apparmor", None, true),
    Flag("no-new-privs", None, false),
    Flag("cap", Some('c'), true),
    Flag("preserve-fds", None, true),
    Flag("cgroup", None, true),
    Flag("ignore-paused", None, false),
];

/// Starts the process and, unless detached, stays with it.
pub(super) fn run(context: &Context, typed: &Arguments) -> Result<ExitCode, Error> {
    // Options may follow the id; what follows the command's name is the command's.
    let (id, rest) = typed
        .rest
        .split_first()
        .ok_or_else(|| said("runc: \"exec\" requires a minimum of 1 argument"))?;
    let after = Arguments::parse(rest.iter().map(Into::into).collect(), FLAGS, false)?;
    let id = ContainerId::parse(id)?;
    let options = Merged(typed, &after);
    protect::executable(create::preserved(options.source("preserve-fds"))?)?;
    let container = Container::load(&context.root, &id)?;
    match container.status()? {
        ContainerStatus::Stopped => return Err(said("cannot exec in a stopped container")),
        ContainerStatus::Paused if !options.is_set("ignore-paused") => {
            return Err(said(
                "cannot exec in a paused container (use --ignore-paused to override)",
            ));
        }
        _ => {}
    }
    let process = process(&container, &options, &after.rest)?;
    config::check_process(&process)?;
    let detach = options.is_set("detach");
    let socket = options.value("console-socket");
    if process.terminal && detach && socket.is_none() {
        return Err(said(
            "cannot allocate tty if runc will detach without setting console socket",
        ));
    }
    let mut wishes = Wishes {
        console: launch::console_socket(socket)?,
        pid_file: options.value("pid-file").map(Into::into),
        preserved: create::preserved(options.source("preserve-fds"))?,
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

/// Options before and after the id; the later ones win.
struct Merged<'a>(&'a Arguments, &'a Arguments);

impl Merged<'_> {
    fn source(&self, name: &str) -> &Arguments {
        if self.1.value(name).is_some() {
            self.1
        } else {
            self.0
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.source(name).value(name)
    }

    fn is_set(&self, name: &str) -> bool {
        self.source(name).is_set(name)
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &String> {
        self.0.values(name).iter().chain(self.1.values(name))
    }
}

/// The process of `--process`, or the container's own with what the options change.
fn process(
    container: &Container,
    options: &Merged<'_>,
    command: &[String],
) -> Result<Process, Error> {
    let mut process = match options.value("process") {
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
    if let Some(cwd) = options.value("cwd") {
        cwd.clone_into(&mut process.cwd);
    }
    if let Some(profile) = options.value("apparmor") {
        profile.clone_into(&mut process.apparmor_profile);
    }
    if let Some(label) = options.value("process-label") {
        label.clone_into(&mut process.selinux_label);
    }
    if options.is_set("no-new-privs") {
        process.no_new_privileges = true;
    }
    process.env.extend(options.values("env").cloned());
    for gid in options.values("additional-gids") {
        process.user.additional_gids.push(number(gid)?);
    }
    if let Some(user) = options.value("user") {
        let (uid, gid) = user
            .split_once(':')
            .map_or((user, None), |(uid, gid)| (uid, Some(gid)));
        process.user.uid = number(uid)?;
        if let Some(gid) = gid {
            process.user.gid = number(gid)?;
        }
    }
    let more: Vec<String> = options.values("cap").cloned().collect();
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
