//! `hull container prune`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag, list};
use crate::format::human_size;
use crate::listing::{confirm, filters};

static FLAGS: &[Flag] = &[
    list(
        "filter",
        "filter",
        "Only those that match, such as \"until=<timestamp>\"",
    ),
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
    let client = cli.client()?;
    let filters = filters(matches.list("filter"))?;
    let report = cli.block_on(client.prune_containers(&filters))?;
    if let Some(deleted) = report.containers_deleted.filter(|ids| !ids.is_empty()) {
        crate::print("Deleted Containers:\n");
        for id in deleted {
            crate::print(&format!("{id}\n"));
        }
        crate::print("\n");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
    let space = human_size(report.space_reclaimed as f64, 4);
    crate::print(&format!("Total reclaimed space: {space}\n"));
    Ok(())
}
