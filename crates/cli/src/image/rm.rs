//! `hull rmi`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::{Flag, Matches, flag, list};
use crate::platform;
use hull_api::image::Platform;

static FLAGS: &[Flag] = &[
    flag(
        "force",
        "Remove it even if containers or other names use it",
    )
    .short('f'),
    flag("no-prune", "Keep parents that have no name"),
    list(
        "platform",
        "strings",
        "Remove only what the image has for this platform, os[/arch[/variant]]",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image rm", "image remove", "rmi"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let force = matches.bool("force");
    let no_prune = matches.bool("no-prune");
    let platforms: Vec<Platform> = matches
        .list("platform")
        .iter()
        .flat_map(|text| text.split(','))
        .map(platform::parse)
        .collect::<Result<_, _>>()?;
    let (mut errors, mut fatal) = (Vec::new(), false);
    for name in &matches.args {
        match cli.block_on(client.remove_image(name, force, no_prune, &platforms)) {
            Ok(items) => {
                for item in items {
                    if item.deleted.is_empty() {
                        crate::print(&format!("Untagged: {}\n", item.untagged));
                    } else {
                        crate::print(&format!("Deleted: {}\n", item.deleted));
                    }
                }
            }
            Err(error) => {
                fatal |= !error.is_not_found();
                errors.push(client_message(&error));
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let message = errors.join("\n");
    if force && !fatal {
        // With force, what is gone already is as good as removed.
        crate::say(&message);
        return Ok(());
    }
    Err(Failure::new(message))
}
