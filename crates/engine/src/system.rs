//! The engine and its host.

use crate::container::State;
use crate::{Engine, Result, blocking};
use hull_linux::cgroup::Layout;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// The engine and its host, for `docker info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The engine's own id, kept with its data.
    pub id: String,
    /// Containers that run.
    pub running: u64,
    /// Containers that are paused.
    pub paused: u64,
    /// All others.
    pub stopped: u64,
    /// Images in the store.
    pub images: u64,
    /// The storage driver and what it says of itself.
    pub driver: String,
    /// What the driver says of itself.
    pub driver_status: Vec<(String, String)>,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// What the host's control groups can limit.
    pub limits: Limits,
    /// The host forwards packets.
    pub ipv4_forwarding: bool,
    /// The kernel has system call filters.
    pub seccomp: bool,
    /// Descriptors of the daemon.
    pub open_files: u64,
    /// Clients that follow events.
    pub event_listeners: u64,
    /// As uname(2) tells it.
    pub kernel_version: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub operating_system: String,
    /// Such as `12`.
    pub os_version: String,
    /// `x86_64`.
    pub architecture: String,
    /// Processors.
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
    /// The host's name.
    pub hostname: String,
    /// Where everything is kept.
    pub data_root: PathBuf,
    /// OCI runtimes by name.
    pub runtimes: BTreeMap<String, PathBuf>,
    /// One of them.
    pub default_runtime: String,
    /// As configured.
    pub insecure_registries: Vec<String>,
    /// As configured.
    pub registry_mirrors: Vec<String>,
    /// What the host lacks.
    pub warnings: Vec<String>,
}

/// What the host's control groups can limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory.
    pub memory: bool,
    /// Memory and swap together.
    pub swap: bool,
    /// Relative weight.
    pub cpu_shares: bool,
    /// Processor time per period.
    pub cpu_quota: bool,
    /// Which processors.
    pub cpuset: bool,
    /// The number of processes.
    pub pids: bool,
    /// Waiting for memory instead of being killed.
    pub oom_kill_disable: bool,
    /// Memory that is left under pressure.
    pub memory_reservation: bool,
    /// How readily memory is swapped.
    pub swappiness: bool,
    /// The kernel's TCP buffers.
    pub kernel_memory_tcp: bool,
    /// Time of the real-time scheduler.
    pub cpu_realtime: bool,
    /// The share of block devices.
    pub blkio_weight: bool,
    /// That of single block devices.
    pub blkio_weight_device: bool,
    /// Bytes and operations a second on block devices.
    pub blkio_rates: bool,
}

impl Engine {
    /// What the host's control groups can limit, found out once: that changes with the kernel.
    pub(crate) fn limits(&self) -> Limits {
        static LIMITS: OnceLock<Limits> = OnceLock::new();
        *LIMITS.get_or_init(|| limits(&self.cgroups))
    }

    /// The engine and its host.
    ///
    /// # Errors
    /// What reading the store gives.
    pub async fn info(self: &Arc<Self>) -> Result<Info> {
        let engine = Arc::clone(self);
        blocking(move || engine.info_blocking()).await
    }

