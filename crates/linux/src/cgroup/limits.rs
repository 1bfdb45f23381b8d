//! What a group may use.

/// Limits; what is `None` stays as it is. Units are the kernel's: bytes, microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory.
    pub memory: Memory,
    /// Processor time.
    pub cpu: Cpu,
    /// Processes and threads; `-1` is no limit.
    pub pids: Option<i64>,
    /// Huge pages, per page size.
    pub huge_pages: Vec<HugePages>,
    /// Block devices.
    pub block: Block,
    /// v2 files and their values, written as they are.
    pub unified: Vec<(String, String)>,
}

/// Memory limits in bytes; `-1` is no limit.
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
    /// Bytes read per second.
    pub read_bps: Vec<BlockDevice>,
    /// Bytes written per second.
    pub write_bps: Vec<BlockDevice>,
    /// Reads per second.
    pub read_iops: Vec<BlockDevice>,
    /// Writes per second.
    pub write_iops: Vec<BlockDevice>,
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

impl Limits {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
