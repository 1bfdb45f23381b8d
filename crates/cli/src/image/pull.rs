//! `hull pull`.

use super::reference::{self, canonical, registry};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag, value};
use crate::progress::{self, Output};

static FLAGS: &[Flag] = &[
    flag("all-tags", "Download every tag of the repository").short('a'),
    flag(
        "disable-content-trust",
        "No effect: content trust is gone from Docker",
    )
    .default("true"),
    value(
        "platform",
        "string",
        "Platform to choose of an image for several",
    ),
    flag("quiet", "Say only which image it was").short('q'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image pull", "pull"],
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let typed = &matches.args[0];
    reference::check(typed)?;
    let name = reference::split(typed);
    let all = matches.bool("all-tags");
    let quiet = matches.bool("quiet");
    if all && (name.tag.is_some() || name.digest.is_some()) {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !all && name.tag.is_none() && name.digest.is_none() && !quiet {
        crate::print("Using default tag: latest\n");
    }
    let output = if quiet { Output::None } else { Output::Stdout };
    cli.block_on(pull(cli, typed, all, matches.text("platform"), output))?;
    let shown = match (name.tag, name.digest) {
        (_, Some(digest)) => format!("{}@{digest}", canonical(name.repository)),
        (Some(tag), None) => format!("{}:{tag}", canonical(name.repository)),
        (None, None) if all => canonical(name.repository),
        (None, None) => format!("{}:latest", canonical(name.repository)),
    };
    crate::print(&format!("{shown}\n"));
    Ok(())
}

/// Pulls the image of a container; what is said goes to standard error, because standard output is
/// the container's.
pub(crate) async fn pull_for_run(cli: &Cli, image: &str, platform: &str, quiet: bool) -> Outcome {
    let output = if quiet { Output::None } else { Output::Stderr };
    pull(cli, image, false, platform, output).await
}

async fn pull(cli: &Cli, typed: &str, all: bool, platform: &str, output: Output) -> Outcome {
    let name = reference::split(typed);
    let auth = cli.config().encoded(registry(name.repository))?;
    // A digest is more exact than a tag beside it.
    let tag = match (name.digest, name.tag) {
        (Some(digest), _) => digest,
        (None, Some(tag)) => tag,
        (None, None) if all => "",
        (None, None) => "latest",
    };
    let client = cli.client()?;
    let messages = client.pull(name.repository, tag, platform, auth).await?;
    progress::show(messages, output, client.is_here()).await
}
