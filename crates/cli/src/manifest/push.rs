//! `hull manifest push`.

use super::store::Index;
use super::{full, store};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::image::{registry, split};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_api::manifest::IndexPush;

static FLAGS: &[Flag] = &[
    flag(
        "insecure",
        "No effect: the daemon knows which registries are to be trusted",
    ),
    flag("purge", "Forget the index once it is pushed").short('p'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["manifest push"],
    usage: "[OPTIONS] MANIFEST_LIST",
    about: "Push an index that was begun",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let store = store(cli);
    let list = full(&matches.args[0])?;
    let entries = store.list(&list)?;
    if entries.is_empty() {
        return Err(Failure::new(format!("No such manifest: {list}")));
    }
    let target = split(&list).repository;
    let mut sources = Vec::new();
    for entry in &entries {
        let repository = split(&entry.reference).repository;
        let has_platform =
            entry.descriptor.platform.as_ref().is_some_and(|platform| {
                !platform.os.is_empty() && !platform.architecture.is_empty()
            });
        if !has_platform {
            return Err(Failure::new(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                entry.reference
            )));
        }
        if repository != target {
            sources.push(format!("{repository}@{}", entry.descriptor.digest));
        }
    }
    let index = Index::of(entries.iter().map(|entry| &entry.descriptor));
    let push = IndexPush {
        media_type: index.media_type.to_owned(),
        raw: STANDARD.encode(index.text()?),
        sources,
    };
    let auth = cli.config().encoded(registry(target))?;
    let client = cli.client()?;
    let pushed = cli.block_on(client.push_index(&list, &push, auth))?;
    for name in &pushed.manifests {
        let digest = split(name).digest.unwrap_or_default();
        crate::print(&format!("Pushed ref {name} with digest: {digest}\n"));
    }
    crate::print(&format!("{}\n", pushed.digest));
    if matches.bool("purge") {
        store.remove(&list)?;
    }
    Ok(())
}
