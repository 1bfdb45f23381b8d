//! `hull push`.

use super::reference::{self, familiar, registry};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag, value};
use crate::platform;
use crate::progress::{self, Output};
use hull_api::client::PushOptions;
use serde_json::Value;
use std::io::IsTerminal as _;

static FLAGS: &[Flag] = &[
    flag("all-tags", "Push all tags of an image to the repository").short('a'),
    value(
        "compression",
        "string",
        "Form that layers get: gzip[:0-9], zstd[:1-19] or none. By default they are pushed as they were pulled",
    ),
    flag(
        "disable-content-trust",
        "No effect: content trust is gone from Docker",
    )
    .default("true"),
    value(
        "platform",
        "string",
        "Push a platform-specific manifest as a single-platform image to the registry. Image index won't be pushed, meaning that other manifests, including attestations won't be preserved. 'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
    flag("quiet", "Suppress verbose output").short('q'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image push", "push"],
    usage: "[OPTIONS] NAME[:TAG]",
    about: "Upload an image to a registry",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

const ONE_PLATFORM: &str =
    "Using --platform pushes only the specified platform manifest of a multi-platform image index.
Other components, like attestations, will not be included.
To push the complete multi-platform image, remove the --platform flag.
";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let typed = &matches.args[0];
    reference::check(typed)?;
    let name = reference::split(typed);
    let all = matches.bool("all-tags");
    let quiet = matches.bool("quiet");
    if all && (name.tag.is_some() || name.digest.is_some()) {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if name.digest.is_some() {
        return Err(Failure::new("cannot push a digest reference"));
    }
    let platform = platform::json(matches.text("platform"))?;
    let tag = match name.tag {
        Some(tag) => tag,
        None if all => "",
        None => {
            if !quiet {
                crate::print("Using default tag: latest\n");
            }
            "latest"
        }
    };
    let options = PushOptions {
        tag: tag.to_owned(),
        platform,
        compression: matches.text("compression").to_owned(),
    };
    if !options.platform.is_empty() {
        print_note(ONE_PLATFORM);
    }
    let repository = familiar(name.repository);
    let mut notes = Vec::new();
    let pushed = cli.block_on(push(cli, repository, &options, quiet, &mut notes));
    for note in notes {
        print_note(&note);
    }
    pushed?;
    if quiet {
        let canonical = reference::canonical(repository);
        let separator = if tag.is_empty() { "" } else { ":" };
        crate::print(&format!("{canonical}{separator}{tag}\n"));
    }
    Ok(())
}

async fn push(
    cli: &Cli,
    repository: &str,
    options: &PushOptions,
    quiet: bool,
    notes: &mut Vec<String>,
) -> Outcome {
    let auth = cli.config().encoded(registry(repository))?;
    let client = cli.client()?;
    let messages = client.push(repository, options, auth).await?;
    let output = if quiet { Output::None } else { Output::Stdout };
    progress::show_with(messages, output, client.is_here(), |aux| {
        notes.extend(note(aux));
    })
    .await
}

/// What the daemon did other than asked for, for people.
fn note(aux: &Value) -> Option<String> {
    if aux.get("manifestPushedInsteadOfIndex")?.as_bool() != Some(true) {
        return None;
    }
    let digest = |member: &str| aux.get(member)?.get("digest")?.as_str();
    Some(format!(
        "Not all multiplatform-content is present and only the available single-platform image was pushed\n{} -> {}",
        colored("31", digest("originalIndex")?),
        colored("32", digest("selectedManifest")?),
    ))
}

fn colored(color: &str, text: &str) -> String {
    match std::io::stdout().is_terminal() {
        true => format!("\x1b[{color}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

fn print_note(note: &str) {
    let text = note.replace('\n', "\n         ");
    crate::print(&format!("\n Info -> {text}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn notes_are_made_of_aux_messages() {
        let aux = json!({"manifestPushedInsteadOfIndex": true,
            "originalIndex": {"digest": "sha256:a"}, "selectedManifest": {"digest": "sha256:b"}});
        assert!(note(&aux).unwrap().ends_with("sha256:a -> sha256:b"));
        assert_eq!(note(&json!({"Tag": "1"})), None);
    }
}
