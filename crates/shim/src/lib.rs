//! The process that stays with one container, and the handle on it.
//!
//! One `hull-shim` runs per container. It mounts the root file system in a mount namespace of its
//! own, executes an OCI runtime, owns the container's input and output, writes the log, reaps,
//! records the exit, and serves a socket in the bundle. It also passes on what comes to published ports
//! by IPv6 addresses where the kernel cannot. It survives the daemon; when it ends, its
//! mounts end with it.
//!
//! ```text
//! daemon                        hull-shim                         runtime
//!   | -- Launch (socketpair) -->  |
//!   |                             | forks, leaves the daemon; own mounts; root mounted
//!   |                             | -- create ------------------->  |
//!   | <-- Created | Failed -----  |
//!   | -- attach, events … ----->  |      (connections to shim.sock)
//!   | -- start ---------------->  | -- start -------------------->  |
//!   | <== output, events =======  |
//!   | <-- Exited ---------------  | (exit.json is written before)
//!   |                             | -- delete ------------------->  |
//!   | <-- Cleaned --------------  |
//! ```
//!
//! [`Handle`] is the daemon's side, [`protocol`] what is said, [`serve`] the process itself.
#![forbid(unsafe_code)]

mod handle;
mod launch;
pub mod protocol;
mod relay;
mod server;

pub use handle::{Error, Events, Handle};
pub use launch::{
    ExitRecord, Launch, LogConfig, LogFormat, Receiver, Relay, Source, SourceKind, Transport,
};
pub use protocol::{AttachOptions, Event, ExecRequest, Snapshot};
pub use server::{mount_root, serve};

/// Names of the files in a bundle that belong to the shim.
pub mod files {
    /// The socket.
    pub const SOCKET: &str = "shim.sock";
    /// The process id, decimal.
    pub const PID: &str = "shim.pid";
    /// Where the root file system is mounted.
    pub const ROOT: &str = "rootfs";
    /// Where sources of bind mounts are put.
    pub const SOURCES: &str = "sources";
}
