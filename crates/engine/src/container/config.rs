//! What a container runs and what surrounds it: as meant, checked for form by whoever converts, and
//! for sense by the engine.

mod mounts;
mod resources;

pub use mounts::{Bind, IdMap, IdRange, Mount, MountKind, Propagation, ReadOnlyBelow, VolumeMount};
pub use resources::{Device, DeviceRequest, DeviceWeight, Resources, Throttle, Ulimit};

use super::{HealthCheck, OnUnhealthy};
use crate::network::EndpointRequest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A container as asked for. Nothing of the image is merged in: the engine does that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The image, as named by the client.
    pub image: String,
    /// `os/arch[/variant]` of the image, when the client insists.
    pub platform: Option<String>,
    /// The client's request, word by word, for who wants to see it again (inspect). The engine
    /// keeps it and does not look into it.
    pub request: Option<serde_json::Value>,

    /// `None`: the image's. Some and empty: none at all, not even the image's.
    pub entrypoint: Option<Vec<String>>,
    /// `None`: the image's, unless an entrypoint was given.
    pub cmd: Option<Vec<String>>,
    /// `NAME=value`, or `NAME` to remove one of the image's.
    pub env: Vec<String>,
    /// Empty: the image's.
    pub working_dir: String,
    /// `user[:group]`, names or numbers; empty: the image's.
    pub user: String,
    /// Supplementary groups.
    pub groups: Groups,
    /// `None`: the first 12 digits of the id (the host's with the host's network).
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: String,
    /// Labels, over the image's.
    pub labels: BTreeMap<String, String>,
    /// Passed to the runtime.
    pub annotations: BTreeMap<String, String>,
    /// A signal's name or number; `None`: the image's, else SIGTERM.
    pub stop_signal: Option<String>,
    /// Seconds; `None`: 10. Negative waits for ever.
    pub stop_timeout: Option<i64>,

    /// The process gets a pseudo-terminal.
    pub tty: bool,
    /// Standard input can be written to.
    pub open_stdin: bool,
    /// Standard input ends with that of the first client.
    pub stdin_once: bool,
    /// Rows, columns.
    pub console_size: Option<(u16, u16)>,

    /// Which network it is in, first of all.
    pub network: NetworkMode,
    /// Its places in networks, by the network's name or id as written: settings for that of `network`, and
    /// more networks.
    pub networks: BTreeMap<String, EndpointRequest>,
    /// The address of its device in `network`, for clients that know only one; that of `networks` counts before.
    pub mac_address: Option<String>,
    /// `container[:alias]`, the old `--link`.
    pub links: Vec<String>,
    /// Which of its ports the host's ports lead to.
    #[serde(with = "pairs")]
    pub ports: BTreeMap<Port, Vec<PortBinding>>,
    /// All exposed ports are published, at ports that are free.
    pub publish_all: bool,
    /// Ports that the container says it listens on, besides the image's.
    pub exposed_ports: BTreeSet<Port>,
    /// Name servers instead of the host's.
    pub dns: Vec<String>,
    /// Search domains instead of the host's.
    pub dns_search: Vec<String>,
    /// Resolver options instead of the host's.
    pub dns_options: Vec<String>,
    /// `name:address`.
    pub extra_hosts: Vec<String>,

    /// What is mounted besides the defaults.
    pub mounts: Vec<Mount>,
    /// Paths at which there are anonymous volumes, besides the image's, unless something else is mounted there.
    pub volumes: BTreeSet<String>,
    /// The driver of those; empty: the default.
    pub volume_driver: String,
    /// `container[:ro|rw]`, whose mounts it gets too.
    pub volumes_from: Vec<String>,
    /// The root file system cannot be written.
    pub read_only: bool,
    /// Bytes of `/dev/shm`; 0: 64 MiB.
    pub shm_size: u64,

    /// Which process ids it sees.
    pub pid: PidMode,
    /// With whom it shares IPC.
    pub ipc: IpcMode,
    /// Shares the host's UTS namespace.
    pub host_uts: bool,
    /// Shares the host's cgroup namespace; `None`: as the host's cgroup version suggests.
    pub host_cgroup_namespace: Option<bool>,
    /// The parent of its control group; empty is Hull's own.
    pub cgroup_parent: String,
    /// Limits.
    pub resources: Resources,
    /// setrlimit(2).
    pub ulimits: Vec<Ulimit>,
    /// -1000 to 1000; proc(5).
    pub oom_score_adj: Option<i32>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,

    /// The first process is an init that reaps and passes signals on.
    pub init: Option<bool>,
    /// The control groups' file systems can be written.
    pub writable_cgroups: bool,
    /// The AppArmor profile; `None`: none.
    pub apparmor: Option<String>,
    /// SELinux's options, such as `type:t`.
    pub selinux: Vec<String>,

    /// All capabilities and devices, no filter, nothing hidden.
    pub privileged: bool,
    /// With or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// As `cap_add`.
    pub cap_drop: Vec<String>,
    /// execve(2) can give no rights; `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Which system calls are allowed.
    pub seccomp: Seccomp,
    /// `None`: Docker's.
    pub masked_paths: Option<Vec<String>>,
    /// `None`: Docker's.
    pub readonly_paths: Option<Vec<String>>,
    /// Devices of the host it may use.
    pub devices: Vec<Device>,
    /// Devices by what they can, or by their names in the Container Device Interface.
    pub device_requests: Vec<DeviceRequest>,
    /// `c 1:3 rwm`.
    pub device_cgroup_rules: Vec<String>,

    /// Where its output goes.
    pub log: LogConfig,
    /// What happens when it ends by itself.
    pub restart: RestartPolicy,
    /// Remove it when it ends.
    pub auto_remove: bool,
    /// How its health is checked; what is left open is the image's.
    pub health_check: Option<HealthCheck>,
    /// What happens when it becomes unhealthy.
    pub on_unhealthy: OnUnhealthy,
    /// What reads command lines, such as a health check's; `None`: the image's, else `/bin/sh -c`.
    pub shell: Option<Vec<String>>,
    /// The runtime's name; `None`: the daemon's default.
    pub runtime: Option<String>,
}

