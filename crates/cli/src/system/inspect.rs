//! `hull inspect`: whatever has the name.

use crate::command::{Arity, Command};
use crate::container::{container_target, show};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::{Flag, Matches, flag, value};
use hull_api::client::{Client, Error, Target};

static FLAGS: &[Flag] = &[
    value("format", "string", "Fill in a template, or 'json'").short('f'),
    flag("size", "Count the bytes of a container's files").short('s'),
    value("type", "string", "Look only for objects of this type"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["inspect"],
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Show everything about one or more objects",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

/// In the order in which a name is looked up.
const TYPES: &[&str] = &["container", "image", "network", "volume"];

/// Types that only a swarm has objects of.
const SWARM_TYPES: &[&str] = &["config", "node", "plugin", "secret", "service", "task"];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let wanted = matches.text("type");
    let known = || [SWARM_TYPES, TYPES].concat();
    if matches.changed("type") && !known().contains(&wanted) {
        let mut all = known();
        all.sort_unstable();
        let all = all.join("\", \"");
        let what = if wanted.is_empty() {
            "type is empty".to_owned()
        } else {
            format!("unknown type: \"{wanted}\"")
        };
        return Err(Failure::new(format!("{what}: must be one of \"{all}\"")));
    }
    let client = cli.client()?;
    let size = matches.bool("size");
    cli.block_on(show(&matches.args, matches.text("format"), |name| {
        find(client, name, wanted, size)
    }))
}

async fn find(client: &Client, name: String, wanted: &str, size: bool) -> Result<String, String> {
    for kind in TYPES {
        if !wanted.is_empty() && wanted != *kind {
            continue;
        }
        let target = match *kind {
            "container" => container_target(&name, size),
            "image" => Target::segments(&["images", &name, "json"]),
            "network" => Target::segments(&["networks", &name]),
            _ => Target::segments(&["volumes", &name]),
        };
        match client.get_raw(&target).await {
            Ok(bytes) => {
                if size && *kind != "container" {
                    crate::say(&format!("WARNING: --size ignored for {kind}"));
                }
                return Ok(String::from_utf8_lossy(&bytes).trim().to_owned());
            }
            Err(error) if wanted.is_empty() && is_skippable(&error) => {}
            Err(error) => return Err(client_message(&error)),
        }
    }
    Err(format!("Error: No such object: {name}"))
}

/// Whether another kind of object may still have the name.
fn is_skippable(error: &Error) -> bool {
    error.is_not_found()
        || matches!(error, Error::Daemon { message, .. }
            if message.contains("not supported") || message.contains("invalid reference format"))
}
