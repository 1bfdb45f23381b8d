//! What is known of a container, for inspect and lists.

use super::{Config, Health, HealthCheck, IdMap, Port, ReadOnlyBelow, State};
use crate::Filters;
use crate::network::EndpointRequest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Which containers to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// Only so many, the newest; they need not run.
    pub limit: Option<usize>,
    /// Which ones.
    pub filters: Filters,
    /// Count the bytes they hold.
    pub sizes: bool,
}

/// One container.
#[derive(Clone, Debug)]
pub struct Details {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// When.
    pub created: Timestamp,
    /// What it is doing.
    pub state: State,
    /// As asked for.
    pub config: Arc<Config>,
    /// `sha256:…`.
    pub image_id: String,
    /// The image as it was named; in lists its id when that name now means another image.
    pub image_name: String,

    /// What runs: image and configuration put together. The first word is the program.
    pub args: Vec<String>,
    /// The first part of what runs.
    pub entrypoint: Option<Vec<String>>,
    /// The rest of it.
    pub cmd: Option<Vec<String>>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Absolute.
    pub working_dir: String,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Its host name.
    pub hostname: String,
    /// The image's and its own.
    pub labels: BTreeMap<String, String>,
    /// Ports it says it listens on.
    pub exposed_ports: BTreeSet<Port>,
    /// Paths the image declares to be volumes.
    pub volumes: BTreeSet<String>,
    /// Name or number; `None` is SIGTERM.
    pub stop_signal: Option<String>,
    /// The runtime that is used.
    pub runtime: String,
    /// How its health is checked.
    pub health_check: Option<HealthCheck>,
    /// What reads command lines; `None` is `/bin/sh -c`.
    pub shell: Option<Vec<String>>,

    /// How often its restart policy started it.
    pub restart_count: u32,
    /// The kernel has killed something in its present run for want of memory.
    pub out_of_memory: bool,
    /// How it is, once it has been started with a health check.
    pub health: Option<Arc<Health>>,
    /// Execs that have not ended.
    pub exec_ids: Vec<String>,
    /// Its files on the host.
    pub paths: Paths,
    /// How the root file system is made, in the storage driver's words.
    pub snapshot: Snapshot,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// By network name. Empty for a container in another's network.
    pub networks: Places,
    /// Its ports while it runs in a network of its own: where they are published, `None` for those that are
    /// exposed only.
    pub ports: BTreeMap<Port, Option<Vec<HostPort>>>,
    /// The network namespace's file, while there is one.
    pub sandbox: Option<PathBuf>,
    /// The old links of the default bridge: `/container:/own name/alias`.
    pub links: Vec<String>,
    /// Only when asked for.
    pub sizes: Option<Sizes>,
}

/// Where a container's files are on the host; empty until the first start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Mounted at `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Its host name.
    pub hostname: PathBuf,
    /// Mounted at `/etc/hosts`.
    pub hosts: PathBuf,
    /// Empty without a log file.
    pub log: PathBuf,
}

/// The storage driver's view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `overlay2`, for who looks for it.
    pub driver: String,
    /// `LowerDir`, `UpperDir`, …
    pub data: BTreeMap<String, String>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// In the writable layer.
    pub writable: u64,
    /// With the image.
    pub root: u64,
}

/// A mount as it came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountPoint {
    /// `bind`, `tmpfs`, `volume` or `image`.
    pub kind: String,
    /// A volume's, an image's.
    pub name: String,
    /// On the host; of a volume of another driver only known while it is mounted.
    pub source: String,
    /// In the container.
    pub target: String,
    /// A volume's.
    pub driver: String,
    /// As written.
    pub mode: String,
    /// It cannot be written through this mount.
    pub read_only: bool,
    /// Docker's word.
    pub propagation: String,
    /// A volume that goes with its container.
    pub anonymous: bool,
    /// A new volume gets what the image has at the target.
    pub copy: bool,
    /// The part of a volume or image that is mounted; empty for all.
    pub subpath: PathBuf,
    /// The snapshot that keeps an image's layers.
    pub snapshot: String,
    /// A directory is made where a bind mount's source is missing.
    pub create_source: bool,
    /// Without the mounts below the source.
    pub non_recursive: bool,
    /// What being read-only means for the mounts below the source.
    pub read_only_below: ReadOnlyBelow,
    /// Nobody asked for this propagation: another will do where the source cannot have it.
    pub propagation_by_default: bool,
    /// Owners are shown as others.
    pub id_map: Option<IdMap>,
}

/// A port of the host's that leads to a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// `0.0.0.0`, `::`, or one of the host's addresses.
    pub host: String,
    /// On the host.
    pub port: u16,
}

/// A container's ends of networks, by the networks' names. Boxed, for a map's node has room for eleven.
pub type Places = BTreeMap<String, Box<Endpoint>>;

/// A container's end of a network: what was asked for and, while it runs, what came of it. Empty texts
/// and zeros while it does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// As asked for.
    pub request: EndpointRequest,
    /// 64 hexadecimal digits; empty for a network that is not known yet.
    pub network_id: String,
    /// 64 hexadecimal digits.
    pub endpoint_id: String,
    /// The IPv4 router.
    pub gateway: String,
    /// IPv4.
    pub address: String,
    /// Of the IPv4 network, bits.
    pub prefix_len: u8,
    /// The IPv6 router.
    pub gateway6: String,
    /// IPv6.
    pub address6: String,
    /// Of the IPv6 network, bits.
    pub prefix_len6: u8,
    /// Six bytes, colons between.
    pub mac_address: String,
    /// Its names in a network that has names; `None` elsewhere.
    pub dns_names: Option<Vec<String>>,
    /// The device's name in the container.
    pub ifname: String,
}

/// The processes of a container, in the columns of ps(1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// The columns.
    pub titles: Vec<String>,
    /// A row for each process.
    pub processes: Vec<Vec<String>>,
}
