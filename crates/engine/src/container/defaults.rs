//! What a daemon's settings say of containers that do not say it themselves.

use super::Ulimit;
use std::path::PathBuf;

/// Settings for all containers that leave something open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// The first process is an init that reaps and passes signals on.
    pub init: bool,
    /// A program of the host's as that init; `None`: Hull's own.
    pub init_path: Option<PathBuf>,
    /// Limits of processes, where the container has none of the name.
    pub ulimits: Vec<Ulimit>,
    /// The parent of containers' control groups; empty is Hull's own.
    pub cgroup_parent: String,
    /// Where documents of the Container Device Interface are; empty: `/etc/cdi` and `/var/run/cdi`.
    pub cdi_directories: Vec<PathBuf>,
}
