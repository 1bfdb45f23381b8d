//! `hull logout`.

use crate::command::{Arity, Command};
use crate::config_file::{ConfigFile, HUB, server_key};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::Matches;

pub(crate) static COMMAND: Command = Command {
    words: &["logout"],
    usage: "[SERVER]",
    about: "Forget the credentials for a registry",
    flags: &[],
    arity: Arity::AtMost(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let server = matches
        .args
        .first()
        .map_or(HUB, |server| server_key(server));
    let mut config = ConfigFile::load(&cli.config_dir().join("config.json"))?;
    if config.erase(server)? {
        crate::print(&format!("Removing login credentials for {server}\n"));
    } else {
        crate::print(&format!("Not logged in to {server}\n"));
    }
    Ok(())
}
