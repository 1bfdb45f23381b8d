//! `hull context use`.

use super::store::{DEFAULT, check_form};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::Matches;

pub(crate) static COMMAND: Command = Command {
    words: &["context use"],
    usage: "CONTEXT",
    about: "Have commands from now on go to a context",
    flags: &[],
    arity: Arity::Plainly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.args[0].as_str();
    if name != DEFAULT {
        check_form(name)?;
        cli.contexts().get(name)?;
    }
    cli.change_config(|config| config.use_context(name))?;
    crate::print(&format!("{name}\n"));
    crate::say(&format!("Current context is now \"{name}\""));
    if name != DEFAULT
        && let Some(variable) = cli.host_variable()
    {
        crate::say(&format!(
            "Warning: {variable} environment variable overrides the active context. To use \"{name}\", either set the global --context flag, or unset {variable} environment variable."
        ));
    }
    Ok(())
}
