//! `hull network disconnect`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag};

static FLAGS: &[Flag] = &[flag(
    "force",
    "Also when the container cannot be asked, or is gone",
)
.short('f')];

pub(crate) static COMMAND: Command = Command {
    words: &["network disconnect"],
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Disconnect a container from a network",
    flags: &[FLAGS],
    arity: Arity::Exactly(2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let (network, container) = (&matches.args[0], &matches.args[1]);
    let force = matches.bool("force");
    Ok(cli.block_on(client.disconnect_network(network, container, force))?)
}
