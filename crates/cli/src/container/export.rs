//! `hull export`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, value};
use crate::{terminal, transfer};

static FLAGS: &[Flag] =
    &[value("output", "string", "Write to a file, instead of STDOUT").short('o')];

pub(crate) static COMMAND: Command = Command {
    words: &["container export", "export"],
    usage: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let output = matches.text("output");
    transfer::check_output(output, terminal::stdout_is_terminal()).map_err(|why| {
        Failure::new(match output {
            "" => why,
            _ => format!("failed to export container: {why}"),
        })
    })?;
    let client = cli.client()?;
    cli.block_on(async {
        let body = client.export(&matches.args[0]).await?;
        transfer::received(body, output).await
    })
}
