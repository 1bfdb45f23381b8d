//! `hull volume prune`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::listing::{confirm, filter_flag, prune_filters};
use std::collections::BTreeMap;

static FLAGS: &[Flag] = &[
    flag("all", "Remove also volumes that have names").short('a'),
    filter_flag("Only those that match, such as \"label=<label>\""),
    flag("force", "Do not ask").short('f'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["volume prune"],
    usage: "[OPTIONS]",
    about: "Remove volumes that nothing uses",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let mut filters = prune_filters(cli, matches.list("filter"))?;
    let all = matches.bool("all");
    let warning = if all {
        if filters.contains_key("all") {
            return Err(Failure::new(
                "conflicting options: cannot specify both --all and --filter all=1",
            ));
        }
        filters.insert("all".to_owned(), vec!["true".to_owned()]);
        "WARNING! This will remove all local volumes not used by at least one container."
    } else {
        "WARNING! This will remove anonymous local volumes not used by at least one container."
    };
    if !matches.bool("force") && !confirm(warning) {
        return Ok(());
    }
    let space = prune(cli, &filters)?;
    crate::listing::reclaimed(space);
    Ok(())
}

/// Prunes, tells what is gone, and gives the bytes.
pub(crate) fn prune(cli: &Cli, filters: &BTreeMap<String, Vec<String>>) -> Result<u64, Failure> {
    let client = cli.client()?;
    let report = cli.block_on(client.prune_volumes(filters))?;
    if !report.volumes_deleted.is_empty() {
        let gone = report.volumes_deleted.join("\n");
        crate::print(&format!("Deleted Volumes:\n{gone}\n\n"));
    }
    Ok(report.space_reclaimed)
}
