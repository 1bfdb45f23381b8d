//! `hull context`: daemons by name.

mod archive;
mod create;
mod inspect;
mod ls;
mod options;
mod store;

mod export;
mod import;
mod rm;
mod select;
mod show;
mod update;

pub(crate) use store::{Address, DEFAULT, Store};

use crate::command::Command;

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[
    &create::COMMAND,
    &export::COMMAND,
    &import::COMMAND,
    &inspect::COMMAND,
    &ls::COMMAND,
    &rm::COMMAND,
    &show::COMMAND,
    &update::COMMAND,
    &select::COMMAND,
];
