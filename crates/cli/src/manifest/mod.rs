//! Commands that put indexes together by hand, one file each. An index under way lies in the folder of the
//! configuration, as Docker's does; registries are asked by the daemon.

mod annotate;
mod create;
mod inspect;
mod push;
mod rm;
mod store;

use crate::command::Command;
use crate::context::Cli;
use crate::failure::Failure;
use crate::image::{canonical, check, registry, split};
use store::{Entry, Store};

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[
    &annotate::COMMAND,
    &create::COMMAND,
    &inspect::COMMAND,
    &push::COMMAND,
    &rm::COMMAND,
];

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn store(cli: &Cli) -> Store {
    Store::new(cli.config_dir().join("manifests"))
}

/// A name in full, with its tag or digest.
fn full(typed: &str) -> Result<String, Failure> {
    check(typed)?;
    let name = split(typed);
    let repository = canonical(name.repository);
    if repository.is_empty() || repository.contains("..") {
        return Err(Failure::new("invalid reference format"));
    }
    Ok(match (name.digest, name.tag) {
        (Some(digest), _) => format!("{repository}@{digest}"),
        (None, Some(tag)) => format!("{repository}:{tag}"),
        (None, None) => format!("{repository}:latest"),
    })
}

fn missing(name: &str) -> Failure {
    Failure::new(format!("no such manifest: {name}"))
}

/// A manifest or index from its registry.
fn fetch(cli: &Cli, name: &str) -> Result<Entry, Failure> {
    let auth = cli.config().encoded(registry(split(name).repository))?;
    let client = cli.client()?;
    let found = cli.block_on(client.remote_manifest(name, auth));
    let found = found.map_err(|error| match error.is_not_found() {
        true => missing(name),
        false => Failure::from(error),
    })?;
    Entry::new(name, found)
}

/// An image's manifest from its registry.
fn fetch_image(cli: &Cli, name: &str) -> Result<Entry, Failure> {
    let entry = fetch(cli, name)?;
    match entry.is_index() {
        true => Err(Failure::new(format!("{name} is a manifest list"))),
        false => Ok(entry),
    }
}
