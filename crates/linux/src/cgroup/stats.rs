//! What a group has used.

use super::Cgroup;
use std::collections::BTreeMap;

/// Usage, as far as this host counts it; what it does not count is 0 or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time, nanoseconds.
    pub cpu_total: u64,
    /// In user mode, nanoseconds.
    pub cpu_user: u64,
    /// In kernel mode, nanoseconds.
    pub cpu_system: u64,
    /// Periods of the quota that have passed.
    pub cpu_periods: u64,
    /// In how many of them the group had to wait.
    pub cpu_throttled_periods: u64,
    /// How long, nanoseconds.
    pub cpu_throttled: u64,
    /// Memory in use, bytes, page cache included.
    pub memory: u64,
    /// The most there ever was.
    pub memory_peak: u64,
    /// The limit, `u64::MAX` for none.
    pub memory_limit: u64,
    /// The kernel's counters of `memory.stat`.
    pub memory_counters: BTreeMap<String, u64>,
    /// Processes and threads.
    pub pids: u64,
    /// The limit, `None` for none.
    pub pids_limit: Option<u64>,
}

impl Cgroup {
    /// Reads what the group has used.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = if self.layout().is_v2() {
            self.stats_v2()
        } else {
            self.stats_v1()
        };
        stats.pids = self.number("pids", "pids.current");
        stats.pids_limit = self
            .read("pids", "pids.max")
            .ok()
            .and_then(|text| text.trim().parse().ok());
        stats.memory_counters = self.counters("memory", "memory.stat");
        stats
    }

    fn stats_v1(&self) -> Stats {
        const TICK: u64 = 10_000_000; // USER_HZ is 100 in every ABI Linux has.
        let usage = self.counters("cpuacct", "cpuacct.stat");
        let throttling = self.counters("cpu", "cpu.stat");
        let of = |map: &BTreeMap<String, u64>, key: &str| map.get(key).copied().unwrap_or(0);
        Stats {
            cpu_total: self.number("cpuacct", "cpuacct.usage"),
            cpu_user: of(&usage, "user") * TICK,
            cpu_system: of(&usage, "system") * TICK,
            cpu_periods: of(&throttling, "nr_periods"),
            cpu_throttled_periods: of(&throttling, "nr_throttled"),
            cpu_throttled: of(&throttling, "throttled_time"),
            memory: self.number("memory", "memory.usage_in_bytes"),
            memory_peak: self.number("memory", "memory.max_usage_in_bytes"),
            memory_limit: self.number("memory", "memory.limit_in_bytes"),
            ..Stats::default()
        }
    }

    fn stats_v2(&self) -> Stats {
        let cpu = self.counters("cpu", "cpu.stat");
        let of = |key: &str| cpu.get(key).copied().unwrap_or(0);
        let limit = self
            .read("memory", "memory.max")
            .ok()
            .and_then(|text| text.trim().parse().ok());
        Stats {
            cpu_total: of("usage_usec") * 1000,
            cpu_user: of("user_usec") * 1000,
            cpu_system: of("system_usec") * 1000,
            cpu_periods: of("nr_periods"),
            cpu_throttled_periods: of("nr_throttled"),
            cpu_throttled: of("throttled_usec") * 1000,
            memory: self.number("memory", "memory.current"),
            memory_peak: self.number("memory", "memory.peak"),
            memory_limit: limit.unwrap_or(u64::MAX),
            ..Stats::default()
        }
    }

    fn number(&self, controller: &'static str, file: &str) -> u64 {
        self.read(controller, file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    }

    fn counters(&self, controller: &'static str, file: &str) -> BTreeMap<String, u64> {
        let text = self.read(controller, file).unwrap_or_default();
        let counter = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        };
        text.lines().filter_map(counter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Layout;
    use super::*;

    #[test]
    fn v2_counts_in_microseconds() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("g");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(
            directory.join("cpu.stat"),
            "usage_usec 5\nuser_usec 3\nsystem_usec 2\n",
        )
        .unwrap();
        std::fs::write(directory.join("memory.current"), "4096\n").unwrap();
        std::fs::write(directory.join("memory.max"), "max\n").unwrap();
        std::fs::write(directory.join("memory.stat"), "anon 1\nfile 2\n").unwrap();
        let stats = Cgroup::new(Layout::v2_at(root.path()), "g")
            .unwrap()
            .stats();
        assert_eq!(
            (stats.cpu_total, stats.memory, stats.memory_limit),
            (5000, 4096, u64::MAX)
        );
        assert_eq!(stats.memory_counters["file"], 2);
    }
}
