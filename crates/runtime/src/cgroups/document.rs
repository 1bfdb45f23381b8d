//! Statistics as `events` prints them: runc's document, field by field, with its habits of leaving out
//! what is 0 here and not there.

use hull_linux::cgroup::{
    Amount, BlockCount, BlockStats, CpuStats, CpusetStats, MemoryStats, Pressure, Stall, Stats,
};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn zero(number: &u64) -> bool {
    *number == 0
}

/// A line of `events`.
#[derive(Serialize)]
pub(crate) struct Event<'a> {
    /// `stats` or `oom`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The container.
    pub(crate) id: &'a str,
    /// Of `stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Document>,
}

/// All of a container's statistics.
#[derive(Serialize)]
pub(crate) struct Document {
    cpu: Cpu,
    cpuset: Cpuset,
    memory: Memory,
    pids: Pids,
    blkio: Block,
    hugetlb: BTreeMap<String, HugePages>,
    intel_rdt: BTreeMap<(), ()>,
    network_interfaces: Option<()>,
}

#[derive(Serialize)]
struct Cpu {
    usage: CpuUsage,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Serialize)]
struct CpuUsage {
    #[serde(skip_serializing_if = "zero")]
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "zero")]
    periods: u64,
    #[serde(skip_serializing_if = "zero")]
    throttled_periods: u64,
    #[serde(skip_serializing_if = "zero")]
    throttled_time: u64,
}

#[derive(Serialize)]
struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cpus: Vec<u16>,
    cpu_exclusive: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mems: Vec<u16>,
    mem_hardwall: i64,
    mem_exclusive: i64,
    memory_migrate: i64,
    memory_spread_page: i64,
    memory_spread_slab: i64,
    memory_pressure: i64,
    sched_load_balance: i64,
    sched_relax_domain_level: i64,
}

#[derive(Serialize)]
struct Memory {
    #[serde(skip_serializing_if = "zero")]
    cache: u64,
    usage: Entry,
    swap: Entry,
    kernel: Entry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Entry,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Serialize)]
struct Entry {
    limit: u64,
    #[serde(skip_serializing_if = "zero")]
    usage: u64,
    #[serde(skip_serializing_if = "zero")]
    max: u64,
    failcnt: u64,
}

#[derive(Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "zero")]
    current: u64,
    #[serde(skip_serializing_if = "zero")]
    limit: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_bytes_recursive: Vec<Count>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_serviced_recursive: Vec<Count>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_queue_recursive: Vec<Count>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_time_recursive: Vec<Count>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_wait_time_recursive: Vec<Count>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_merged_recursive: Vec<Count>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_time_recursive: Vec<Count>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sectors_recursive: Vec<Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Serialize)]
struct Count {
    #[serde(skip_serializing_if = "zero")]
    major: u64,
    #[serde(skip_serializing_if = "zero")]
    minor: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    op: String,
    #[serde(skip_serializing_if = "zero")]
    value: u64,
}

#[derive(Serialize)]
struct HugePages {
    #[serde(skip_serializing_if = "zero")]
    usage: u64,
    #[serde(skip_serializing_if = "zero")]
    max: u64,
    failcnt: u64,
}

#[derive(Serialize)]
struct Psi {
    some: PsiData,
    full: PsiData,
}

#[derive(Serialize)]
struct PsiData {
    #[serde(serialize_with = "share")]
    avg10: f64,
    #[serde(serialize_with = "share")]
    avg60: f64,
    #[serde(serialize_with = "share")]
    avg300: f64,
    total: u64,
}

/// A share as Go writes it: without a fraction where there is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::trivially_copy_pass_by_ref,
    reason = "a percentage, and serde hands over a reference"
)]
fn share<S: Serializer>(share: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if share.fract() == 0.0 {
        serializer.serialize_i64(*share as i64)
    } else {
        serializer.serialize_f64(*share)
    }
}

impl From<Stats> for Document {
    fn from(stats: Stats) -> Self {
        let huge = |(size, amount): (String, Amount)| {
            let pages = HugePages {
                usage: amount.usage,
                max: amount.peak,
                failcnt: amount.failures,
            };
            (size, pages)
        };
        Self {
            cpu: stats.cpu.into(),
            cpuset: stats.cpuset.into(),
            memory: stats.memory.into(),
            pids: Pids {
                current: stats.pids.current,
                limit: stats.pids.limit.unwrap_or(0),
            },
            blkio: stats.block.into(),
            hugetlb: stats.huge_pages.into_iter().map(huge).collect(),
            intel_rdt: BTreeMap::new(),
            network_interfaces: None,
        }
    }
}

