//! `hull context import`.

use super::archive;
use super::store::check_name;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;
use std::io;

pub(crate) static COMMAND: Command = Command {
    words: &["context import"],
    usage: "CONTEXT FILE|-",
    about: "Read a context from a tar archive",
    flags: &[],
    arity: Arity::Exactly(2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let [name, file] = matches.args.as_slice() else {
        return Err(Failure::new("a context and a file are needed"));
    };
    check_name(name)?;
    let store = cli.contexts();
    if store.exists(name) {
        return Err(Failure::new(format!("context \"{name}\" already exists")));
    }
    let (meta, files) = if file == "-" {
        archive::read(io::stdin().lock(), name)?
    } else {
        let opened = fs_err::File::open(file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::new(format!("open {file}: no such file or directory"))
            }
            _ => error.into(),
        })?;
        archive::read(opened, name)?
    };
    store.put_tls(name, &files)?;
    store.put(&meta)?;
    crate::print(&format!("{name}\n"));
    crate::say(&format!("Successfully imported context \"{name}\""));
    Ok(())
}
