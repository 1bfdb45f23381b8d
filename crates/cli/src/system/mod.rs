//! Commands about the daemon, and about objects of any kind.

mod events;
mod info;
mod inspect;
mod login;
mod logout;
mod version;

use crate::command::Command;

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[
    &events::COMMAND,
    &info::COMMAND,
    &inspect::COMMAND,
    &login::COMMAND,
    &logout::COMMAND,
    &version::COMMAND,
];
