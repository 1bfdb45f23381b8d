//! `exec`: one more process in a running container.

use super::create::{CONSOLE_SOCKET, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS};
use super::run::{DETACH, own_terminal};
use super::{Command, Context, create};
use crate::arguments::{Arguments, Flag, Kind, Order, not_a_number};
use crate::error::{Error, Step as _, said};
use crate::launch::{self, Wishes};
use crate::plan::scheduling;
use crate::{config, foreground, protect};
use hull_linux::process::Signals;
use hull_spec::runtime::{Capabilities, ContainerStatus, Process, Spec};
use rustix::fs::{Mode, OFlags};
use std::io::Read as _;
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
    Flag::new("additional-gids", Kind::Numbers, "more group ids").letter('g'),
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
    let preserved = create::preserved(options, 0)?;
    protect::executable(preserved)?;
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
    let spec = container.directory.config()?;
    let process = match options.text("process") {
        Some(path) => confined(read(path)?, &spec),
        None => described(&spec, options)?,
    };
    if process.args.is_empty() {
        return Err(said("args must not be empty"));
    }
    config::check_process(&process)?;
    let mut warnings = Vec::new();
    if let Some(sets) = &process.capabilities {
        config::warn_of_capabilities(sets, &mut warnings);
    }
    for warning in warnings {
        context.report.warning(&warning);
    }
    tell_affinity(context, &process)?;
    let detach = options.is_set("detach");
    let mut wishes = Wishes {
        preserved,
        ..create::wishes(options, process.terminal, detach)?
    };
    let own_end = own_terminal(&mut wishes, process.terminal && !detach)?;
    let signals = if detach {
        None
    } else {
        Some(Signals::open().step(|| "open the signals")?)
    };
    let started = launch::join(&container, &spec, &process, &wishes)?;
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

/// What a process file leaves out is as the container's first process has it: a file without a profile
/// or limits is no way out of the container's.
fn confined(mut process: Process, spec: &Spec) -> Process {
    let Some(first) = spec.process.clone() else {
        return process;
    };
    if process.apparmor_profile.is_empty() {
        process.apparmor_profile = first.apparmor_profile;
    }
    if process.selinux_label.is_empty() {
        process.selinux_label = first.selinux_label;
    }
    if process.rlimits.is_empty() {
        process.rlimits = first.rlimits;
    }
    process.capabilities = process.capabilities.or(first.capabilities);
    process.io_priority = process.io_priority.or(first.io_priority);
    process.scheduler = process.scheduler.or(first.scheduler);
    process.exec_cpu_affinity = process.exec_cpu_affinity.or(first.exec_cpu_affinity);
    process
}

/// Which processors the process begins on, for those who debug.
fn tell_affinity(context: &Context, process: &Process) -> Result<(), Error> {
    if let Some(affinity) = &process.exec_cpu_affinity {
        let mask = scheduling::processors("initial", &affinity.initial)?.unwrap_or_default();
        context.report.debug(|| {
            let digits: String = mask
                .iter()
                .rev()
                .map(|word| format!("{word:016x}"))
                .collect();
            format!("initial CPU affinity: 0x{}", digits.trim_start_matches('0'))
        });
    }
    Ok(())
}

/// The process of a file.
fn read(path: &str) -> Result<Process, Error> {
    let mut text = Vec::new();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).step(|| format!("open {path}"))?;
    std::fs::File::from(file)
        .take(config::MAX_BYTES + 1)
        .read_to_end(&mut text)
        .step(|| format!("read {path}"))?;
    if text.len() as u64 > config::MAX_BYTES {
        return Err(said(format!("{path} is too large")));
    }
    serde_json::from_slice(&text).step(|| format!("parse {path}"))
}

/// The container's own process with what the options change.
fn described(spec: &Spec, options: &Arguments) -> Result<Process, Error> {
    let command = options.rest.get(1..).unwrap_or_default();
    if command.is_empty() {
        return Err(said("exec args cannot be empty"));
    }
    let process = spec.process.clone();
    let mut process = process.ok_or_else(|| said("process property must not be empty"))?;
    process.args = command.to_vec();
    process.terminal = options.is_set("tty");
    if let Some(cwd) = options.text("cwd") {
        cwd.clone_into(&mut process.cwd);
    }
    if let Some(profile) = options.text("apparmor") {
        profile.clone_into(&mut process.apparmor_profile);
    }
    if let Some(label) = options.text("process-label") {
        label.clone_into(&mut process.selinux_label);
    }
    if options.value("no-new-privs").is_some() {
        process.no_new_privileges = options.is_set("no-new-privs");
    }
    process.env.extend(options.values("env").iter().cloned());
    if let Some(user) = options.text("user") {
        let (uid, gid) = user
            .split_once(':')
            .map_or((user, None), |(uid, gid)| (uid, Some(gid)));
        if let Some(gid) = gid {
            process.user.gid = number(gid).step(|| "bad gid")?;
        }
        process.user.uid = number(uid).step(|| "bad uid")?;
    }
    for gid in options.values("additional-gids") {
        let wrong = |_| said(format!("additional-gids must be a positive number {gid}"));
        process
            .user
            .additional_gids
            .push(gid.parse().map_err(wrong)?);
    }
    add_capabilities(&mut process, options.values("cap"));
    Ok(process)
}

/// Adds capabilities to the sets of a process. Ambient ones must be inheritable, which `--cap` does not make
/// them: only where the container's process has inheritable ones are they added there too, as by runc.
fn add_capabilities(process: &mut Process, more: &[String]) {
    if more.is_empty() {
        return;
    }
    let sets = process
        .capabilities
        .get_or_insert_with(Capabilities::default);
    let mut changed = vec![&mut sets.bounding, &mut sets.effective, &mut sets.permitted];
    if !sets.inheritable.is_empty() {
        changed.push(&mut sets.ambient);
    }
    for set in changed {
        set.extend(more.iter().cloned());
    }
}

fn number(text: &str) -> Result<u32, Error> {
    text.parse().map_err(|_| said(not_a_number("Atoi", text)))
}
