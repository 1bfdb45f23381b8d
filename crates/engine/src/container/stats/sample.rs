//! One look at what a container uses.

use super::super::live::Container;
use super::super::record::Record;
use super::super::{NetworkMode, State, resources};
use super::Usage;
use crate::Engine;
use hull_linux::cgroup::Cgroup;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What a container uses at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// When.
    pub read: Timestamp,
    /// Whether the host's control groups are version 2: they count other things.
    pub cgroup_v2: bool,
    /// What its control group counts.
    pub usage: Usage,
    /// How often a process was killed or refused for want of memory, version 2 only.
    pub out_of_memory: u64,
    /// What the whole machine uses.
    pub processors: Processors,
    /// Bytes of memory that the machine has.
    pub memory: u64,
    /// By the name of its devices.
    pub networks: BTreeMap<String, Traffic>,
}

/// The machine's processors (proc_stat(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processors {
    /// Time since the start, idle time too, nanoseconds.
    pub total: u64,
    /// How many are switched on.
    pub online: u32,
}

/// What came and went by a device since it was made (proc_net_dev(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own words")]
pub struct Traffic {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl Engine {
    /// Looks; `None` when the container has ended meanwhile. The machine's processors are looked at right after the
    /// container's own time, so that the two belong together, unless they are `known` from a moment ago.
    pub(super) fn look(&self, container: &Container, known: Option<Processors>) -> Option<Sample> {
        let record = container.record();
        let (State::Running { pid, .. } | State::Paused { pid, .. }) = record.state else {
            return None;
        };
        let group = resources::cgroup(&record.config, &record.id);
        let group = Cgroup::new(self.cgroups.clone(), &group).ok()?;
        if !group.exists() {
            return None;
        }
        let usage = group.stats();
        let processors = known.unwrap_or_else(processors_now);
        let cgroup_v2 = self.cgroups.is_v2();
        Some(Sample {
            read: Timestamp::now(),
            cgroup_v2,
            out_of_memory: if cgroup_v2 { out_of_memory(&group) } else { 0 },
            usage,
            processors,
            memory: crate::system::memory_total(),
            networks: self.traffic(&record, pid),
        })
    }

    /// Of the devices that the engine gave it; none in the host's network.
    fn traffic(&self, record: &Record, pid: i32) -> BTreeMap<String, Traffic> {
        let owner = match &record.config.network {
            NetworkMode::Host | NetworkMode::None => return BTreeMap::new(),
            NetworkMode::Container(other) => self.find(other).map(|other| other.record()).ok(),
            _ => None,
        };
        let owner = owner.as_ref().unwrap_or(record);
        let places = owner.places().iter().filter(|(name, _)| *name != "host");
        let names: Vec<&str> = places.map(|(_, place)| place.ifname.as_str()).collect();
        if names.is_empty() {
            return BTreeMap::new();
        }
        let mut all = devices(&read(&format!("/proc/{pid}/net/dev")));
        all.retain(|name, _| names.contains(&name.as_str()));
        all
    }
}

fn out_of_memory(group: &Cgroup) -> u64 {
    let events = group.read("memory", "memory.events").unwrap_or_default();
    let count = events.lines().find_map(|line| line.strip_prefix("oom "));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

fn read(path: &str) -> String {
    fs_err::read_to_string(path).unwrap_or_default()
}

/// The machine's: a file that is long to make, for it has a line of all interrupts (proc_stat(5)).
pub(super) fn processors_now() -> Processors {
    processors(&read("/proc/stat"))
}

/// The first seven counters of all processors together, in nanoseconds, and the lines of single ones.
fn processors(text: &str) -> Processors {
    const TICK: u64 = 10_000_000; // USER_HZ is 100 in every ABI Linux has.
    let mut all = Processors::default();
    for line in text.lines().take_while(|line| line.starts_with("cpu")) {
        match line.strip_prefix("cpu ") {
            Some(counters) => {
                let counters = counters.split_ascii_whitespace().take(7);
                let ticks: u64 = counters.filter_map(|text| text.parse::<u64>().ok()).sum();
                all.total = ticks.saturating_mul(TICK);
            }
            None => all.online += 1,
        }
    }
    all
}

pub(super) fn devices(text: &str) -> BTreeMap<String, Traffic> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let Some((name, counters)) = line.split_once(':') else {
            continue;
        };
        let counters: Vec<u64> = counters
            .split_ascii_whitespace()
            .filter_map(|text| text.parse().ok())
            .collect();
        let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = counters[..]
        else {
            continue;
        };
        let traffic = Traffic {
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        };
        all.insert(name.trim().to_owned(), traffic);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\ncpu9 1\n";
        let found = processors(stat);
        assert_eq!((found.total, found.online), (280_000_000, 2));
        let dev = "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 11 12 13 14 15 16 17 20 21 22 23 24 25 26 27\n short: 1\n";
        let found = devices(dev);
        assert_eq!(found.len(), 2);
        let eth0 = found["eth0"];
        assert_eq!((eth0.rx_bytes, eth0.rx_dropped), (10, 13));
        assert_eq!((eth0.tx_bytes, eth0.tx_dropped), (20, 23));
        assert_eq!(processors(""), Processors::default());
    }
}
