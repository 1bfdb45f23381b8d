//! `hull rm`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::{Flag, Matches, flag};

static FLAGS: &[Flag] = &[
    flag("force", "Kill a container that runs").short('f'),
    flag("link", "Remove the link of this name").short('l'),
    flag("volumes", "Remove the container's anonymous volumes too").short('v'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container rm", "container remove", "rm"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove one or more containers",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let force = matches.bool("force");
    let volumes = matches.bool("volumes");
    let link = matches.bool("link");
    let mut errors = Vec::new();
    cli.block_on(async {
        for name in &matches.args {
            let bare = name.trim_matches('/');
            match client.remove(bare, force, volumes, link).await {
                Ok(()) => crate::print(&format!("{name}\n")),
                // With force, what is gone already is as good as removed.
                Err(error) if force && error.is_not_found() => {
                    crate::say(&client_message(&error));
                }
                Err(error) => errors.push(client_message(&error)),
            }
        }
    });
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(errors.join("\n"))),
    }
}
