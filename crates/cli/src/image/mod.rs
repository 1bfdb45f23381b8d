//! Commands about images, one file each.

mod history;
mod import;
mod inspect;
mod load;
mod ls;
mod prune;
mod pull;
mod push;
mod reference;
mod rm;
mod save;
mod search;
mod tag;
mod tree;

use crate::command::Command;

pub(crate) use ls::record;
pub(crate) use prune::prune;
pub(crate) use pull::pull_for_run;
pub(crate) use reference::{canonical, check, registry, split, with_default_tag};

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[
    &history::COMMAND,
    &import::COMMAND,
    &inspect::COMMAND,
    &load::COMMAND,
    &ls::COMMAND,
    &prune::COMMAND,
    &pull::COMMAND,
    &push::COMMAND,
    &rm::COMMAND,
    &save::COMMAND,
    &search::COMMAND,
    &tag::COMMAND,
];
