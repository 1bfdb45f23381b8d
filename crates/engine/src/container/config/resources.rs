//! How much a container may take, and which devices.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

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
