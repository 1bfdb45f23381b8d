//! Commands about volumes, one file each.

mod create;
mod inspect;
mod ls;
mod prune;
mod rm;

use crate::command::Command;

pub(crate) use prune::prune;

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[
    &create::COMMAND,
    &inspect::COMMAND,
    &ls::COMMAND,
    &prune::COMMAND,
    &rm::COMMAND,
];
