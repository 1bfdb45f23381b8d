//! `hull checkpoint create`.

use super::DIRECTORY;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag};
use hull_api::container::CheckpointRequest;

static FLAGS: &[Flag] = &[DIRECTORY, flag("leave-running", "The container goes on")];

pub(crate) static COMMAND: Command = Command {
    words: &["checkpoint create"],
    usage: "[OPTIONS] CONTAINER CHECKPOINT",
    about: "Save a running container",
    flags: &[FLAGS],
    arity: Arity::Exactly(2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let [container, name] = matches.args.as_slice() else {
        return Ok(());
    };
    let request = CheckpointRequest {
        id: name.clone(),
        directory: matches.text("checkpoint-dir").to_owned(),
        exit: !matches.bool("leave-running"),
    };
    cli.block_on(cli.client()?.create_checkpoint(container, &request))?;
    crate::print(&format!("{name}\n"));
    Ok(())
}
