//! `hull access rm`.

use crate::command::{Arity, Command};
use crate::container::each;
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::Matches;

pub(crate) static COMMAND: Command = Command {
    words: &["access rm", "access remove"],
    usage: "NAME [NAME...]",
    about: "Take scoped sockets away, and cut off who is connected to them",
    flags: &[],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    cli.block_on(each(&matches.args, |name| async move {
        client.remove_grant(&name).await
    }))
}
