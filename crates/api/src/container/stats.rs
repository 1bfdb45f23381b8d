//! What containers use: `GET /containers/{id}/stats`.
#![expect(
    missing_docs,
    reason = "a field means what the API reference says of the member of its name"
)]

use crate::is_default;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One sample and the one before it. The order is dockerd's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub read: String,
    pub preread: String,
    pub pids_stats: PidsStats,
    pub blkio_stats: BlkioStats,
    pub num_procs: u32,
    pub storage_stats: crate::container::Empty,
    pub cpu_stats: CpuStats,
    pub precpu_stats: CpuStats,
    pub memory_stats: MemoryStats,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, NetworkStats>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    #[serde(skip_serializing_if = "is_default")]
    pub current: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u64,
}

/// What people are shown of a sample, reckoned as Docker's clients do.
impl Stats {
    /// Percent of one processor between the sample before and this one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    pub fn cpu_percent(&self) -> f64 {
        let (now, before) = (&self.cpu_stats, &self.precpu_stats);
        let own = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
        let all = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
        let count = match now.online_cpus {
            0 => now.cpu_usage.percpu_usage.len() as f64,
            count => f64::from(count),
        };
        if own > 0.0 && all > 0.0 {
            own / all * count * 100.0
        } else {
            0.0
        }
    }

    /// Bytes of memory that cannot be had back by forgetting files.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        let memory = &self.memory_stats;
        // The first of version 1 of control groups, the second of version 2.
        for name in ["total_inactive_file", "inactive_file"] {
            if let Some(inactive) = memory.stats.get(name)
                && *inactive < memory.usage
            {
                return memory.usage - inactive;
            }
        }
        memory.usage
    }

    /// Bytes read from disks and written to them since the container's start.
    #[must_use]
    pub fn disk_bytes(&self) -> (u64, u64) {
        let counts = self.blkio_stats.io_service_bytes_recursive.iter().flatten();
        counts.fold((0, 0), |(read, written): (u64, u64), count| {
            match count.op.bytes().next() {
                Some(b'r' | b'R') => (read.saturating_add(count.value), written),
                Some(b'w' | b'W') => (read, written.saturating_add(count.value)),
                _ => (read, written),
            }
        })
    }

    /// Bytes received and sent since the container's start.
    #[must_use]
    pub fn network_bytes(&self) -> (u64, u64) {
        let devices = self.networks.values();
        devices.fold((0, 0), |(received, sent): (u64, u64), device| {
            (
                received.saturating_add(device.rx_bytes),
                sent.saturating_add(device.tx_bytes),
            )
        })
    }
}

/// `None`: nothing is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioStats {
    pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
    pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
    pub io_queue_recursive: Option<Vec<BlkioEntry>>,
    pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
    pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
    pub io_merged_recursive: Option<Vec<BlkioEntry>>,
    pub io_time_recursive: Option<Vec<BlkioEntry>>,
    pub sectors_recursive: Option<Vec<BlkioEntry>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioEntry {
    pub major: u64,
    pub minor: u64,
    pub op: String,
    pub value: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    pub cpu_usage: CpuUsage,
    #[serde(skip_serializing_if = "is_default")]
    pub system_cpu_usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub online_cpus: u32,
    pub throttling_data: ThrottlingData,
}

/// Nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    pub total_usage: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_usage: Vec<u64>,
    pub usage_in_kernelmode: u64,
    pub usage_in_usermode: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottlingData {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub max_usage: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stats: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub failcnt: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStats {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}
