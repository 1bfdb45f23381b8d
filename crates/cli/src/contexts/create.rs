//! `hull context create`.

use super::options;
use super::store::{DEFAULT, DEFAULT_ABOUT, Files, Meta, check_name};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
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
    value("from", "string", "Begin as a copy of another context"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["context create"],
    usage: "[OPTIONS] CONTEXT",
    about: "Create a context",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.args[0].as_str();
    check_name(name)?;
    let store = cli.contexts();
    if store.exists(name) {
        return Err(Failure::new(format!("context \"{name}\" already exists")));
    }
    let (meta, files) = read(cli, matches, name)?;
    store.put_tls(name, &files)?;
    if let Err(failure) = store.put(&meta) {
        // The error that brought us here matters more.
        let _ = store.remove(name);
        return Err(failure);
    }
    crate::print(&format!("{name}\n"));
    crate::say(&format!("Successfully created context \"{name}\""));
    Ok(())
}

fn read(cli: &Cli, matches: &Matches, name: &str) -> Result<(Meta, Files), Failure> {
    let about = matches.text("description");
    let pairs = options::pairs(matches.list("docker"));
    if !pairs.is_empty() {
        let (address, files) = options::read(cli, &pairs)?;
        return Ok((Meta::new(name, about, &address), files));
    }
    // Without an address it is a copy: of a named context, else of the current one.
    let current = cli.context_name();
    let from = match matches.text("from") {
        "" => current.as_str(),
        from => from,
    };
    let (address, files) = options::copied(cli, from)?;
    let of_original = match from {
        DEFAULT => DEFAULT_ABOUT.to_owned(),
        from => cli.contexts().get(from)?.about().to_owned(),
    };
    let about = if about.is_empty() {
        &of_original
    } else {
        about
    };
    Ok((Meta::new(name, about, &address), files))
}
