//! Commands about checkpoints of containers, one file each.

mod create;
mod ls;
mod rm;

use crate::command::Command;
use crate::flags::{Flag, value};

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[&create::COMMAND, &ls::COMMAND, &rm::COMMAND];

/// Where the checkpoints are, on the daemon's host.
const DIRECTORY: Flag = value(
    "checkpoint-dir",
    "string",
    "Directory of the checkpoints on the daemon's host, if they are not with the container",
);
