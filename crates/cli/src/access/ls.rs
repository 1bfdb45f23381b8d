//! `hull access ls`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag};
use crate::listing::{Listing, format_flag};
use crate::template::{Data, Record};
use hull_api::access::Grant;

static FLAGS: &[Flag] = &[format_flag(), flag("quiet", "Show only names").short('q')];

pub(crate) static COMMAND: Command = Command {
    words: &["access ls", "access list"],
    usage: "[OPTIONS]",
    about: "List scoped sockets",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.Name}}\t{{.Scope}}\t{{.Allow}}\t{{.Socket}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
    ("Allow", "ALLOW"),
    ("Group", "GROUP"),
    ("Socket", "SOCKET"),
    ("Created", "CREATED"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = match (matches.text("format"), matches.bool("quiet")) {
        ("" | "table", true) => "{{.Name}}",
        (format, _) => format,
    };
    let listing = Listing::new(format, false, TABLE, HEADINGS)?;
    let client = cli.client()?;
    let grants = cli.block_on(client.grants())?;
    listing.print(grants.iter().map(row))
}

/// `containers:list`, `containers:logs` as `containers:list,logs`.
fn allowed(allow: &[String]) -> String {
    let mut text = String::new();
    let mut last = "";
    for right in allow {
        let (noun, verb) = right.split_once(':').unwrap_or((right, ""));
        if noun == last {
            text.push(',');
            text.push_str(verb);
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(right);
        last = noun;
    }
    text
}

fn row(grant: &Grant) -> Data {
    let labels = grant.labels.iter().map(|label| format!("label {label}"));
    let images = grant.images.iter().map(|image| format!("image {image}"));
    let scope: Vec<String> = labels.chain(images).collect();
    let scope = match scope.is_empty() {
        true => "all".to_owned(),
        false => scope.join(", "),
    };
    Data::Record(Record::new(
        "*formatter.accessContext",
        vec![
            ("Allow", allowed(&grant.allow).into()),
            ("Created", grant.created.as_str().into()),
            ("Group", grant.group.as_str().into()),
            ("Name", grant.name.as_str().into()),
            ("Scope", scope.into()),
            ("Socket", grant.socket.as_str().into()),
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_told_by_noun() {
        let words = ["containers:list", "containers:logs", "images:list"];
        let allow: Vec<String> = words.map(str::to_owned).into();
        assert_eq!(allowed(&allow), "containers:list,logs images:list");
        assert_eq!(allowed(&[]), "");
    }
}
