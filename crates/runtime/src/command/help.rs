//! What `--help` and `--version` print, in the form users of runc know.

use super::{COMMANDS, Command, GLOBAL};
use crate::arguments::{Flag, HELP, Kind};
use hull_spec::runtime::VERSION;
use std::fmt::Write as _;

const PROGRAM: &str = "hull-runtime";

const ABOUT: &str = "\
Open Container Initiative runtime

Makes containers out of bundles, as the OCI runtime specification describes
them, and stays out of their way: there is no daemon, and a container is a child
of whoever called the runtime. Engines call it in place of runc, whose command
line it has.

A bundle is a directory with a file \"config.json\", which says what is to run
and how, and a directory with the root file system.

To run a container:

    # hull-runtime run [ -b bundle ] <container-id>

The id names this one container among all on the host. Without \"-b\" the bundle
is the current directory.";

/// The version, in the lines engines look for.
pub(super) fn version() -> String {
    format!(
        "{PROGRAM} version {}\ncommit: {}\nspec: {VERSION}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("HULL_COMMIT").unwrap_or("unknown"),
    )
}

/// The help of the program.
pub(super) fn program() -> String {
    let mut text = format!(
        "NAME:\n   {PROGRAM} - {ABOUT}\n\nUSAGE:\n   {PROGRAM} [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {}\n\nCOMMANDS:\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut rows: Vec<(String, String)> = COMMANDS
        .iter()
        .map(|command| (command.name.to_owned(), command.summary.to_owned()))
        .collect();
    rows.push((
        "help, h".to_owned(),
        "list the commands, or explain one".to_owned(),
    ));
    text.push_str(&columns(&rows));
    text.push_str("\nGLOBAL OPTIONS:\n");
    let flags = GLOBAL.iter().chain([&HELP]);
    text.push_str(&columns(&flags.filter_map(row).collect::<Vec<_>>()));
    text
}

/// The help of a command.
pub(super) fn command(command: &Command) -> String {
    let options = command.flags.iter().filter_map(row).collect::<Vec<_>>();
    let mut text = format!(
        "NAME:\n   {PROGRAM} {} - {}\n\nUSAGE:\n   {PROGRAM} {}{} {}\n",
        command.name,
        command.summary,
        command.name,
        if options.is_empty() {
            ""
        } else {
            " [command options]"
        },
        command.arguments,
    );
    if !command.description.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, "\nDESCRIPTION:\n   {}\n", command.description);
    }
    if !options.is_empty() {
        let _ = write!(text, "\nOPTIONS:\n{}", columns(&options));
    }
    text
}

/// An option as it is shown; nothing for one that is not.
fn row(flag: &Flag) -> Option<(String, String)> {
    if flag.help.is_empty() {
        return None;
    }
    let value = if flag.kind == Kind::Switch {
        ""
    } else {
        " value"
    };
    let mut names = format!("--{}{value}", flag.long);
    if let Some(letter) = flag.letter {
        let _ = write!(names, ", -{letter}{value}");
    }
    let mut help = flag.help.to_owned();
    match flag.kind {
        Kind::Number(default) => {
            let _ = write!(help, " (default: {default})");
        }
        Kind::Duration(default) => {
            let _ = write!(help, " (default: {default})");
        }
        _ => {}
    }
    Some((names, help))
}

fn columns(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (left, right) in rows {
        let _ = writeln!(text, "   {left:width$}  {right}");
    }
    text
}
