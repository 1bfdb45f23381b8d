//! What Docker *means*: containers, images, exec, events, networks, without HTTP and without its
//! wire types. The daemon converts; everything here is as meant, with defaults filled in.
//!
//! ```text
//! Engine ── index of containers ── Container: record (row in hull.db), shim, waiters
//!    ├───── image::Store, Overlay snapshots      what containers are made of
//!    ├───── registry::Client                     where images come from
//!    ├───── Networks                             bridges, addresses, names, published ports
//!    └───── Journal                              events
//! ```
//!
//! There is no engine-wide lock over slow work: a container has a lock of its own for operations, and
//! the index is locked for moments.
#![forbid(unsafe_code)]

mod budget;
pub mod build;
pub mod check;
pub mod container;
mod counts;
mod database;
mod engine;
mod error;
pub mod event;
pub mod exec;
pub mod image;
mod journal;
pub mod logs;
mod names;
pub mod network;
mod prune;
mod reload;
mod rows;
pub mod stream;
pub mod system;
pub mod trust;
pub mod usage;
pub mod volume;

pub use counts::Counts;
pub use engine::{Config, Engine, RuntimeProgram, TransferLimits};
pub(crate) use engine::{blocking, failed};
pub use error::{Error, ErrorKind};
pub use hull_image::{FormatChoice as StoreFormat, InvalidFormat as InvalidStoreFormat};
pub use hull_registry::Proxies;
pub use hull_spec::{
    Digest, InvalidReference, Platform, Reference, Thousand, check_ulimit, parse_size, parse_ulimit,
};
pub use reload::Changeable;

/// Filters of lists and events: for each name the values of which one has to match. The engine
/// refuses names and values that it does not know.
pub type Filters = std::collections::BTreeMap<String, Vec<String>>;

/// Lets no program that is started from here on have a descriptor that this process was started with, a
/// lock of whoever started it for example: shims live for long. Those that are handed on are so by name.
/// For the beginning of a program that has an engine.
///
/// # Errors
/// What close_range(2) gives: `EINVAL` before Linux 5.11.
pub fn keep_inherited_descriptors() -> std::io::Result<()> {
    hull_linux::process::close_on_exec_from(3)
}

/// The descriptors that the service manager passed to this process, with their names: sd_listen_fds(3).
/// To be called before [`keep_inherited_descriptors`].
#[must_use]
pub fn passed_descriptors() -> Vec<(String, std::os::fd::OwnedFd)> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    if variable("LISTEN_PID").parse() != Ok(std::process::id()) {
        return Vec::new();
    }
    // As many as a process of ours may have at most, whatever the variable says.
    let count = variable("LISTEN_FDS").parse().unwrap_or(0).min(1024);
    let names = variable("LISTEN_FDNAMES");
    let mut names = names.split(':');
    (3..3 + count)
        .filter_map(|number| {
            let name = names.next().unwrap_or_default().to_owned();
            Some((name, hull_linux::process::duplicate_inherited(number)?))
        })
        .collect()
}

/// What an operation yields.
pub type Result<T, E = Error> = std::result::Result<T, E>;
