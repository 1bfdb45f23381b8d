//! Commands about containers, one file each.

mod attach;
mod commit;
mod cp;
mod create;
mod debug;
mod diff;
mod exec;
mod export;
mod inspect;
mod kill;
mod logs;
mod ls;
mod options;
mod pause;
mod port;
mod prune;
mod rename;
mod rm;
mod run;
mod start;
mod stats;
mod stop;
mod top;
mod update;
mod wait;

use crate::command::Command;
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::terminal::DetachKeys;
use hull_api::client;
use std::future::Future;

pub(crate) use cp::unpack_below;
pub(crate) use inspect::{container_target, show};
pub(crate) use ls::row;
pub(crate) use options::{check_label, check_link, csv, pairs};
pub(crate) use prune::prune;
pub(crate) use run::run_shell;

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[
    &attach::COMMAND,
    &commit::COMMAND,
    &cp::COMMAND,
    &create::COMMAND,
    &debug::COMMAND,
    &diff::COMMAND,
    &exec::COMMAND,
    &export::COMMAND,
    &inspect::COMMAND,
    &kill::COMMAND,
    &logs::COMMAND,
    &ls::COMMAND,
    &pause::PAUSE,
    &pause::UNPAUSE,
    &port::COMMAND,
    &prune::COMMAND,
    &rename::COMMAND,
    &rm::COMMAND,
    &run::COMMAND,
    &start::COMMAND,
    &stats::COMMAND,
    &stop::STOP,
    &stop::RESTART,
    &top::COMMAND,
    &update::COMMAND,
    &wait::COMMAND,
];

/// Does something to each of several objects: prints the name of each that it was done to, the
/// errors afterwards, and fails when there were any.
pub(crate) async fn each<F, T>(names: &[String], action: impl Fn(String) -> F) -> Outcome
where
    F: Future<Output = Result<T, client::Error>>,
{
    let mut errors = Vec::new();
    for name in names {
        match action(name.clone()).await {
            Ok(_) => crate::print(&format!("{name}\n")),
            Err(error) => errors.push(client_message(&error)),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(errors.join("\n")))
    }
}

/// The detach keys of a flag, of the configuration, or Docker's.
fn detach_keys(cli: &Cli, flag: &str) -> Result<(String, DetachKeys), Failure> {
    let text = if flag.is_empty() {
        cli.config().detach_keys()
    } else {
        flag
    };
    if text.is_empty() {
        return Ok((String::new(), DetachKeys::default()));
    }
    let keys = text.parse().map_err(Failure::new)?;
    Ok((text.to_owned(), keys))
}

/// Refuses a terminal for the container where there is none here.
fn check_terminal(stdin: bool, tty: bool) -> Outcome {
    if stdin && tty && !crate::terminal::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    Ok(())
}

/// A container's exit code as ours.
fn exit_with(status: i64) -> Outcome {
    match status {
        0 => Ok(()),
        // As the kernel does: the low eight bits.
        status => Err(Failure::Exit(status.to_le_bytes()[0])),
    }
}
