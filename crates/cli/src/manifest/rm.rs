//! `hull manifest rm`.

use super::{full, store};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;

pub(crate) static COMMAND: Command = Command {
    words: &["manifest rm"],
    usage: "MANIFEST_LIST [MANIFEST_LIST...]",
    about: "Forget indexes that were begun",
    flags: &[],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let store = store(cli);
    let mut missing = Vec::new();
    for typed in &matches.args {
        let list = full(typed)?;
        if !store.remove(&list)? {
            missing.push(format!("No such manifest: {list}"));
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(missing.join("\n"))),
    }
}
