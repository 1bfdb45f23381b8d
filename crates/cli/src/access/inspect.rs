//! `hull access inspect`.

use crate::command::{Arity, Command};
use crate::container::show;
use crate::context::Cli;
use crate::failure::{Outcome, client_message};
use crate::flags::{Flag, Matches, value};
use hull_api::client::Target;

static FLAGS: &[Flag] = &[value("format", "string", "Fill in a template, or 'json'").short('f')];

pub(crate) static COMMAND: Command = Command {
    words: &["access inspect"],
    usage: "[OPTIONS] NAME [NAME...]",
    about: "Show everything about one or more scoped sockets",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    cli.block_on(show(
        &matches.args,
        matches.text("format"),
        |name| async move {
            let target = Target::segments(&["hull", "access", &name]);
            match client.get_raw(&target).await {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim().to_owned()),
                Err(error) => Err(client_message(&error)),
            }
        },
    ))
}
