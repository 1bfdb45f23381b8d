//! `hull context export`.

use super::archive;
use super::store::{Address, DEFAULT, Files, Meta, check_form};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;
use crate::terminal;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;

pub(crate) static COMMAND: Command = Command {
    words: &["context export"],
    usage: "[OPTIONS] CONTEXT [FILE|-]",
    about: "Write a context as a tar archive to a file or to standard output",
    flags: &[],
    arity: Arity::Between(1, 2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.args[0].as_str();
    let store = cli.contexts();
    let (meta, files) = if name == DEFAULT {
        let address: Address = cli.default_address();
        (Meta::new(DEFAULT, "", &address), Files::new())
    } else {
        check_form(name)?;
        (store.get(name)?, store.tls(name)?)
    };
    let file = match matches.args.get(1) {
        Some(file) => file.clone(),
        None => format!("{name}.dockercontext"),
    };
    if file == "-" {
        if terminal::stdout_is_terminal() {
            return Err(Failure::new(
                "cowardly refusing to export to a terminal, specify a file path",
            ));
        }
        return Ok(archive::write(&meta, &files, io::stdout().lock())?);
    }
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    // There may be a key in it.
    options.options_mut().mode(0o600);
    let opened = options.open(&file).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(format!("open {file}: file exists")),
        _ => error.into(),
    })?;
    let written = archive::write(&meta, &files, opened);
    if let Err(error) = written {
        // Half an archive is none.
        let _ = fs_err::remove_file(&file);
        return Err(error.into());
    }
    crate::say(&format!("Written file \"{file}\""));
    Ok(())
}
