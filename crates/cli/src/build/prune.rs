//! `hull builder prune`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Kind, Matches, flag, value};
use crate::listing::{confirm, filter_flag, filters, reclaimed};

static FLAGS: &[Flag] = &[
    flag("all", "Remove also what the next build could use").short('a'),
    value("builder", "string", "").hidden(),
    filter_flag("Only what matches, such as \"until=24h\""),
    flag("force", "Do not ask").short('f'),
    value("keep-storage", "bytes", "")
        .kind(Kind::Bytes)
        .same_as("reserved-space"),
    value("max-used-space", "bytes", "Leave at most so much").kind(Kind::Bytes),
    value(
        "min-free-space",
        "bytes",
        "Stop when the disk has so much free",
    )
    .kind(Kind::Bytes),
    value("reserved-space", "bytes", "Leave so much").kind(Kind::Bytes),
    flag("verbose", "").hidden(),
];

pub(crate) static COMMAND: Command = Command {
    words: &["builder prune", "buildx prune"],
    usage: "[OPTIONS]",
    about: "Remove what builds keep for the next ones",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let all = matches.bool("all");
    let filters = filters(matches.list("filter"))?;
    let warning = match all {
        true => "WARNING! This will remove all build cache.",
        false => "WARNING! This will remove all dangling build cache.",
    };
    if !matches.bool("force") && !confirm(warning) {
        return Ok(());
    }
    let sizes = ["reserved-space", "max-used-space", "min-free-space"];
    let sizes = sizes.into_iter().filter(|name| matches.changed(name));
    let sizes: Vec<(&str, i64)> = sizes.map(|name| (name, matches.bytes(name))).collect();
    let client = cli.client()?;
    let pruned = cli.block_on(client.prune_build_within(all, &filters, &sizes))?;
    let gone = pruned.caches_deleted.unwrap_or_default();
    if !gone.is_empty() {
        let names = gone.join("\n");
        crate::print(&format!("Deleted build cache objects:\n{names}\n\n"));
    }
    reclaimed(pruned.space_reclaimed);
    Ok(())
}
