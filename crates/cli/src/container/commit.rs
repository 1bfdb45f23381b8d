//! `hull commit`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag, list, value};
use crate::image;
use hull_api::client::CommitOptions;

static FLAGS: &[Flag] = &[
    value(
        "author",
        "string",
        "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")",
    )
    .short('a'),
    list(
        "change",
        "list",
        "Apply Dockerfile instruction to the created image",
    )
    .short('c'),
    value("message", "string", "Commit message").short('m'),
    flag("pause", "Pause container during commit")
        .short('p')
        .default("true"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container commit", "commit"],
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    flags: &[FLAGS],
    arity: Arity::Between(1, 2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.args.get(1).map_or("", String::as_str);
    let mut options = CommitOptions {
        container: matches.args[0].clone(),
        comment: matches.text("message").to_owned(),
        author: matches.text("author").to_owned(),
        no_pause: !matches.bool_or("pause", true),
        changes: matches.list("change").to_vec(),
        ..CommitOptions::default()
    };
    if !name.is_empty() {
        image::check(name)?;
        let parts = image::split(name);
        if parts.digest.is_some() {
            let text = "refusing to create a tag with a digest reference";
            return Err(Failure::new(text));
        }
        parts.repository.clone_into(&mut options.repository);
        parts.tag.unwrap_or("latest").clone_into(&mut options.tag);
    }
    let client = cli.client()?;
    let id = cli.block_on(client.commit(&options))?;
    crate::print(&format!("{id}\n"));
    Ok(())
}
