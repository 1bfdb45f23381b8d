//! What a group may use.

use super::{Refused, v2};

/// Limits; what is `None` stays as it is. Units are the kernel's: bytes, microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory.
    pub memory: Memory,
    /// Processor time.
    pub cpu: Cpu,
    /// Processes and threads; negative is no limit, 0 leaves it as it is.
    pub pids: Option<i64>,
    /// Huge pages, per page size.
    pub huge_pages: Vec<HugePages>,
    /// Block devices.
    pub block: Block,
    /// Marks of network traffic, v1 only.
    pub network: Network,
    /// RDMA devices and what may be used of them (Linux 4.11).
    pub rdma: Vec<(String, Rdma)>,
    /// v2 files and their values, written as they are.
    pub unified: Vec<(String, String)>,
}

/// Memory limits in bytes; `-1` is no limit, 0 leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The hard limit.
    pub limit: Option<i64>,
    /// The limit under pressure.
    pub reservation: Option<i64>,
    /// Memory and swap together.
    pub swap: Option<i64>,
    /// TCP buffers, v1 only.
    pub kernel_tcp: Option<i64>,
    /// 0 to 100, v1 only.
    pub swappiness: Option<u64>,
    /// v1 only.
    pub disable_oom_killer: Option<bool>,
    /// Accounting with all that is below, v1 only; kernels since 5.11 have no other.
    pub use_hierarchy: Option<bool>,
    /// Whether a limit at or below the present use is refused; v2 only, v1's kernel refuses it by itself.
    pub check_before_update: bool,
}

/// Processor limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Relative weight, 2 to 262144.
    pub shares: Option<u64>,
    /// Microseconds per period; `-1` is no limit.
    pub quota: Option<i64>,
    /// The period in microseconds.
    pub period: Option<u64>,
    /// Microseconds that may be saved up (Linux 5.14).
    pub burst: Option<u64>,
    /// Realtime microseconds per realtime period, v1 only.
    pub realtime_runtime: Option<i64>,
    /// The realtime period, v1 only.
    pub realtime_period: Option<u64>,
    /// `1` gives the group only what nobody else wants (Linux 5.15).
    pub idle: Option<i64>,
    /// Processors, such as `0-2,7`.
    pub cpus: Option<String>,
    /// Memory nodes.
    pub mems: Option<String>,
}

/// A huge page limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HugePages {
    /// Such as `2MB`.
    pub size: String,
    /// Bytes.
    pub limit: u64,
}

/// Block device limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Relative weight against the groups below, v1 before Linux 5.0.
    pub leaf_weight: Option<u16>,
    /// Weights for single devices.
    pub weights: Vec<BlockWeight>,
    /// Bytes read per second.
    pub read_bps: Vec<BlockDevice>,
    /// Bytes written per second.
    pub write_bps: Vec<BlockDevice>,
    /// Reads per second.
    pub read_iops: Vec<BlockDevice>,
    /// Writes per second.
    pub write_iops: Vec<BlockDevice>,
}

/// A weight for one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockWeight {
    /// Its major number.
    pub major: i64,
    /// Its minor number.
    pub minor: i64,
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Against the groups below, v1 before Linux 5.0.
    pub leaf_weight: Option<u16>,
}

/// A limit for one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDevice {
    /// Its major number.
    pub major: i64,
    /// Its minor number.
    pub minor: i64,
    /// Per second.
    pub rate: u64,
}

/// Marks of network traffic, of the v1 controllers net_cls and net_prio.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Class for tc(8), major number in the high half.
    pub class_id: Option<u32>,
    /// Interfaces and the priority of what leaves by them.
    pub priorities: Vec<(String, u32)>,
}

/// What may be used of an RDMA device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rdma {
    /// Handles.
    pub handles: Option<u32>,
    /// Objects.
    pub objects: Option<u32>,
}

impl Memory {
    /// What v2 calls the limit of swap, without the memory that v1 and the runtime specification count
    /// with it: bytes, -1 for no limit, `None` where nothing is asked for.
    ///
    /// # Errors
    /// [`Refused`] for a sum that cannot be taken apart.
    pub fn swap_alone(&self) -> Result<Option<i64>, Refused> {
        v2::swap_alone(self.swap, self.limit)
    }
}

impl Cpu {
    /// The shares as v2's weight, 1 to 10000.
    #[must_use]
    pub fn weight(&self) -> Option<u64> {
        let shares = self.shares.filter(|shares| *shares != 0);
        shares.map(v2::weight_of_shares)
    }
}

impl Limits {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
