//! `hull checkpoint ls`.

use super::DIRECTORY;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches};
use crate::listing::Listing;
use crate::template::{Data, Record};

static FLAGS: &[Flag] = &[DIRECTORY];

pub(crate) static COMMAND: Command = Command {
    words: &["checkpoint ls", "checkpoint list"],
    usage: "[OPTIONS] CONTAINER",
    about: "List checkpoints of a container",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let listing = Listing::new("", false, "table {{.Name}}", &[("Name", "CHECKPOINT NAME")])?;
    let directory = matches.text("checkpoint-dir");
    let client = cli.client()?;
    let list = cli.block_on(client.checkpoints(&matches.args[0], directory))?;
    let row = |name: String| {
        let members = vec![("Name", name.into())];
        Data::Record(Record::new("*checkpoint.checkpointContext", members))
    };
    listing.print(list.into_iter().map(|checkpoint| row(checkpoint.name)))
}
