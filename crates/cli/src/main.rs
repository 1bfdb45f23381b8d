//! `hull`: the command line, Docker's verbs and flags. `hull daemon` is the daemon.
#![forbid(unsafe_code)]

mod access;
mod autostart;
mod build;
mod checkpoint;
mod command;
mod completion;
mod config_file;
mod connection;
mod container;
mod context;
mod contexts;
mod credential_helper;
mod explain;
mod failure;
mod flags;
mod format;
mod image;
mod listing;
mod manifest;
mod manual;
mod network;
mod platform;
mod plugins;
mod progress;
mod suggest;
mod system;
mod terminal;
mod transfer;
mod volume;

use hull_template as template;

use context::Cli;
use failure::Failure;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let args: Vec<OsString> = words.collect();
    match Path::new(&name).file_name().and_then(|name| name.to_str()) {
        Some("dockerd") => return hull_daemon::run(hull_daemon::Program::Dockerd, &args),
        Some("docker") => command::be_docker(),
        _ => {}
    }
    if args.first().is_some_and(|word| word == "daemon") {
        autostart::detach_if_asked();
        return hull_daemon::run(hull_daemon::Program::Hull, &args[1..]);
    }
    // Requests are JSON: what is not UTF-8 cannot be said to a daemon.
    let args: Vec<String> = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn run(args: &[String]) -> Result<(), Failure> {
    let cli = Cli::new(args)?;
    let globals = cli.globals();
    let result = if globals.help {
        print(&command::overview(&cli));
        Ok(())
    } else if globals.bool("version") {
        print(&command::version());
        Ok(())
    } else {
        command::dispatch(&cli, &globals.args)
    };
    cli.shut_down();
    result
}

fn report(failure: &Failure) -> ExitCode {
    if let Some(message) = failure.message() {
        say(&message);
    }
    ExitCode::from(failure.code())
}

/// Writes to standard output. A reader that went away is no error of ours.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// Writes a line to standard error.
pub(crate) fn say(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}
