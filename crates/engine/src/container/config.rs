//! What a container runs and what surrounds it: as meant, checked for form by whoever converts, and
//! for sense by the engine.

use super::{HealthCheck, OnUnhealthy};
use crate::network::EndpointRequest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

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

    /// The first process is an init that reaps and passes signals on; `None`: as the daemon's settings say.
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

/// Something to be seen at a path in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute, in the container.
    pub target: PathBuf,
    /// It cannot be written through this mount.
    pub read_only: bool,
    /// The options as written behind the last colon of `-v`, for inspect.
    pub mode: String,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host.
    Bind(Bind),
    /// A file system in memory, with mount(8)'s options.
    Tmpfs {
        /// mount(8)'s options, separated by commas.
        options: String,
    },
    /// A volume, made if there is none of this name.
    Volume(VolumeMount),
    /// The files of an image, which cannot be written.
    Image {
        /// Its name.
        source: String,
        /// A part of it; empty for all.
        subpath: PathBuf,
    },
}

/// A path of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bind {
    /// Absolute, on the host.
    pub source: PathBuf,
    /// Whether to make a directory where there is nothing: `-v` does at each start, `--mount` does not.
    pub create_source: bool,
    /// A source that is not there is an error of the request: with `--mount`, unless it is to be made.
    pub must_exist: bool,
    /// How later mounts show on the other side; `None` is the default.
    pub propagation: Option<Propagation>,
    /// Without the mounts below the source.
    pub non_recursive: bool,
    /// What a read-only mount means for the mounts below the source.
    pub read_only_below: ReadOnlyBelow,
    /// Owners are shown as others, [`IdMap`]; Hull's own.
    pub id_map: Option<IdMap>,
}

/// What a read-only mount means for the mounts below its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadOnlyBelow {
    /// They are read-only too, where the runtime can do that.
    #[default]
    IfPossible,
    /// They can be written.
    No,
    /// They are read-only too, or the container does not start.
    Always,
}

/// Ranges of ids: what belongs to one on the disk is shown as another's, and what is written as the
/// second is the first's on the disk. `mount_setattr(2)`, `MOUNT_ATTR_IDMAP`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdMap {
    /// Users.
    pub users: Vec<IdRange>,
    /// Groups.
    pub groups: Vec<IdRange>,
    /// The mounts below as well.
    pub recursive: bool,
}

/// One range of ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first on the disk.
    pub disk: u32,
    /// The first as shown.
    pub shown: u32,
    /// How many.
    pub count: u32,
}

/// A volume in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeMount {
    /// Empty for an anonymous one, which goes with the container.
    pub name: String,
    /// Leave a new volume empty although the image has something at the target.
    pub no_copy: bool,
    /// A part of it; empty for all.
    pub subpath: PathBuf,
    /// Of a new one; empty: the default.
    pub driver: String,
    /// Of a new one.
    pub options: Option<BTreeMap<String, String>>,
    /// Of a new one.
    pub labels: Option<BTreeMap<String, String>>,
}

/// How mounts made on one side of a bind mount show on the other: mount_namespaces(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Neither way, below as well.
    #[default]
    RPrivate,
    /// Neither way, this mount only.
    Private,
    /// Both ways.
    RShared,
    /// Both ways, this mount only.
    Shared,
    /// From the host only.
    RSlave,
    /// From the host only, this mount only.
    Slave,
}

impl Propagation {
    /// Docker's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RPrivate => "rprivate",
            Self::Private => "private",
            Self::RShared => "rshared",
            Self::Shared => "shared",
            Self::RSlave => "rslave",
            Self::Slave => "slave",
        }
    }
}

/// Limits. Zero and `None` are no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes.
    pub memory: i64,
    /// Bytes of the kernel's TCP buffers; version 1 only.
    pub kernel_memory_tcp: i64,
    /// Bytes, under pressure.
    pub memory_reservation: i64,
    /// Memory and swap together; -1 is unlimited swap, 0 with a memory limit is twice that.
    pub memory_swap: i64,
    /// 0 to 100; version 1 only.
    pub memory_swappiness: Option<i64>,
    /// Wait for memory instead of being killed; version 1 only.
    pub oom_kill_disable: bool,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Relative weight; 1024 is the default.
    pub cpu_shares: i64,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds per period.
    pub cpu_quota: i64,
    /// Microseconds of the real-time scheduler's period; version 1 only.
    pub cpu_realtime_period: i64,
    /// Microseconds of real time per period; version 1 only.
    pub cpu_realtime_runtime: i64,
    /// `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes, as `cpuset_cpus`.
    pub cpuset_mems: String,
    /// -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Weights by device.
    pub weight_devices: Vec<DeviceWeight>,
    /// Bytes read per second.
    pub read_bps: Vec<Throttle>,
    /// Bytes written per second.
    pub write_bps: Vec<Throttle>,
    /// Reads per second.
    pub read_iops: Vec<Throttle>,
    /// Writes per second.
    pub write_iops: Vec<Throttle>,
}

/// The share of one block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// Its node on the host.
    pub device: PathBuf,
    /// 10 to 1000.
    pub weight: u16,
}

/// A limit for one block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// Its node on the host.
    pub device: PathBuf,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// setrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `nproc`, …
    pub name: String,
    /// -1 is unlimited.
    pub soft: i64,
    /// What the soft limit may be raised to; -1 is unlimited.
    pub hard: i64,
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its path on the host.
    pub host: PathBuf,
    /// Its path in the container.
    pub container: PathBuf,
    /// Of `rwm`.
    pub permissions: String,
}

/// Devices by what they can, such as GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// `cdi`, `nvidia`, `amd`, or empty for any that can.
    pub driver: String,
    /// How many; -1 is all.
    pub count: i64,
    /// These; with `cdi` their full names, `vendor/class=name`.
    pub ids: Vec<String>,
    /// Lists of capabilities, of which one must be had whole.
    pub capabilities: Vec<Vec<String>>,
    /// The driver's own.
    pub options: BTreeMap<String, String>,
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
}

impl LogDriver {
    /// Docker's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::None => "none",
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
