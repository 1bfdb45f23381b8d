//! `hull context update`.

use super::options;
use super::store::check_name;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Kind, Matches, list, value};

static FLAGS: &[Flag] = &[
    value("description", "string", "A line about it"),
    list(
        "docker",
        "stringToString",
        "Its address (host=tcp://h:2376,ca=file,cert=file,key=file)",
    )
    .kind(Kind::Checked(options::check))
    .default("[]"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["context update"],
    usage: "[OPTIONS] CONTEXT",
    about: "Change a context",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.args[0].as_str();
    check_name(name)?;
    let store = cli.contexts();
    let mut meta = store.get(name)?;
    let about = matches.text("description");
    if !about.is_empty() {
        meta.describe(about);
    }
    let pairs = options::pairs(matches.list("docker"));
    if !pairs.is_empty() {
        let (address, files) = options::read(cli, &pairs)?;
        meta.place(&address);
        store.put_tls(name, &files)?;
    }
    store.put(&meta)?;
    crate::print(&format!("{name}\n"));
    crate::say(&format!("Successfully updated context \"{name}\""));
    Ok(())
}
