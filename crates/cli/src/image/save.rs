//! `hull save`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, value};
use crate::{platform, terminal, transfer};

static FLAGS: &[Flag] = &[
    value("output", "string", "Write to a file, instead of STDOUT").short('o'),
    value(
        "platform",
        "string",
        "Save only this platform of an image for several, os[/arch[/variant]]",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image save", "save"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let output = matches.text("output");
    transfer::check_output(output, terminal::stdout_is_terminal()).map_err(|why| {
        Failure::new(match output {
            "" => why,
            _ => format!("failed to save image: {why}"),
        })
    })?;
    let platform = platform::json(matches.text("platform"))?;
    let client = cli.client()?;
    cli.block_on(async {
        let body = client.save(&matches.args, &platform).await?;
        transfer::received(body, output).await
    })
}
