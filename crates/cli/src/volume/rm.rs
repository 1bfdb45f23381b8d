//! `hull volume rm`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
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
    let mut failed = false;
    for name in &matches.args {
        match cli.block_on(client.remove_volume(name, matches.bool("force"))) {
            Ok(()) => crate::print(&format!("{name}\n")),
            Err(error) => {
                failed = true;
                crate::say(&client_message(&error));
            }
        }
    }
    if failed {
        return Err(Failure::Exit(1));
    }
    Ok(())
}
