//! `hull rename`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::Matches;

pub(crate) static COMMAND: Command = Command {
    words: &["container rename", "rename"],
    usage: "CONTAINER NEW_NAME",
    about: "Give a container another name",
    flags: &[],
    arity: Arity::Exactly(2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let (old, new) = (matches.args[0].trim(), matches.args[1].trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::new(
            "error: Neither old nor new names may be empty",
        ));
    }
    cli.block_on(client.rename(old, new)).map_err(|error| {
        Failure::new(format!(
            "{}\nError: failed to rename container named {old}",
            client_message(&error)
        ))
    })
}
