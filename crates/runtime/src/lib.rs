//! The OCI runtime: a bundle goes in, a process comes out.
//!
//! As a program it is [`main`], with runc's command line; as a library it is [`Runtime`]. The documents are
//! those of [`hull_spec::runtime`].
//!
//! ```text
//! command/<verb>.rs   what the command line says        launch.rs   the runtime's side of a new process
//! config.rs plan.rs   config.json, checked and sorted    handshake.rs  what the two sides say to each other
//! state.rs            what is on disk                    init/       the new process' side, step by step
//! ```
//!
//! The new process is a copy of this one (clone3 with all namespaces at once), not another run of this
//! program: everything that was parsed and opened is there already. It relies on there being one thread.
#![forbid(unsafe_code)]

mod arguments;
mod cgroups;
mod command;
mod config;
mod console;
mod criu;
mod error;
mod files;
mod foreground;
#[doc(hidden)]
pub mod fuzz;
mod handshake;
mod hooks;
mod id;
mod init;
mod launch;
mod plan;
mod protect;
mod rdt;
mod report;
mod rootless;
mod runtime;
mod seccomp;
mod state;
mod systemd;

pub use command::main;
pub use error::Error;
pub use init::reaper::main as init_main;
pub use runtime::{Joined, Options, Runtime, protect_executable};
