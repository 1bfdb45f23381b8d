//! `hull network rm`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::{Flag, Matches, flag};

static FLAGS: &[Flag] = &[flag("force", "A network that is not there is no error").short('f')];

pub(crate) static COMMAND: Command = Command {
    words: &["network rm", "network remove"],
    usage: "NETWORK [NETWORK...]",
    about: "Remove one or more networks",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let mut failed = false;
    for name in &matches.args {
        match cli.block_on(client.remove_network(name)) {
            Ok(()) => crate::print(&format!("{name}\n")),
            Err(error) if matches.bool("force") && error.is_not_found() => {}
            Err(error) => {
                failed = true;
                crate::say(&client_message(&error));
            }
        }
    }
    if failed {
        return Err(Failure::new("exit status 1"));
    }
    Ok(())
}
