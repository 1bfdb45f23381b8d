//! `hull network prune`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag};
use crate::listing::{confirm, filter_flag, prune_filters};
use std::collections::BTreeMap;

static FLAGS: &[Flag] = &[
    filter_flag("Only those that match, such as \"until=<timestamp>\""),
    flag("force", "Do not ask").short('f'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["network prune"],
    usage: "[OPTIONS]",
    about: "Remove networks that nothing uses",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let warning =
        "WARNING! This will remove all custom networks not used by at least one container.";
    if !matches.bool("force") && !confirm(warning) {
        return Ok(());
    }
    prune(cli, &prune_filters(cli, matches.list("filter"))?)
}

/// Prunes and tells what is gone.
pub(crate) fn prune(cli: &Cli, filters: &BTreeMap<String, Vec<String>>) -> Outcome {
    let client = cli.client()?;
    let report = cli.block_on(client.prune_networks(filters))?;
    if let Some(gone) = report.networks_deleted.filter(|names| !names.is_empty()) {
        crate::print(&format!("Deleted Networks:\n{}\n\n", gone.join("\n")));
    }
    Ok(())
}
