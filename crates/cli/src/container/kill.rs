//! `hull kill`.

use super::each;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, value};

static FLAGS: &[Flag] = &[value("signal", "string", "Signal to send").short('s')];

pub(crate) static COMMAND: Command = Command {
    words: &["container kill", "kill"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Send a signal to one or more running containers",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let signal = matches.text("signal");
    cli.block_on(each(&matches.args, |name| async move {
        client.kill(&name, signal).await
    }))
}
