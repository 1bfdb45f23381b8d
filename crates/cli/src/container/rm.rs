//! `hull rm`.

use super::each;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
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
    cli.block_on(each(&matches.args, |name| async move {
        let name = name.trim_matches('/');
        match client.remove(name, force, volumes, link).await {
            // With force, what is gone already is as good as removed.
            Err(error) if force && error.is_not_found() => {
                crate::say(&crate::failure::client_message(&error));
                Ok(())
            }
            result => result,
        }
    }))
}
