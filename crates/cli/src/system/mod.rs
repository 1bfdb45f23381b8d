//! Commands about the daemon, and about objects of any kind.

mod bundle;
mod check;
mod df;
mod dial_stdio;
mod events;
mod info;
mod inspect;
mod login;
mod logout;
mod prune;
mod version;

use crate::command::Command;

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[
    &check::COMMAND,
    &df::COMMAND,
    &dial_stdio::COMMAND,
    &events::COMMAND,
    &info::COMMAND,
    &inspect::COMMAND,
    &login::COMMAND,
    &logout::COMMAND,
    &prune::COMMAND,
    &version::COMMAND,
];
