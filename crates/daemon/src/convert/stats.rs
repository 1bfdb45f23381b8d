//! What containers use, in dockerd's words: other ones for each version of control groups.

use super::time::text;
use hull_api::container::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    ThrottlingData,
};
use hull_engine::container::stats::{self as engine, BlockCount, Sample, Traffic};
use std::collections::BTreeMap;

/// The counters of memory that dockerd tells on version 1, those with `total_` before them too.
const MEMORY_V1: [&str; 15] = [
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
];

/// The counters of memory that dockerd tells on version 2.
const MEMORY_V2: [&str; 31] = [
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_refault",
    "workingset_activate",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
];

/// The document of one sample.
pub(crate) fn stats(stats: engine::Stats) -> Stats {
    let read = |sample: Option<&Sample>| text(sample.map(|sample| sample.read));
    let mut document = Stats {
        name: format!("/{}", stats.name),
        id: stats.id,
        read: read(stats.now.as_deref()),
        preread: read(stats.before.as_deref()),
        ..Stats::default()
    };
    if let Some(before) = stats.before {
        document.precpu_stats = cpu(&before);
    }
    if let Some(now) = stats.now {
        document.cpu_stats = cpu(&now);
        document.memory_stats = memory(&now);
        document.pids_stats = pids(&now);
        document.blkio_stats = block(&now);
        let networks = now.networks.iter();
        document.networks = networks
            .map(|(name, traffic)| (name.clone(), network(traffic)))
            .collect();
    }
    document
}

fn cpu(sample: &Sample) -> CpuStats {
    let cpu = &sample.usage.cpu;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cpu.total,
            percpu_usage: cpu.per_cpu.clone(),
            usage_in_kernelmode: cpu.kernel,
            usage_in_usermode: cpu.user,
        },
        system_cpu_usage: sample.processors.total,
        online_cpus: sample.processors.online,
        throttling_data: ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled,
        },
    }
}

fn memory(sample: &Sample) -> MemoryStats {
    let memory = &sample.usage.memory;
    let of = |name: &str| memory.counters.get(name).copied().unwrap_or(0);
    let counters: BTreeMap<String, u64> = if sample.cgroup_v2 {
        let names = MEMORY_V2.iter();
        names.map(|name| ((*name).to_owned(), of(name))).collect()
    } else {
        let limits = ["hierarchical_memory_limit", "hierarchical_memsw_limit"];
        let names = MEMORY_V1.iter().map(|name| (*name).to_owned());
        let totals = MEMORY_V1.iter().map(|name| format!("total_{name}"));
        let limits = limits.iter().map(|name| (*name).to_owned());
        let names = names.chain(totals).chain(limits);
        names.map(|name| (name.clone(), of(&name))).collect()
    };
    // As in dockerd: none is what the machine has.
    let limit = match sample.memory {
        0 => memory.usage.limit,
        machine => memory.usage.limit.min(machine),
    };
    MemoryStats {
        usage: memory.usage.usage,
        max_usage: if sample.cgroup_v2 {
            0
        } else {
            memory.usage.peak
        },
        stats: counters,
        failcnt: memory.usage.failures.max(sample.out_of_memory),
        limit,
    }
}

fn pids(sample: &Sample) -> PidsStats {
    let none = if sample.cgroup_v2 { u64::MAX } else { 0 };
    PidsStats {
        current: sample.usage.pids.current,
        limit: sample.usage.pids.limit.unwrap_or(none),
    }
}

fn block(sample: &Sample) -> BlkioStats {
    let block = &sample.usage.block;
    if sample.cgroup_v2 {
        // Bytes only, and nothing of a container that did not move any.
        let mut bytes = entries(&block.bytes);
        bytes.retain(|entry| matches!(entry.op.as_str(), "Read" | "Write"));
        for entry in &mut bytes {
            entry.op.make_ascii_lowercase();
        }
        return BlkioStats {
            io_service_bytes_recursive: (!bytes.is_empty()).then_some(bytes),
            ..BlkioStats::default()
        };
    }
    BlkioStats {
        io_service_bytes_recursive: Some(entries(&block.bytes)),
        io_serviced_recursive: Some(entries(&block.operations)),
        io_queue_recursive: Some(entries(&block.queued)),
        io_service_time_recursive: Some(entries(&block.service_time)),
        io_wait_time_recursive: Some(entries(&block.wait_time)),
        io_merged_recursive: Some(entries(&block.merged)),
        io_time_recursive: Some(entries(&block.time)),
        sectors_recursive: Some(entries(&block.sectors)),
    }
}

