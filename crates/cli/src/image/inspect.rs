//! `hull image inspect`.

use crate::command::{Arity, Command};
use crate::container::show;
use crate::context::Cli;
use crate::failure::{Outcome, client_message};
use crate::flags::{Flag, Matches, value};
use crate::platform;
use hull_api::client::Target;

static FLAGS: &[Flag] = &[
    value("format", "string", "Fill in a template, or 'json'").short('f'),
    value(
        "platform",
        "string",
        "Of an image for several platforms this one, os[/arch[/variant]]",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image inspect"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Show everything about one or more images",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let platform = platform::json(matches.text("platform"))?;
    let platform = Some(platform.as_str()).filter(|platform| !platform.is_empty());
    cli.block_on(show(
        &matches.args,
        matches.text("format"),
        |name| async move {
            let target =
                Target::segments(&["images", &name, "json"]).query_some("platform", platform);
            match client.get_raw(&target).await {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim().to_owned()),
                Err(error) => Err(client_message(&error)),
            }
        },
    ))
}
