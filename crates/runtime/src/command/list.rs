//! `list`: all containers below `--root`.

use super::{Context, output, state::Shown};
use crate::arguments::Arguments;
use crate::error::{Error, Step as _, said, status_name};
use crate::id::ContainerId;
use crate::state::Container;
use std::fmt::Write as _;

/// Prints them as table, as JSON, or their ids.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Error> {
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
        "json" if shown.is_empty() => output("null"),
        "json" => output(&serde_json::to_string(&shown).step(|| "encode the list")?),
        "table" => output(&table(&shown)),
        _ => Err(said("invalid format option")),
    }
}

fn containers(context: &Context) -> Result<Vec<Container>, Error> {
    let entries = match fs_err::read_dir(&context.root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.step(|| "list the state root")?,
    };
    let mut containers = Vec::new();
    for entry in entries {
        let name = entry.step(|| "list the state root")?.file_name();
        // What is no container, or is being made or removed this moment, is not shown.
        if let Ok(id) = ContainerId::parse(&name.to_string_lossy())
            && let Ok(container) = Container::load(&context.root, &id)
        {
            containers.push(container);
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
