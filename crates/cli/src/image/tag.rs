//! `hull tag`.

use super::reference;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;

pub(crate) static COMMAND: Command = Command {
    words: &["image tag", "tag"],
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Give an image another name",
    flags: &[],
    arity: Arity::Exactly(2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let target = reference::split(&matches.args[1]);
    if target.digest.is_some() {
        return Err(Failure::new(
            "refusing to create a tag with a digest reference",
        ));
    }
    reference::check(&matches.args[1]).map_err(|failure| {
        Failure::new(format!(
            "Error parsing reference: \"{}\" is not a valid repository/tag: {}",
            matches.args[1],
            failure.message().unwrap_or_default()
        ))
    })?;
    let client = cli.client()?;
    let tag = target.tag.unwrap_or("latest");
    Ok(cli.block_on(client.tag(&matches.args[0], target.repository, tag))?)
}
