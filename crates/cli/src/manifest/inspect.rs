//! `hull manifest inspect`.

use super::store::{Entry, Index};
use super::{fetch, fetch_image, full, store};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::format::indent_by;
use crate::image::split;
use hull_api::manifest::Descriptor;
use serde::{Deserialize, Serialize};
use std::io;

static FLAGS: &[Flag] = &[
    flag(
        "insecure",
        "No effect: the daemon knows which registries are to be trusted",
    ),
    flag("verbose", "Show also digests and what images are for").short('v'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["manifest inspect"],
    usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    about: "Show a manifest or index of a registry, or an index that was begun",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let store = store(cli);
    let verbose = matches.bool("verbose");
    match matches.args.as_slice() {
        [list, name] => {
            let (list, name) = (full(list)?, full(name)?);
            match store.get(&list, &name)? {
                Some(entry) => print_one(&entry, verbose),
                None => Err(Failure::new(format!("No such manifest: {name}"))),
            }
        }
        [name] => {
            let name = full(name)?;
            let begun = store.list(&name)?;
            if !begun.is_empty() {
                return print_list(&begun, verbose);
            }
            let entry = fetch(cli, &name)?;
            match entry.is_index() {
                true => print_index(cli, &entry, verbose),
                false => print_one(&entry, verbose),
            }
        }
        _ => Err(Failure::new(format!(
            "{0}: '{0} manifest inspect' requires at most 2 arguments",
            crate::command::program()
        ))),
    }
}

fn print(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(value).map_err(io::Error::other)?;
    crate::print(&format!("{}\n", indent_by(&text, "\t")));
    Ok(())
}

fn print_one(entry: &Entry, verbose: bool) -> Outcome {
    match verbose {
        true => print(entry),
        false => print(&entry.document()?),
    }
}

fn print_list(entries: &[Entry], verbose: bool) -> Outcome {
    if verbose {
        return print(&entries);
    }
    let index = Index::of(entries.iter().map(|entry| &entry.descriptor));
    crate::print(&format!("{}\n", index.text()?));
    Ok(())
}

/// An index of a registry; with all that it leads to when asked for.
fn print_index(cli: &Cli, entry: &Entry, verbose: bool) -> Outcome {
    #[derive(Deserialize)]
    struct Listed {
        manifests: Vec<Descriptor>,
    }
    let document = entry.document()?;
    let listed: Listed = serde_json::from_str(document.get()).map_err(io::Error::other)?;
    if !verbose {
        // As it is: Docker shows a list of its own making, without what it does not know.
        crate::print(&format!("{}\n", indent_by(document.get(), "   ")));
        return Ok(());
    }
    let repository = split(&entry.reference).repository;
    let mut entries = Vec::new();
    for descriptor in listed.manifests {
        let mut found = fetch_image(cli, &format!("{repository}@{}", descriptor.digest))?;
        found.reference.clone_from(&entry.reference);
        if descriptor.platform.is_some() {
            found.descriptor.platform = descriptor.platform;
        }
        entries.push(found);
    }
    print(&entries)
}
