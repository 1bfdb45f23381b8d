//! `hull volume rm`.

use crate::command::{Arity, Command};
use crate::container::each;
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag};

static FLAGS: &[Flag] = &[flag("force", "A volume that is not there is no error").short('f')];

pub(crate) static COMMAND: Command = Command {
    words: &["volume rm", "volume remove"],
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove one or more volumes that no container uses",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let force = matches.bool("force");
    cli.block_on(each(&matches.args, |name| async move {
        client.remove_volume(&name, force).await
    }))
}
