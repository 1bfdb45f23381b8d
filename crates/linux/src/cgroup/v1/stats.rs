//! Usage as v1 counts it.

use super::super::stats::{Amount, BlockCount, BlockStats, CpuStats, CpusetStats};
use super::super::stats::{MemoryStats, PidsStats, Stats};
use super::super::{Cgroup, parse};

pub(in super::super) fn stats(group: &Cgroup) -> Stats {
    Stats {
        cpu: cpu(group),
        cpuset: cpuset(group),
        memory: memory(group),
        pids: pids(group),
        block: block(group),
        ..Stats::default()
    }
}

fn text(group: &Cgroup, controller: &'static str, file: &str) -> String {
    group.read(controller, file).unwrap_or_default()
}

fn number(group: &Cgroup, controller: &'static str, file: &str) -> u64 {
    parse::number(&text(group, controller, file)).unwrap_or(0)
}

fn cpu(group: &Cgroup) -> CpuStats {
    const TICK: u64 = 10_000_000; // USER_HZ is 100 in every ABI Linux has.
    let usage = parse::counters(&text(group, "cpuacct", "cpuacct.stat"));
    let throttling = parse::counters(&text(group, "cpu", "cpu.stat"));
    let waited = |key: &str| throttling.get(key).copied().unwrap_or(0);
    let ticks = |key: &str| usage.get(key).copied().unwrap_or(0).saturating_mul(TICK);
    let by_mode = parse::usage_all(&text(group, "cpuacct", "cpuacct.usage_all"));
    CpuStats {
        total: number(group, "cpuacct", "cpuacct.usage"),
        user: ticks("user"),
        kernel: ticks("system"),
        per_cpu: parse::numbers(&text(group, "cpuacct", "cpuacct.usage_percpu")),
        per_cpu_kernel: by_mode.0,
        per_cpu_user: by_mode.1,
        periods: waited("nr_periods"),
        throttled_periods: waited("nr_throttled"),
        throttled: waited("throttled_time"),
        pressure: None,
    }
}

fn cpuset(group: &Cgroup) -> CpusetStats {
    const FLAGS: [&str; 9] = [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
        "sched_relax_domain_level",
    ];
    let flag = |name: &'static str| {
        let text = text(group, "cpuset", &format!("cpuset.{name}"));
        Some((name, text.trim().parse().ok()?))
    };
    CpusetStats {
        cpus: parse::list(&text(group, "cpuset", "cpuset.cpus")),
        mems: parse::list(&text(group, "cpuset", "cpuset.mems")),
        flags: FLAGS.into_iter().filter_map(flag).collect(),
    }
}

fn memory(group: &Cgroup) -> MemoryStats {
    let counters = parse::counters(&text(group, "memory", "memory.stat"));
    let part = |prefix| amount(group, "memory", prefix).unwrap_or_default();
    MemoryStats {
        cache: counters.get("cache").copied().unwrap_or(0),
        usage: part("memory"),
        swap: part("memory.memsw"),
        kernel: part("memory.kmem"),
        kernel_tcp: part("memory.kmem.tcp"),
        counters,
        pressure: None,
    }
}

/// The four files of something that is counted; `None` where it is not.
pub(in super::super) fn amount(
    group: &Cgroup,
    controller: &'static str,
    prefix: &str,
) -> Option<Amount> {
    let of = |name: &str| number(group, controller, &format!("{prefix}.{name}"));
    let usage = group.read(controller, &format!("{prefix}.usage_in_bytes"));
    Some(Amount {
        usage: parse::number(&usage.ok()?)?,
        peak: of("max_usage_in_bytes"),
        failures: of("failcnt"),
        limit: of("limit_in_bytes"),
    })
}

fn pids(group: &Cgroup) -> PidsStats {
    let limit = parse::number(&text(group, "pids", "pids.max"));
    PidsStats {
        current: number(group, "pids", "pids.current"),
        limit: limit.filter(|limit| *limit != u64::MAX),
    }
}

/// Who counts depends on the scheduler: BFQ (with debugging, everything), CFQ before Linux 5.0, else the
/// throttling, which counts bytes and operations.
fn block(group: &Cgroup) -> BlockStats {
    for scheduler in ["blkio.bfq.", "blkio."] {
        let table = |name: &str| {
            let file = format!("{scheduler}{name}_recursive");
            parse::block_table(&text(group, "blkio", &file))
        };
        let sectors = table("sectors");
        let operations = table("io_serviced");
        if !sectors.is_empty() || !operations.is_empty() {
            return BlockStats {
                bytes: table("io_service_bytes"),
                operations,
                queued: table("io_queued"),
                service_time: table("io_service_time"),
                wait_time: table("io_wait_time"),
                merged: table("io_merged"),
                time: table("time"),
                sectors,
                pressure: None,
            };
        }
    }
    let throttle = |name: &str| -> Vec<BlockCount> {
        let files = [
            format!("blkio.throttle.{name}_recursive"),
            format!("blkio.throttle.{name}"),
        ];
        let tables = files.map(|file| parse::block_table(&text(group, "blkio", &file)));
        let mut tables = tables.into_iter();
        tables.find(|table| !table.is_empty()).unwrap_or_default()
    };
    BlockStats {
        bytes: throttle("io_service_bytes"),
        operations: throttle("io_serviced"),
        ..BlockStats::default()
    }
}
