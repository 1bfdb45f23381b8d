//! `hull logout`.

use crate::command::{Arity, Command};
use crate::config_file::{ConfigFile, HUB, host_of, server_key, warn_of_environment};
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
    warn_of_environment();
    let (shown, keys) = match matches.args.first().map(String::as_str) {
        None | Some("" | HUB) => (HUB, vec![HUB.to_owned()]),
        Some(server) => keys(server),
    };
    crate::print(&format!("Removing login credentials for {shown}\n"));
    let mut config = ConfigFile::load(&cli.config_dir().join("config.json"))?;
    let failures: Vec<String> = keys
        .iter()
        .filter_map(|key| Some(format!("{key}: {}", config.erase(key).err()?)))
        .collect();
    if failures.len() == keys.len() {
        crate::say("WARNING: could not erase credentials:");
        for failure in failures {
            crate::say(&failure);
        }
    }
    Ok(())
}

/// The name that is shown, and all under which clients have kept credentials of such a server.
fn keys(server: &str) -> (&str, Vec<String>) {
    let host = server_key(host_of(server));
    if host == HUB {
        return (HUB, vec![HUB.to_owned()]);
    }
    let mut keys = vec![
        host.to_owned(),
        format!("http://{host}"),
        format!("https://{host}"),
    ];
    if !keys.iter().any(|key| key == server) {
        keys.push(server.to_owned());
    }
    (host, keys)
}
