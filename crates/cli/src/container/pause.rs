//! `hull pause` and `hull unpause`.

use super::each;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::Matches;
use hull_api::client::Target;

pub(crate) static PAUSE: Command = Command {
    words: &["container pause", "pause"],
    usage: "CONTAINER [CONTAINER...]",
    about: "Freeze all processes of one or more containers",
    flags: &[],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run: |cli, matches| act(cli, matches, "pause"),
};

pub(crate) static UNPAUSE: Command = Command {
    words: &["container unpause", "unpause"],
    usage: "CONTAINER [CONTAINER...]",
    about: "Let the processes of one or more containers run on",
    flags: &[],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run: |cli, matches| act(cli, matches, "unpause"),
};

fn act(cli: &Cli, matches: &Matches, verb: &str) -> Outcome {
    let client = cli.client()?;
    cli.block_on(each(&matches.args, |name| async move {
        client
            .act(Target::segments(&["containers", &name, verb]))
            .await
    }))
}
