//! What a container used in the last minutes.

use hull_api::container::stats::Stats;
use std::collections::VecDeque;

/// How many samples are kept: two minutes, as daemons send one a second, and as wide as a chart can be.
const KEPT: usize = 240;

/// One kind of number over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(VecDeque<f64>);

impl Series {
    fn push(&mut self, value: f64) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// Oldest first.
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator {
        self.0.iter().copied()
    }

    /// The newest, 0 before the first.
    pub(crate) fn last(&self) -> f64 {
        self.0.back().copied().unwrap_or_default()
    }

    pub(crate) fn max(&self) -> f64 {
        self.values().fold(0.0, f64::max)
    }
}

/// What one container uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Percent of one processor.
    pub(crate) cpu: Series,
    /// Bytes.
    pub(crate) memory: Series,
    /// Bytes a second, both ways.
    pub(crate) received: Series,
    pub(crate) sent: Series,
    pub(crate) read: Series,
    pub(crate) written: Series,
    /// Bytes; 0 where there is none, or it is not known.
    pub(crate) memory_limit: f64,
    pub(crate) processes: u64,
    before: Option<Counters>,
}

/// Sums at the time of a sample.
#[derive(Clone, Copy, Debug)]
struct Counters {
    at: jiff::Timestamp,
    network: (u64, u64),
    disk: (u64, u64),
}

impl History {
    /// Takes a sample in.
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    pub(crate) fn push(&mut self, stats: &Stats) {
        let Ok(at) = stats.read.parse::<jiff::Timestamp>() else {
            return;
        };
        // A container that does not run is told of once, at the year 1, with nothing in it.
        if at.as_second() <= 0 {
            return;
        }
        self.memory_limit = stats.memory_stats.limit as f64;
        self.processes = stats.pids_stats.current;
        self.memory.push(stats.memory_used() as f64);
        // The first sample of a stream has none before it.
        if stats.precpu_stats.system_cpu_usage > 0 || self.before.is_some() {
            self.cpu.push(stats.cpu_percent());
        }
        let now = Counters {
            at,
            network: stats.network_bytes(),
            disk: stats.disk_bytes(),
        };
        if let Some(before) = self.before {
            let seconds = now.at.duration_since(before.at).as_secs_f64();
            if seconds <= 0.0 {
                return;
            }
            // Counters start anew with the container.
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            self.received.push(rate(now.network.0, before.network.0));
            self.sent.push(rate(now.network.1, before.network.1));
            self.read.push(rate(now.disk.0, before.disk.0));
            self.written.push(rate(now.disk.1, before.disk.1));
        }
        self.before = Some(now);
    }

    /// The container does not run: its charts stay, and what it uses now is nothing.
    pub(crate) fn stopped(&mut self) {
        self.before = None;
        self.processes = 0;
        let series = [
            &mut self.cpu,
            &mut self.memory,
            &mut self.received,
            &mut self.sent,
            &mut self.read,
            &mut self.written,
        ];
        for series in series {
            if series.last() > 0.0 {
                series.push(0.0);
            }
        }
    }

    /// Bytes a second over networks.
    pub(crate) fn network(&self) -> f64 {
        self.received.last() + self.sent.last()
    }

    /// Bytes a second from and to disks.
    pub(crate) fn disk(&self) -> f64 {
        self.read.last() + self.written.last()
    }

    /// Both ways together, oldest first.
    pub(crate) fn network_values(&self) -> impl DoubleEndedIterator<Item = f64> {
        let both = self.received.values().zip(self.sent.values());
        both.map(|(one, other)| one + other)
    }

    /// Both ways together, oldest first.
    pub(crate) fn disk_values(&self) -> impl DoubleEndedIterator<Item = f64> {
        let both = self.read.values().zip(self.written.values());
        both.map(|(one, other)| one + other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_api::container::stats::NetworkStats;

    fn sample(second: u32, total: u64, system: u64, received: u64) -> Stats {
        let mut stats = Stats {
            read: format!("2026-01-01T00:00:{second:02}Z"),
            ..Stats::default()
        };
        stats.cpu_stats.cpu_usage.total_usage = total;
        stats.cpu_stats.system_cpu_usage = system;
        stats.cpu_stats.online_cpus = 2;
        stats.memory_stats.usage = 1 << 20;
        let device = NetworkStats {
            rx_bytes: received,
            ..NetworkStats::default()
        };
        stats.networks = [("eth0".to_owned(), device)].into();
        stats
    }

    #[test]
    fn rates_are_by_the_samples_clock() {
        let mut history = History::default();
        history.push(&sample(1, 0, 0, 100));
        assert_eq!(history.cpu.values().len(), 0);
        let mut second = sample(3, 1_000, 4_000, 2_100);
        second.precpu_stats.system_cpu_usage = 2_000;
        history.push(&second);
        assert!((history.received.last() - 1_000.0).abs() < 1e-9);
        assert!((history.cpu.last() - 100.0).abs() < 1e-9);
        // Started anew: no negative rate.
        history.push(&sample(4, 0, 0, 5));
        assert!(history.received.last().abs() < 1e-9);
    }

    #[test]
    fn a_stopped_container_leaves_no_samples() {
        let mut history = History::default();
        let stats = Stats {
            read: "0001-01-01T00:00:00Z".to_owned(),
            ..Stats::default()
        };
        history.push(&stats);
        assert_eq!(history.memory.values().len(), 0);
    }

    #[test]
    fn old_samples_go() {
        let mut series = Series::default();
        for value in 0..1_000 {
            series.push(f64::from(value));
        }
        assert_eq!(series.values().len(), KEPT);
        assert!((series.last() - 999.0).abs() < 1e-9);
    }
}
