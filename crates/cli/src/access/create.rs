//! `hull access create`.

use crate::command::{Arity, Command};
use crate::container::check_label;
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Kind, Matches, list, value};
use hull_api::access::Grant;

/// The label by which compose knows its projects.
const PROJECT: &str = "com.docker.compose.project";

static FLAGS: &[Flag] = &[
    list(
        "allow",
        "list",
        "What may be done: read, all, or NOUN:VERB[,VERB...] as containers:list,logs",
    ),
    value(
        "group",
        "string",
        "Group that may use the socket besides root",
    ),
    list(
        "image",
        "list",
        "Only images of this name, and containers of them (* is any text)",
    ),
    list(
        "label",
        "list",
        "Only containers, volumes and networks with this label (KEY or KEY=VALUE)",
    )
    .kind(Kind::Checked(check_label)),
    value(
        "project",
        "string",
        "Only what belongs to this compose project",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["access create"],
    usage: "[OPTIONS] NAME",
    about: "Make a socket on which only some requests are answered, and print its path",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let request = request(matches);
    let client = cli.client()?;
    let made = cli.block_on(client.create_grant(&request))?;
    crate::print(&format!("{}\n", made.socket));
    Ok(())
}

fn request(matches: &Matches) -> Grant {
    let mut labels = matches.list("label").to_vec();
    let project = matches.text("project");
    if !project.is_empty() {
        labels.push(format!("{PROJECT}={project}"));
    }
    Grant {
        name: matches.args[0].clone(),
        allow: matches.list("allow").to_vec(),
        labels,
        images: matches.list("image").to_vec(),
        group: matches.text("group").to_owned(),
        ..Grant::default()
    }
}
