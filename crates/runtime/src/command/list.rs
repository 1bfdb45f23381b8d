//! `list`: all containers below `--root`.

use super::{Command, Context, output, state::Shown};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::error::{Error, Step as _, chain, said, status_name};
use crate::id::ContainerId;
use crate::report::html_safe;
use crate::state::Container;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

/// How a list is printed.
pub(super) const FORMAT: Flag =
    Flag::new("format", Kind::Text, "table or json (default: \"table\")").letter('f');

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "list",
    summary: "list the containers",
    arguments: "\n\nThose whose state is in the directory of the global option \"--root\".\n\nEXAMPLE:\n       # hull-runtime --root value list",
    description: "",
    flags: &[
        FORMAT,
        Flag::new("quiet", Kind::Switch, "ids only").letter('q'),
    ],
    order: Order::Anywhere,
    count: (0, 0),
    run,
};

/// Prints them as table, as JSON, or their ids.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    print(context, arguments)?;
    Ok(ExitCode::SUCCESS)
}

fn print(context: &Context, arguments: &Arguments) -> Result<(), Error> {
    let containers = containers(context)?;
    if arguments.is_set("quiet") {
        return output(
            &containers
                .iter()
                .map(|one| format!("{}\n", one.record.id))
                .collect::<String>(),
        );
    }
    let mut shown = Vec::new();
    for container in &containers {
        let mut one = Shown::of(container)?;
        one.owner = owner(container.record.owner);
        shown.push(one);
    }
    match arguments.value("format").unwrap_or("table") {
        "json" if shown.is_empty() => output("null\n"),
        "json" => {
            let text = serde_json::to_string(&shown).step(|| "encode the list")?;
            output(&format!("{}\n", html_safe(&text)))
        }
        "table" => output(&table(&shown)),
        _ => Err(said("invalid format option")),
    }
}

fn containers(context: &Context) -> Result<Vec<Container>, Error> {
    let entries = match std::fs::read_dir(&context.root) {
        // Nobody has made a container yet.
        Err(error) if error.kind() == ErrorKind::NotFound && !context.root_given => {
            return Ok(Vec::new());
        }
        other => other.step(|| format!("open {}", context.root.display()))?,
    };
    let mut containers = Vec::new();
    for entry in entries {
        let name = entry.step(|| "list the state root")?.file_name();
        let Ok(id) = ContainerId::parse(&name.to_string_lossy()) else {
            continue;
        };
        match Container::load(&context.root, &id) {
            Ok(container) => containers.push(container),
            // A file, or removed this moment.
            Err(Error::NotFound) if !context.root.join(id.as_str()).is_dir() => {}
            Err(error) => {
                let text = format!("load container {}: {}\n", id.as_str(), chain(&error));
                // The list of the others matters more.
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
        }
    }
    containers.sort_by(|a, b| a.record.id.cmp(&b.record.id));
    Ok(containers)
}

/// The name of a user, or `#` and the number.
fn owner(uid: u32) -> String {
    let number = uid.to_string();
    let users = fs_err::read("/etc/passwd").unwrap_or_default();
    let users = String::from_utf8_lossy(&users);
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}

/// Columns at least twelve wide, three blanks apart, as Go's tabwriter makes them for runc.
fn table(shown: &[Shown<'_>]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    for one in shown {
        rows.push([
            one.id.to_owned(),
            one.pid.to_string(),
            status_name(one.status).to_owned(),
            one.bundle.clone(),
            one.created.to_owned(),
            one.owner.clone(),
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].len() + 3)
            .max()
            .unwrap_or(0)
            .max(12)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{cell:width$}");
        }
        text.push_str(&row[5]);
        text.push('\n');
    }
    text
}
