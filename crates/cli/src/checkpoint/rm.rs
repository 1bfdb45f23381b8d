//! `hull checkpoint rm`.

use super::DIRECTORY;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches};

static FLAGS: &[Flag] = &[DIRECTORY];

pub(crate) static COMMAND: Command = Command {
    words: &["checkpoint rm", "checkpoint remove"],
    usage: "[OPTIONS] CONTAINER CHECKPOINT",
    about: "Remove a checkpoint",
    flags: &[FLAGS],
    arity: Arity::Exactly(2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let [container, name] = matches.args.as_slice() else {
        return Ok(());
    };
    let directory = matches.text("checkpoint-dir");
    cli.block_on(cli.client()?.remove_checkpoint(container, name, directory))?;
    Ok(())
}
