//! Usage as v2 counts it.

use super::super::stats::{Amount, BlockStats, CpuStats, MemoryStats, PidsStats, Pressure, Stats};
use super::super::{Cgroup, parse};

pub(in super::super) fn stats(group: &Cgroup) -> Stats {
    Stats {
        cpu: cpu(group),
        memory: memory(group),
        pids: pids(group),
        block: block(group),
        ..Stats::default()
    }
}

fn text(group: &Cgroup, file: &str) -> String {
    group.read("", file).unwrap_or_default()
}

fn number(group: &Cgroup, file: &str) -> Option<u64> {
    parse::number(&group.read("", file).ok()?)
}

/// `None` where the kernel does not measure (`psi=0`, or `cgroup.pressure` 0, Linux 6.1).
fn pressure(group: &Cgroup, resource: &str) -> Option<Pressure> {
    let text = group.read("", &format!("{resource}.pressure")).ok()?;
    Some(parse::pressure(&text))
}

fn cpu(group: &Cgroup) -> CpuStats {
    let counters = parse::counters(&text(group, "cpu.stat"));
    let of = |key: &str| counters.get(key).copied().unwrap_or(0);
    let nanoseconds = |key: &str| of(key).saturating_mul(1000);
    CpuStats {
        total: nanoseconds("usage_usec"),
        user: nanoseconds("user_usec"),
        kernel: nanoseconds("system_usec"),
        periods: of("nr_periods"),
        throttled_periods: of("nr_throttled"),
        throttled: nanoseconds("throttled_usec"),
        pressure: pressure(group, "cpu"),
        ..CpuStats::default()
    }
}

fn amount(group: &Cgroup, prefix: &str) -> Amount {
    let of = |name: &str| number(group, &format!("{prefix}.{name}"));
    Amount {
        usage: of("current").unwrap_or(0),
        // Linux 5.19; of swap, 6.5.
        peak: of("peak").unwrap_or(0),
        failures: 0,
        limit: of("max").unwrap_or(0),
    }
}

fn memory(group: &Cgroup) -> MemoryStats {
    let counters = parse::counters(&text(group, "memory.stat"));
    let usage = amount(group, "memory");
    // As v1 counts: memory and swap together. Their common peak cannot be told.
    let swap = amount(group, "memory.swap");
    let swap = Amount {
        usage: swap.usage.saturating_add(usage.usage),
        peak: 0,
        failures: 0,
        limit: swap.limit.saturating_add(usage.limit),
    };
    MemoryStats {
        cache: counters.get("file").copied().unwrap_or(0),
        usage,
        swap,
        counters,
        pressure: pressure(group, "memory"),
        ..MemoryStats::default()
    }
}

fn pids(group: &Cgroup) -> PidsStats {
    let Some(current) = number(group, "pids.current") else {
        // Without the controller, whoever is in the group can still be counted.
        let members = text(group, "cgroup.procs").lines().count();
        return PidsStats {
            current: members as u64,
            limit: None,
        };
    };
    PidsStats {
        current,
        limit: number(group, "pids.max").filter(|limit| *limit != u64::MAX),
    }
}

fn block(group: &Cgroup) -> BlockStats {
    let (bytes, operations) = parse::io_stat(&text(group, "io.stat"));
    BlockStats {
        bytes,
        operations,
        pressure: pressure(group, "io"),
        ..BlockStats::default()
    }
}

/// Huge pages of one size; `None` where they are not counted under this prefix.
pub(in super::super) fn huge_pages(group: &Cgroup, prefix: &str, size: &str) -> Option<Amount> {
    let usage = group.read("hugetlb", &format!("{prefix}.current")).ok()?;
    let events = group.read("hugetlb", &format!("hugetlb.{size}.events"));
    let events = parse::counters(&events.unwrap_or_default());
    Some(Amount {
        usage: parse::number(&usage)?,
        failures: events.get("max").copied().unwrap_or(0),
        ..Amount::default()
    })
}
