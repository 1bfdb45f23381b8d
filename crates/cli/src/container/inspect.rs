//! `hull container inspect`, and what `hull inspect` shares with it.

mod types;

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::{Flag, Matches, flag, value};
use crate::format::{compact, indent};
use crate::template::{Data, Template};
use hull_api::client::{Client, Error, Target};
use std::future::Future;

static FLAGS: &[Flag] = &[
    value("format", "string", "Fill in a template, or 'json'").short('f'),
    flag("size", "Count the bytes of the container's files").short('s'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container inspect"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Show everything about one or more containers",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let size = matches.bool("size");
    cli.block_on(show(&matches.args, matches.text("format"), |name| {
        fetch(client, container_target(&name, size))
    }))
}

/// Where a container's description is.
pub(crate) fn container_target(name: &str, size: bool) -> Target {
    Target::segments(&["containers", name, "json"]).flag("size", size)
}

async fn fetch(client: &Client, target: Target) -> Result<String, String> {
    text(client.get_raw(&target).await)
}

fn text(reply: Result<impl AsRef<[u8]>, Error>) -> Result<String, String> {
    match reply {
        Ok(bytes) => Ok(String::from_utf8_lossy(bytes.as_ref()).trim().to_owned()),
        Err(error) => Err(client_message(&error)),
    }
}

/// Fetches each object and prints them as one list, or each through the template. What was not
/// found is told at the end, after what was.
pub(crate) async fn show<F>(names: &[String], format: &str, fetch: impl Fn(String) -> F) -> Outcome
where
    F: Future<Output = Result<String, String>>,
{
    let template =
        match format {
            "" | "json" => None,
            text => Some(Template::parse(text).map_err(|error| {
                Failure::with_code(64, format!("template parsing error: {error}"))
            })?),
        };
    let mut errors = Vec::new();
    let mut objects = Vec::new();
    let mut rendered = String::new();
    for name in names {
        let object = match fetch(name.clone()).await {
            Ok(object) => object,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        match &template {
            None => objects.push(object),
            Some(template) => match render(template, &object) {
                Ok(text) => {
                    rendered.push_str(&text);
                    rendered.push('\n');
                }
                Err(error) => errors.push(error),
            },
        }
    }
    let printed = match (&template, format) {
        (Some(_), _) if rendered.is_empty() => "\n".to_owned(),
        (Some(_), _) => rendered,
        (None, "json") => compact(&list(&objects)) + "\n",
        (None, _) => indent(&list(&objects)) + "\n",
    };
    crate::print(&printed);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(errors.join("\n")))
    }
}

fn list(objects: &[String]) -> String {
    format!("[{}]", objects.join(","))
}

fn render(template: &Template, object: &str) -> Result<String, String> {
    let mut data: Data = serde_json::from_str(object)
        .map_err(|error| format!("unable to read inspect data: {error}"))?;
    types::give(&mut data);
    template
        .render(&data)
        .map_err(|error| format!("template parsing error: {error}"))
}
