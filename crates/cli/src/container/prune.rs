//! `hull container prune`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::listing::{confirm, filter_flag, prune_filters};
use std::collections::BTreeMap;

static FLAGS: &[Flag] = &[
    filter_flag("Only those that match, such as \"until=<timestamp>\""),
    flag("force", "Do not ask").short('f'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container prune"],
    usage: "[OPTIONS]",
    about: "Remove all containers that do not run",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let warning = "WARNING! This will remove all stopped containers.";
    if !matches.bool("force") && !confirm(warning) {
        return Ok(());
    }
    let filters = prune_filters(cli, matches.list("filter"))?;
    let space = prune(cli, &filters)?;
    crate::listing::reclaimed(space);
    Ok(())
}

/// Prunes and tells what is gone; returns the bytes of it.
pub(crate) fn prune(cli: &Cli, filters: &BTreeMap<String, Vec<String>>) -> Result<u64, Failure> {
    let client = cli.client()?;
    let report = cli.block_on(client.prune_containers(filters))?;
    if let Some(deleted) = report.containers_deleted.filter(|ids| !ids.is_empty()) {
        crate::print("Deleted Containers:\n");
        for id in deleted {
            crate::print(&format!("{id}\n"));
        }
        crate::print("\n");
    }
    Ok(report.space_reclaimed)
}
