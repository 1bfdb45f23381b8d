//! `hull top`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::Matches;
use crate::format::TabWriter;

pub(crate) static COMMAND: Command = Command {
    words: &["container top", "top"],
    usage: "CONTAINER [ps OPTIONS]",
    about: "Show the processes of a container",
    flags: &[],
    arity: Arity::AtLeast(1),
    interspersed: false,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let arguments = matches.args[1..].join(" ");
    let top = cli.block_on(client.top(&matches.args[0], &arguments))?;
    let mut table = TabWriter::new(20, 1);
    for row in std::iter::once(&top.titles).chain(&top.processes) {
        table.push(&row.join("\t"));
        table.push("\n");
    }
    crate::print(&table.finish());
    Ok(())
}