fn entries(counts: &[BlockCount]) -> Vec<BlkioEntry> {
    let entries = counts.iter().map(|count| BlkioEntry {
        major: count.major,
        minor: count.minor,
        op: count.operation.clone(),
        value: count.value,
    });
    entries.collect()
}

fn network(traffic: &Traffic) -> NetworkStats {
    NetworkStats {
        rx_bytes: traffic.rx_bytes,
        rx_packets: traffic.rx_packets,
        rx_errors: traffic.rx_errors,
        rx_dropped: traffic.rx_dropped,
        tx_bytes: traffic.tx_bytes,
        tx_packets: traffic.tx_packets,
        tx_errors: traffic.tx_errors,
        tx_dropped: traffic.tx_dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Recorded from dockerd 28.5.
    #[test]
    fn a_container_that_does_not_run_uses_nothing() {
        let document = stats(engine::Stats {
            id: "36c3".to_owned(),
            name: "x".to_owned(),
            ..engine::Stats::default()
        });
        assert_eq!(
            serde_json::to_string(&document).unwrap(),
            r#"{"name":"/x","id":"36c3","read":"0001-01-01T00:00:00Z","preread":"0001-01-01T00:00:00Z","pids_stats":{},"blkio_stats":{"io_service_bytes_recursive":null,"io_serviced_recursive":null,"io_queue_recursive":null,"io_service_time_recursive":null,"io_wait_time_recursive":null,"io_merged_recursive":null,"io_time_recursive":null,"sectors_recursive":null},"num_procs":0,"storage_stats":{},"cpu_stats":{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},"precpu_stats":{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},"memory_stats":{}}"#
        );
    }

    fn sample(cgroup_v2: bool) -> engine::Stats {
        let mut sample = Sample {
            cgroup_v2,
            memory: 1000,
            out_of_memory: u64::from(cgroup_v2) * 3,
            ..Sample::default()
        };
        sample.usage.memory.usage.limit = u64::MAX;
        sample.usage.memory.usage.peak = 9;
        sample.usage.memory.counters = [("file".to_owned(), 7), ("cache".to_owned(), 8)].into();
        sample.usage.block.bytes = ["Read", "Write", "Discard"]
            .map(|operation| BlockCount {
                operation: operation.to_owned(),
                ..BlockCount::default()
            })
            .into();
        engine::Stats {
            now: Some(Arc::new(sample)),
            ..engine::Stats::default()
        }
    }

    #[test]
    fn each_version_of_control_groups_has_its_words() {
        let v1 = stats(sample(false));
        assert_eq!(
            (v1.memory_stats.limit, v1.memory_stats.max_usage),
            (1000, 9)
        );
        assert_eq!(v1.memory_stats.stats.len(), 32);
        assert_eq!(v1.memory_stats.stats["cache"], 8);
        assert_eq!(v1.pids_stats.limit, 0);
        assert_eq!(v1.blkio_stats.sectors_recursive, Some(Vec::new()));
        let v2 = stats(sample(true));
        assert_eq!((v2.memory_stats.failcnt, v2.memory_stats.max_usage), (3, 0));
        assert_eq!(v2.memory_stats.stats.len(), 31);
        assert_eq!(v2.memory_stats.stats["file"], 7);
        assert_eq!(v2.pids_stats.limit, u64::MAX);
        let bytes = v2.blkio_stats.io_service_bytes_recursive.unwrap();
        let operations: Vec<&str> = bytes.iter().map(|entry| entry.op.as_str()).collect();
        assert_eq!(operations, ["read", "write"]);
        assert_eq!(v2.blkio_stats.sectors_recursive, None);
    }
}
