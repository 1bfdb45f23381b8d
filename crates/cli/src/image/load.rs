//! `hull load`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag, value};
use crate::progress::{self, Output};
use crate::{platform, terminal, transfer};

static FLAGS: &[Flag] = &[
    value(
        "input",
        "string",
        "Read from tar archive file, instead of STDIN",
    )
    .short('i'),
    value(
        "platform",
        "string",
        "Load only this platform of an image for several, os[/arch[/variant]]",
    ),
    flag("quiet", "Suppress the load output").short('q'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image load", "load"],
    usage: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let input = matches.text("input");
    let platform = platform::json(matches.text("platform"))?;
    let archive = match input {
        "" if terminal::stdin_is_terminal() => {
            let text = "requested load from stdin, but stdin is empty";
            return Err(Failure::new(text));
        }
        "" => transfer::sent(std::io::stdin()),
        path => transfer::sent(transfer::open(path)?),
    };
    // Without a terminal nobody sees bars.
    let quiet = matches.bool("quiet") || !terminal::stdout_is_terminal();
    let client = cli.client()?;
    cli.block_on(async {
        let messages = client.load(archive, quiet, &platform).await?;
        progress::show(messages, Output::Stdout, client.is_here()).await
    })
}
