//! Building images, and what builds keep.
//!
//! ```text
//! flags ─ options ─► request ──► daemon ─► messages ┬─► display     steps, on the terminal or in lines
//!                                                   ├─► answer ─ files, secrets, agents, what is given back
//!                                                   └─► result      ids, names, metadata
//! ```

mod agents;
mod answer;
mod arriving;
mod caches;
mod command;
mod context;
mod display;
mod du;
mod failure;
mod files;
mod flags;
mod follow;
mod inflate;
mod options;
mod output;
mod prune;
mod result;
mod shell;
mod store;
mod verify;

use crate::command::Command;

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[&command::COMMAND, &du::COMMAND, &prune::COMMAND];
