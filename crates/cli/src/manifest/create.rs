//! `hull manifest create`.

use super::{fetch_image, full, store};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};

static FLAGS: &[Flag] = &[
    flag("amend", "Add to an index that is there already").short('a'),
    flag(
        "insecure",
        "No effect: the daemon knows which registries are to be trusted",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["manifest create"],
    usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
    about: "Begin an index with manifests of a registry",
    flags: &[FLAGS],
    arity: Arity::AtLeast(2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let store = store(cli);
    let list = full(&matches.args[0])?;
    if !matches.bool("amend") && !store.list(&list)?.is_empty() {
        return Err(Failure::new(
            "refusing to amend an existing manifest list with no --amend flag",
        ));
    }
    // All are fetched before any is kept.
    let mut entries = Vec::new();
    for typed in &matches.args[1..] {
        let name = full(typed)?;
        entries.push(match store.get(&list, &name)? {
            Some(known) => known,
            None => fetch_image(cli, &name)?,
        });
    }
    for entry in &entries {
        store.put(&list, entry)?;
    }
    crate::print(&format!("Created manifest list {list}\n"));
    Ok(())
}
