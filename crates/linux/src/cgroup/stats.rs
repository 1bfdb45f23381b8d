//! What a group has used.

use super::{Cgroup, v1, v2};
use std::collections::BTreeMap;

/// Usage, as far as this host counts it; what it does not count is 0, empty or `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Processors and memory nodes, v1 only.
    pub cpuset: CpusetStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Block devices.
    pub block: BlockStats,
    /// Huge pages, by size (`2MB`).
    pub huge_pages: BTreeMap<String, Amount>,
}

/// Processor time, nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuStats {
    /// All of it.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In kernel mode.
    pub kernel: u64,
    /// By processor, v1 only.
    pub per_cpu: Vec<u64>,
    /// By processor, in kernel mode, v1 only.
    pub per_cpu_kernel: Vec<u64>,
    /// By processor, in user mode, v1 only.
    pub per_cpu_user: Vec<u64>,
    /// Periods of the quota that have passed.
    pub periods: u64,
    /// In how many of them the group had to wait.
    pub throttled_periods: u64,
    /// How long it had to.
    pub throttled: u64,
    /// Stalls, v2 only.
    pub pressure: Option<Pressure>,
}

/// The cpuset of v1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpusetStats {
    /// Processors.
    pub cpus: Vec<u16>,
    /// Memory nodes.
    pub mems: Vec<u16>,
    /// The other numbers, by the file's name without `cpuset.`.
    pub flags: BTreeMap<&'static str, i64>,
}

/// Memory, bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryStats {
    /// Page cache.
    pub cache: u64,
    /// Memory.
    pub usage: Amount,
    /// Memory and swap together.
    pub swap: Amount,
    /// Of the kernel, v1 only.
    pub kernel: Amount,
    /// TCP buffers, v1 only.
    pub kernel_tcp: Amount,
    /// The kernel's counters of `memory.stat`.
    pub counters: BTreeMap<String, u64>,
    /// Stalls, v2 only.
    pub pressure: Option<Pressure>,
}

/// How much there is of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Now.
    pub usage: u64,
    /// The most there ever was.
    pub peak: u64,
    /// How often more was wanted than allowed.
    pub failures: u64,
    /// The limit; `u64::MAX` and v1's largest number of pages are none.
    pub limit: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// The limit, `None` for none.
    pub limit: Option<u64>,
}

/// Block devices: tables with v1's names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockStats {
    /// Bytes read and written.
    pub bytes: Vec<BlockCount>,
    /// Reads and writes.
    pub operations: Vec<BlockCount>,
    /// Operations that wait.
    pub queued: Vec<BlockCount>,
    /// Nanoseconds of service.
    pub service_time: Vec<BlockCount>,
    /// Nanoseconds of waiting.
    pub wait_time: Vec<BlockCount>,
    /// Operations merged into others.
    pub merged: Vec<BlockCount>,
    /// Milliseconds of the device.
    pub time: Vec<BlockCount>,
    /// Sectors moved.
    pub sectors: Vec<BlockCount>,
    /// Stalls, v2 only.
    pub pressure: Option<Pressure>,
}

/// A number of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockCount {
    /// Its major number.
    pub major: u64,
    /// Its minor number.
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Total` …; may be empty.
    pub operation: String,
    /// How many.
    pub value: u64,
}

/// Stalls for want of a resource (kernel documentation, `accounting/psi`; Linux 4.20).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Some processes waited.
    pub some: Stall,
    /// All of them did.
    pub full: Stall,
}

/// Shares of time in percent, and a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    /// Of the last 10 seconds.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last five minutes.
    pub avg300: f64,
    /// Microseconds since the beginning.
    pub total: u64,
}

impl Cgroup {
    /// Reads what the group has used.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = if self.layout().is_v2() {
            v2::stats(self)
        } else {
            v1::stats(self)
        };
        stats.huge_pages = self.huge_page_stats();
        stats
    }

    fn huge_page_stats(&self) -> BTreeMap<String, Amount> {
        let Some(hierarchy) = self.layout().hierarchy("hugetlb") else {
            return BTreeMap::new();
        };
        let of = |size: &String| {
            // What is reserved counts, where the kernel tells (Linux 5.7).
            let prefixes = [format!("hugetlb.{size}.rsvd"), format!("hugetlb.{size}")];
            prefixes.iter().find_map(|prefix| {
                if hierarchy.v2 {
                    v2::huge_pages(self, prefix, size)
                } else {
                    v1::amount(self, "hugetlb", prefix)
                }
            })
        };
        let sizes = huge_page_sizes();
        let found = sizes
            .iter()
            .filter_map(|size| Some((size.clone(), of(size)?)));
        found.collect()
    }
}

/// The sizes of huge pages that the kernel has, as its files name them.
fn huge_page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages");
    let sizes = entries.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        huge_page_size(&name)
    });
    sizes.collect()
}

/// `hugepages-2048kB` is `2MB`.
pub(super) fn huge_page_size(directory: &str) -> Option<String> {
    let kilobytes = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?;
    let mut number: u64 = kilobytes.parse().ok()?;
    let mut unit = "KB";
    for larger in ["MB", "GB", "TB"] {
        if number >= 1024 && number.is_multiple_of(1024) {
            number /= 1024;
            unit = larger;
        }
    }
    Some(format!("{number}{unit}"))
}
