//! `kill`: a signal to the first process, or to all.

use super::{Command, Context};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::cgroups;
use crate::error::{Error, Step as _, said};
use crate::state::Container;
use hull_linux::cgroup::Cgroup;
use hull_linux::process::send_to_pidfd;
use hull_spec::runtime::{ContainerStatus, NamespaceKind};
use rustix::fd::AsFd as _;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "kill",
    summary: "send a signal to the first process of a container",
    arguments: "<container-id> [signal]\n\nThe id names the container; the signal is a name or a number, TERM without it.\n\nEXAMPLE:\nTo end the container \"ubuntu01\" at once:\n\n       # hull-runtime kill ubuntu01 KILL",
    description: "",
    flags: &[Flag::new(
        "all",
        Kind::Switch,
        "send it to all processes of the container",
    )
    .letter('a')],
    order: Order::Anywhere,
    count: (1, 2),
    run,
};

/// Signals by number, from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Sends the signal.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let container = context.container(arguments)?;
    let signal = arguments.rest.get(1).map(String::as_str);
    let signal = parse(signal.filter(|signal| !signal.is_empty()).unwrap_or("TERM"))?;
    let all = arguments.is_set("all");
    match send(&container, signal, all) {
        // All of no processes have got it.
        Err(Error::NotRunning) if all => {}
        other => other?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends a signal to the first process, or to all.
pub(crate) fn send(container: &Container, signal: i32, all: bool) -> Result<(), Error> {
    let group = cgroups::open(&container.record.cgroup)?;
    let target = container.process()?;
    // Without a PID namespace of its own, nothing else ends the others when the first process is gone.
    // Without a group nothing knows of others.
    if let Some(group) = &group
        && (all || (signal == SIGKILL && !has_pid_namespace(container)))
    {
        if target.is_none() && (!all || group.pids().step(|| "list the processes")?.is_empty()) {
            return Err(Error::NotRunning);
        }
        return send_to_all(group, signal);
    }
    let target = target.ok_or(Error::NotRunning)?;
    match send_to_pidfd(target.as_fd(), signal) {
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
            return Err(Error::NotRunning);
        }
        other => other.step(|| "unable to signal init")?,
    }
    if signal == SIGKILL && container.status()? == ContainerStatus::Paused {
        // What is frozen does not die.
        if let Some(group) = group {
            group.thaw().step(|| "thaw the container")?;
        }
    }
    Ok(())
}

fn send_to_all(group: &Cgroup, signal: i32) -> Result<(), Error> {
    if signal == SIGKILL {
        // Frozen meanwhile, so that none can be born unseen.
        return group
            .signal_all(Signal::KILL)
            .step(|| "unable to kill all processes");
    }
    // Here too none is to be born between the look and the signal. What was paused stays so.
    let frozen = !group.is_frozen() && group.freeze().is_ok();
    let sent = send_to_each(group, signal);
    if frozen {
        group.thaw().step(|| "thaw the container")?;
    }
    sent
}

fn send_to_each(group: &Cgroup, signal: i32) -> Result<(), Error> {
    for pid in group.pids().step(|| "list the processes")? {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(Ok(process)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
            // It has ended meanwhile.
            continue;
        };
        match send_to_pidfd(process.as_fd(), signal) {
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
            other => other.step(|| "unable to signal all processes")?,
        }
    }
    Ok(())
}

const SIGKILL: i32 = 9;

/// Whether all processes of a container end with its first. Not if nobody knows.
pub(super) fn has_pid_namespace(container: &Container) -> bool {
    let spec = container.directory.config().ok();
    let linux = spec.and_then(|spec| spec.linux);
    linux.is_some_and(|linux| {
        let own = |namespace: &&hull_spec::runtime::Namespace| namespace.kind == NamespaceKind::Pid;
        linux
            .namespaces
            .iter()
            .find(own)
            .is_some_and(|namespace| namespace.path.is_empty())
    })
}

/// A signal by number or name, with or without `SIG`; real-time ones as `RTMIN+2` or `RTMAX-1`.
fn parse(text: &str) -> Result<i32, Error> {
    let unknown = || said(format!("unknown signal {text:?}"));
    // Which numbers are signals is the kernel's matter; 0 asks whether there is a process.
    if let Ok(number) = text.parse::<i32>() {
        return Ok(number);
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(index + 1).map_err(|_| unknown());
    }
    let offset = |text: &str| {
        if text.is_empty() {
            Ok(0)
        } else {
            text.parse::<i32>()
        }
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => 34 + offset(rest).map_err(|_| unknown())?,
        (_, Some(rest)) => 64 + offset(rest).map_err(|_| unknown())?,
        _ => return Err(unknown()),
    };
    if (34..=64).contains(&number) {
        Ok(number)
    } else {
        Err(unknown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text).expect("known"), number);
        }
        assert_eq!(parse("0").expect("known"), 0);
        for text in ["BOGUS", "RTMIN+99", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
