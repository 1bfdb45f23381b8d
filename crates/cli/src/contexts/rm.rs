//! `hull context rm`.

use super::store::{DEFAULT, check_form};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};

static FLAGS: &[Flag] = &[flag("force", "Remove it also while it is in use").short('f')];

pub(crate) static COMMAND: Command = Command {
    words: &["context rm", "context remove"],
    usage: "CONTEXT [CONTEXT...]",
    about: "Remove one or more contexts",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let force = matches.bool("force");
    let current = cli.context_name();
    let mut errors = Vec::new();
    for name in &matches.args {
        match remove(cli, name, force, &current) {
            Ok(()) => crate::print(&format!("{name}\n")),
            Err(failure) => errors.extend(failure.message()),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(errors.join("\n")))
    }
}

fn remove(cli: &Cli, name: &str, force: bool, current: &str) -> Outcome {
    if name == DEFAULT {
        return Err(Failure::new("context \"default\" cannot be removed"));
    }
    let store = cli.contexts();
    // What is no name could lead out of the folder.
    let exists = check_form(name).is_ok() && store.exists(name);
    if !exists && !force {
        return Err(Failure::new(format!("context \"{name}\" does not exist")));
    }
    if name == current {
        if !force {
            return Err(Failure::new(format!(
                "context \"{name}\" is in use, set -f flag to force remove"
            )));
        }
        cli.change_config(|config| config.use_context(DEFAULT))?;
    }
    if exists { store.remove(name) } else { Ok(()) }
}
