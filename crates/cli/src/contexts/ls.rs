//! `hull context ls`.

use super::store::{DEFAULT, DEFAULT_ABOUT};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag};
use crate::format::{ellipsis, natural_cmp};
use crate::listing::{Listing, format_flag};
use crate::template::{Data, Record};

static FLAGS: &[Flag] = &[format_flag(), flag("quiet", "Show only names").short('q')];

pub(crate) static COMMAND: Command = Command {
    words: &["context ls", "context list"],
    usage: "[OPTIONS]",
    about: "List contexts",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

const TABLE: &str =
    "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";

const HEADINGS: &[(&str, &str)] = &[
    // Nothing, so that the star is not in the heading.
    ("Current", ""),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
    ("Name", "NAME"),
];

/// A row.
struct Row {
    name: String,
    about: String,
    host: String,
    error: String,
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = match (matches.text("format"), matches.bool("quiet")) {
        ("" | "table", true) => "{{.Name}}",
        (format, _) => format,
    };
    let listing = Listing::new(format, false, TABLE, HEADINGS)?;
    let current = cli.context_name();
    let mut rows: Vec<Row> = cli
        .contexts()
        .all()?
        .into_iter()
        .map(|meta| Row {
            about: meta.about().to_owned(),
            host: meta.address().host,
            error: String::new(),
            name: meta.name,
        })
        .collect();
    rows.push(Row {
        name: DEFAULT.to_owned(),
        about: DEFAULT_ABOUT.to_owned(),
        host: cli.default_address().host,
        error: String::new(),
    });
    rows.sort_by(|a, b| natural_cmp(&a.name, &b.name));
    if !rows.iter().any(|row| row.name == current) {
        let failure = cli.contexts().get(&current).map(drop).err();
        rows.push(Row {
            name: current.clone(),
            about: String::new(),
            host: String::new(),
            error: failure
                .and_then(|failure| failure.message())
                .unwrap_or_default(),
        });
    }
    listing.print(rows.into_iter().map(|row| record(row, &current)))?;
    if let Some(variable) = cli.host_variable().filter(|_| !matches.bool("quiet")) {
        crate::say(&format!(
            "Warning: {variable} environment variable overrides the active context. To use a context, either set the global --context flag, or unset {variable} environment variable."
        ));
    }
    Ok(())
}

fn record(row: Row, current: &str) -> Data {
    Data::Record(Record::new(
        "*formatter.clientContextContext",
        vec![
            ("Current", Data::Bool(row.name == current)),
            ("Description", row.about.into()),
            ("DockerEndpoint", row.host.into()),
            ("Error", ellipsis(&row.error, 45).into()),
            ("Name", row.name.into()),
        ],
    ))
}