    fn info_blocking(&self) -> Result<Info> {
        let mut info = Info {
            id: self.id.clone(),
            ..Info::default()
        };
        for container in self.containers() {
            match container.record().state {
                State::Running { .. } => info.running += 1,
                State::Paused { .. } => info.paused += 1,
                _ => info.stopped += 1,
            }
        }
        let images = self.store.summaries();
        info.images = images.iter().filter(|image| !image.beside).count() as u64;
        info.driver = "overlay2".to_owned();
        info.driver_status = self.driver_status();
        info.cgroup_version = if self.cgroups.is_v2() { 2 } else { 1 };
        info.limits = self.limits();
        info.ipv4_forwarding = read("/proc/sys/net/ipv4/ip_forward").trim() == "1";
        info.seccomp = std::path::Path::new("/proc/sys/kernel/seccomp").exists();
        info.open_files =
            std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        info.event_listeners = self.journal.listeners();
        let host = rustix::system::uname();
        info.kernel_version = host.release().to_string_lossy().into_owned();
        info.architecture = host.machine().to_string_lossy().into_owned();
        info.hostname = host_name();
        let release = read("/etc/os-release");
        let field = |name: &str| {
            let value = release
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        info.operating_system = field("PRETTY_NAME");
        info.os_version = field("VERSION_ID");
        info.cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        info.memory = memory_total();
        info.data_root.clone_from(&self.config.data_root);
        let settings = self.settings();
        info.runtimes = settings
            .runtimes
            .iter()
            .map(|(name, program)| (name.clone(), program.path.clone()))
            .collect();
        info.default_runtime.clone_from(&settings.default_runtime);
        info.insecure_registries
            .clone_from(&settings.insecure_registries);
        info.registry_mirrors.clone_from(&settings.registry_mirrors);
        info.warnings = warnings(&info);
        Ok(info)
    }

    fn driver_status(&self) -> Vec<(String, String)> {
        let magic = rustix::fs::statfs(&self.config.data_root).map_or(0, |fs| fs.f_type);
        let name = match magic {
            0xef53 => "extfs",
            0x5846_5342 => "xfs",
            0x9123_683e => "btrfs",
            0x0102_1994 => "tmpfs",
            _ => "<unknown>",
        };
        vec![
            ("Backing Filesystem".to_owned(), name.to_owned()),
            ("Supports d_type".to_owned(), "true".to_owned()),
        ]
    }
}

/// What the host's control groups can limit.
fn limits(cgroups: &Layout) -> Limits {
    let group = |controller: &str| {
        cgroups
            .hierarchy(controller)
            .map(|hierarchy| hierarchy.mount.clone())
    };
    let has = |controller: &str, v1: &str| match group(controller) {
        Some(_) if cgroups.is_v2() => read("/sys/fs/cgroup/cgroup.controllers")
            .split_whitespace()
            .any(|name| name == controller),
        Some(mount) => mount.join(v1).exists(),
        None => false,
    };
    let v1 = |controller: &str, file: &str| !cgroups.is_v2() && has(controller, file);
    let io = cgroups.is_v2() && has("io", "");
    // The file's name depends on the scheduler that does the weighing.
    let block = |name: &str| {
        io || v1("blkio", &format!("blkio.{name}")) || v1("blkio", &format!("blkio.bfq.{name}"))
    };
    let swap = if cgroups.is_v2() {
        has("memory", "")
    } else {
        has("memory", "memory.memsw.limit_in_bytes")
    };
    Limits {
        memory: has("memory", "memory.limit_in_bytes"),
        swap,
        cpu_shares: has("cpu", "cpu.shares"),
        cpu_quota: has("cpu", "cpu.cfs_quota_us"),
        cpuset: has("cpuset", "cpuset.cpus"),
        pids: group("pids").is_some() && (!cgroups.is_v2() || has("pids", "")),
        oom_kill_disable: v1("memory", "memory.oom_control"),
        memory_reservation: has("memory", "memory.soft_limit_in_bytes"),
        swappiness: v1("memory", "memory.swappiness"),
        kernel_memory_tcp: v1("memory", "memory.kmem.tcp.limit_in_bytes"),
        cpu_realtime: v1("cpu", "cpu.rt_runtime_us"),
        blkio_weight: block("weight"),
        blkio_weight_device: block("weight_device"),
        blkio_rates: io || v1("blkio", "blkio.throttle.read_bps_device"),
    }
}

/// Whether hard limits may be raised and OOM scores lowered: both take `CAP_SYS_RESOURCE`, which an
/// engine in a container may lack.
pub(crate) fn may_raise_limits() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = read("/proc/self/status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|set| set >> CAP_SYS_RESOURCE & 1 == 1)
}

/// How much rather than others the kernel ends this process when memory runs out: -1000 to 1000.
pub(crate) fn oom_score_adj() -> i32 {
    static OWN: std::sync::OnceLock<i32> = std::sync::OnceLock::new();
    // Nobody changes it while the daemon runs: its service sets it before.
    *OWN.get_or_init(|| read("/proc/self/oom_score_adj").trim().parse().unwrap_or(0))
}

/// The host's own name.
pub(crate) fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Bytes.
pub(crate) fn memory_total() -> u64 {
    let info = read("/proc/meminfo");
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total
        .and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// Docker's words for what a host lacks.
fn warnings(info: &Info) -> Vec<String> {
    let lacks = [
        (info.limits.memory, "WARNING: No memory limit support"),
        (info.limits.swap, "WARNING: No swap limit support"),
        (info.limits.cpu_quota, "WARNING: No cpu cfs quota support"),
        (info.limits.cpu_shares, "WARNING: No cpu shares support"),
        (info.limits.cpuset, "WARNING: No cpuset support"),
        (info.limits.pids, "WARNING: No pids limit support"),
    ];
    lacks
        .into_iter()
        .filter(|(there, _)| !there)
        .map(|(_, text)| text.to_owned())
        .collect()
}

fn read(path: &str) -> String {
    fs_err::read_to_string(path).unwrap_or_default()
}
