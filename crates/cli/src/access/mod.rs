//! Commands about scoped sockets: Docker has none.

mod create;
mod inspect;
mod ls;
mod rm;

use crate::command::Command;

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[
    &create::COMMAND,
    &inspect::COMMAND,
    &ls::COMMAND,
    &rm::COMMAND,
];
