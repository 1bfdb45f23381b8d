//! The engine and its host.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The engine and its host, for `docker info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The engine's own id, kept with its data.
    pub id: String,
    pub running: u64,
    pub paused: u64,
    pub stopped: u64,
    pub images: u64,
    /// The storage driver and what it says of itself.
    pub driver: String,
    pub driver_status: Vec<(String, String)>,
    pub cgroup_version: u8,
    /// What the host's control groups can limit.
    pub limits: Limits,
    pub ipv4_forwarding: bool,
    pub seccomp: bool,
    pub open_files: u64,
    pub event_listeners: u64,
    pub kernel_version: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub operating_system: String,
    pub os_version: String,
    /// `x86_64`.
    pub architecture: String,
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
    pub hostname: String,
    pub data_root: PathBuf,
    pub runtimes: BTreeMap<String, PathBuf>,
    pub default_runtime: String,
    pub insecure_registries: Vec<String>,
    pub registry_mirrors: Vec<String>,
    pub warnings: Vec<String>,
}

/// What the host's control groups can limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub memory: bool,
    pub swap: bool,
    pub cpu_shares: bool,
    pub cpu_quota: bool,
    pub cpuset: bool,
    pub pids: bool,
    pub oom_kill_disable: bool,
}