impl From<CpuStats> for Cpu {
    fn from(cpu: CpuStats) -> Self {
        Self {
            usage: CpuUsage {
                total: cpu.total,
                percpu: cpu.per_cpu,
                percpu_kernel: cpu.per_cpu_kernel,
                percpu_user: cpu.per_cpu_user,
                kernel: cpu.kernel,
                user: cpu.user,
            },
            throttling: Throttling {
                periods: cpu.periods,
                throttled_periods: cpu.throttled_periods,
                throttled_time: cpu.throttled,
            },
            psi: cpu.pressure.map(Psi::from),
        }
    }
}

impl From<CpusetStats> for Cpuset {
    fn from(cpuset: CpusetStats) -> Self {
        let flag = |name: &str| cpuset.flags.get(name).copied().unwrap_or(0);
        Self {
            cpu_exclusive: flag("cpu_exclusive"),
            mem_hardwall: flag("mem_hardwall"),
            mem_exclusive: flag("mem_exclusive"),
            memory_migrate: flag("memory_migrate"),
            memory_spread_page: flag("memory_spread_page"),
            memory_spread_slab: flag("memory_spread_slab"),
            memory_pressure: flag("memory_pressure"),
            sched_load_balance: flag("sched_load_balance"),
            sched_relax_domain_level: flag("sched_relax_domain_level"),
            cpus: cpuset.cpus,
            mems: cpuset.mems,
        }
    }
}

impl From<MemoryStats> for Memory {
    fn from(memory: MemoryStats) -> Self {
        Self {
            cache: memory.cache,
            usage: memory.usage.into(),
            swap: memory.swap.into(),
            kernel: memory.kernel.into(),
            kernel_tcp: memory.kernel_tcp.into(),
            raw: memory.counters,
            psi: memory.pressure.map(Psi::from),
        }
    }
}

impl From<Amount> for Entry {
    fn from(amount: Amount) -> Self {
        Self {
            limit: amount.limit,
            usage: amount.usage,
            max: amount.peak,
            failcnt: amount.failures,
        }
    }
}

impl From<BlockStats> for Block {
    fn from(block: BlockStats) -> Self {
        let counts = |table: Vec<BlockCount>| {
            let count = |entry: BlockCount| Count {
                major: entry.major,
                minor: entry.minor,
                op: entry.operation,
                value: entry.value,
            };
            table.into_iter().map(count).collect()
        };
        Self {
            io_service_bytes_recursive: counts(block.bytes),
            io_serviced_recursive: counts(block.operations),
            io_queue_recursive: counts(block.queued),
            io_service_time_recursive: counts(block.service_time),
            io_wait_time_recursive: counts(block.wait_time),
            io_merged_recursive: counts(block.merged),
            io_time_recursive: counts(block.time),
            sectors_recursive: counts(block.sectors),
            psi: block.pressure.map(Psi::from),
        }
    }
}

impl From<Pressure> for Psi {
    fn from(pressure: Pressure) -> Self {
        let data = |stall: Stall| PsiData {
            avg10: stall.avg10,
            avg60: stall.avg60,
            avg300: stall.avg300,
            total: stall.total,
        };
        Self {
            some: data(pressure.some),
            full: data(pressure.full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_runcs() {
        let mut stats = Stats::default();
        stats.cpu.pressure = Some(Pressure {
            some: Stall {
                avg10: 1.5,
                avg60: 2.0,
                ..Stall::default()
            },
            ..Pressure::default()
        });
        stats.block.bytes.push(BlockCount {
            major: 8,
            minor: 0,
            operation: "Read".to_owned(),
            value: 7,
        });
        stats.huge_pages.insert("2MB".to_owned(), Amount::default());
        stats.memory.counters.insert("anon".to_owned(), 5);
        let event = Event {
            kind: "stats",
            id: "c",
            data: Some(stats.into()),
        };
        let text = serde_json::to_string(&event).expect("encoded");
        let nothing = r#"{"limit":0,"failcnt":0}"#;
        let expected = format!(
            "{}{}{}{}",
            r#"{"type":"stats","id":"c","data":{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{},"#,
            r#""psi":{"some":{"avg10":1.5,"avg60":2,"avg300":0,"total":0},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}},"#,
            r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
            format_args!(
                r#""memory":{{"usage":{nothing},"swap":{nothing},"kernel":{nothing},"kernelTCP":{nothing},"raw":{{"anon":5}}}},"pids":{{}},"blkio":{{"ioServiceBytesRecursive":[{{"major":8,"op":"Read","value":7}}]}},"hugetlb":{{"2MB":{{"failcnt":0}}}},"intel_rdt":{{}},"network_interfaces":null}}}}"#
            )
        );
        assert_eq!(text, expected);
        let oom = Event {
            kind: "oom",
            id: "c",
            data: None,
        };
        let text = serde_json::to_string(&oom).expect("encoded");
        assert_eq!(text, r#"{"type":"oom","id":"c"}"#);
    }
}
