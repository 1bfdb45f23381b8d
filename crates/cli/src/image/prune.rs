//! `hull image prune`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::listing::{confirm, filter_flag, prune_filters};
use std::collections::BTreeMap;

static FLAGS: &[Flag] = &[
    flag(
        "all",
        "Remove also images that have names but no containers",
    )
    .short('a'),
    filter_flag("Only those that match, such as \"until=<timestamp>\""),
    flag("force", "Do not ask").short('f'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image prune"],
    usage: "[OPTIONS]",
    about: "Remove images that nothing uses",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let all = matches.bool("all");
    let warning = if all {
        "WARNING! This will remove all images without at least one container associated to them."
    } else {
        "WARNING! This will remove all dangling images."
    };
    if !matches.bool("force") && !confirm(warning) {
        return Ok(());
    }
    let filters = prune_filters(cli, matches.list("filter"))?;
    let space = prune(cli, all, filters)?;
    crate::listing::reclaimed(space);
    Ok(())
}

/// Prunes and tells what is gone; returns the bytes of it.
pub(crate) fn prune(
    cli: &Cli,
    all: bool,
    mut filters: BTreeMap<String, Vec<String>>,
) -> Result<u64, Failure> {
    filters.insert("dangling".to_owned(), vec![(!all).to_string()]);
    let client = cli.client()?;
    let report = cli.block_on(client.prune_images(&filters))?;
    if let Some(items) = report.images_deleted.filter(|items| !items.is_empty()) {
        crate::print("Deleted Images:\n");
        for item in items {
            if item.untagged.is_empty() {
                crate::print(&format!("deleted: {}\n", item.deleted));
            } else {
                crate::print(&format!("untagged: {}\n", item.untagged));
            }
        }
        crate::print("\n");
    }
    Ok(report.space_reclaimed)
}
