//! Commands about networks, one file each.

mod connect;
mod create;
mod disconnect;
mod explain;
mod inspect;
mod ls;
mod prune;
mod rm;
mod subnets;

#[cfg(test)]
mod recorded;

use crate::command::Command;

pub(crate) use prune::prune;

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[
    &connect::COMMAND,
    &create::COMMAND,
    &disconnect::COMMAND,
    &explain::COMMAND,
    &inspect::COMMAND,
    &ls::COMMAND,
    &prune::COMMAND,
    &rm::COMMAND,
];
