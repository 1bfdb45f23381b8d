//! `hull context show`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::Matches;

pub(crate) static COMMAND: Command = Command {
    words: &["context show"],
    usage: "",
    about: "Print the name of the current context",
    flags: &[],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, _: &Matches) -> Outcome {
    crate::print(&format!("{}\n", cli.context_name()));
    Ok(())
}
