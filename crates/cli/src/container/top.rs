//! `hull top`: the processes of a container; without one, the full-screen view of all.

use crate::command::{self, Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, chain};
use crate::flags::Matches;
use crate::format::TabWriter;
use hull_top::{Ended, Options};
use std::ffi::OsString;
use std::sync::Arc;

pub(crate) static COMMAND: Command = Command {
    words: &["container top", "top"],
    usage: "CONTAINER [ps OPTIONS]",
    about: "Show the processes of a container (without one: the full-screen view)",
    flags: &[],
    arity: Arity::AtLeast(0),
    interspersed: false,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let Some(container) = matches.args.first() else {
        return view(cli);
    };
    let client = cli.client()?;
    let arguments = matches.args[1..].join(" ");
    let top = cli.block_on(client.top(container, &arguments))?;
    let mut table = TabWriter::new(20, 1);
    for row in std::iter::once(&top.titles).chain(&top.processes) {
        table.push(&row.join("\t"));
        table.push("\n");
    }
    crate::print(&table.finish());
    Ok(())
}

/// The view, where there is a person to look at it. For all others a container is missing, as for Docker.
fn view(cli: &Cli) -> Outcome {
    let terminal = crate::terminal::stdin_is_terminal() && crate::terminal::stdout_is_terminal();
    if command::is_docker() || !terminal {
        let grouped = cli
            .globals()
            .args
            .first()
            .is_some_and(|word| word == "container");
        let words = if grouped { "container top" } else { "top" };
        return Err(command::wrong_count(&COMMAND, words, Arity::AtLeast(1), 0));
    }
    let options = Options {
        client: Arc::clone(cli.client()?),
        program: program(cli)?,
    };
    match cli.block_on(hull_top::run(options)) {
        Ok(Ended::Quit) => Ok(()),
        Ok(Ended::Signal(number)) => {
            Err(Failure::Exit(u8::try_from(128 + number).unwrap_or(u8::MAX)))
        }
        Err(error) => Err(Failure::new(chain(&error))),
    }
}

/// This program with the global flags it was given.
fn program(cli: &Cli) -> Result<Vec<OsString>, Failure> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    words.truncate(words.len().saturating_sub(cli.globals().args.len()).max(1));
    words[0] = std::env::current_exe()?.into();
    Ok(words)
}