/// JSON has no objects whose keys are objects: kept as a list of pairs.
mod pairs {
    use super::{BTreeMap, Port, PortBinding};
    use serde::{Deserialize as _, Deserializer, Serializer};

    type Ports = BTreeMap<Port, Vec<PortBinding>>;

    pub(super) fn serialize<S: Serializer>(ports: &Ports, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ports)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ports, D::Error> {
        let pairs = Vec::<(Port, Vec<PortBinding>)>::deserialize(from)?;
        Ok(pairs.into_iter().collect())
    }
}

/// Supplementary groups, names or numbers.
pub type Groups = Vec<String>;

/// A port and its protocol, `tcp`, `udp` or `sctp`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// A host's port that leads to a container's, as written; the engine checks and fills in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortBinding {
    /// An address of the host; empty: the network's or the daemon's default.
    pub host: String,
    /// A port, a range of which any will do (`8000-8010`), or empty for any free one.
    pub host_ports: String,
}

/// The network a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// The default bridge.
    #[default]
    Bridge,
    /// The host's.
    Host,
    /// Its own, with nothing but loopback.
    None,
    /// That of another container, by name or id.
    Container(String),
    /// A user's, by name or id.
    Named(String),
}

impl NetworkMode {
    /// Docker's text for it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Bridge => "bridge".to_owned(),
            Self::Host => "host".to_owned(),
            Self::None => "none".to_owned(),
            Self::Container(name) => format!("container:{name}"),
            Self::Named(name) => name.clone(),
        }
    }
}

/// The process ids a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Those of another container, by name or id.
    Container(String),
}

/// System V IPC and POSIX message queues, and who shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcMode {
    /// Its own.
    #[default]
    Private,
    /// Its own, and others may join.
    Shareable,
    /// Its own, without `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
}

/// Which system calls are allowed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's profile; none for privileged containers.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile in Docker's JSON format.
    Profile(String),
}

/// Where output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// What keeps it.
    pub driver: LogDriver,
    /// Docker's options of the driver, checked by the engine: `max-size`, `max-file`, `labels`, …
    pub options: BTreeMap<String, String>,
}

/// What keeps a container's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    /// Files of JSON lines, bounded.
    #[default]
    JsonFile,
    /// Docker's compact files, compressed and bounded.
    Local,
    /// Nothing.
    None,
    /// A log server; a copy is kept in files for who reads it here.
    Remote(hull_logger::Driver),
}

impl LogDriver {
    /// By Docker's name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let local = [Self::JsonFile, Self::Local, Self::None];
        let remote = hull_logger::Driver::ALL.map(Self::Remote);
        let mut all = local.into_iter().chain(remote);
        all.find(|driver| driver.as_str() == name)
    }

    /// Docker's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::None => "none",
            Self::Remote(driver) => driver.as_str(),
        }
    }
}

/// What happens when a container ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    #[default]
    /// Nothing.
    No,
    /// It is started again.
    Always,
    /// It is started again unless somebody stopped it.
    UnlessStopped,
    /// On an exit code other than 0, at most so often; 0 is no bound.
    OnFailure {
        /// How often at most; 0 is no bound.
        max_retries: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_ports_and_old_rows_are_read() {
        let port = Port {
            number: 80,
            protocol: "tcp".to_owned(),
        };
        let config = Config {
            network: NetworkMode::Named("front".to_owned()),
            networks: BTreeMap::from([("front".to_owned(), EndpointRequest::default())]),
            ports: BTreeMap::from([(port, vec![PortBinding::default()])]),
            ..Config::default()
        };
        let kept = serde_json::to_vec(&config).unwrap();
        assert_eq!(serde_json::from_slice::<Config>(&kept).unwrap(), config);
        let old = br#"{"image":"a","network":"Bridge","ipv4_address":null}"#;
        let old: Config = serde_json::from_slice(old).unwrap();
        assert_eq!((old.network, old.ports.len()), (NetworkMode::Bridge, 0));
    }
}
