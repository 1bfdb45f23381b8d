//! From what is counted to how much a second.

use std::collections::BTreeMap;

/// What a container has used since it began, and the memory it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Processor time, nanoseconds.
    pub cpu: u64,
    /// Memory now without the page cache that can go, bytes.
    pub memory: u64,
    /// Bytes that came from its networks.
    pub received: u64,
    /// Bytes that went to them.
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to them.
    pub written: u64,
}

/// What the machine has used since it began, and how much of it is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// Time of all processors that was worked, nanoseconds.
    pub cpu: u64,
    /// Memory that is not available, bytes.
    pub memory: u64,
    /// Time in which a task waited for a processor, microseconds; `None` where the kernel does not tell.
    pub cpu_pressure: Option<u64>,
    /// The same for memory.
    pub memory_pressure: Option<u64>,
    /// The same for block devices.
    pub io_pressure: Option<u64>,
    /// Bytes that came by devices other than `lo`.
    pub received: u64,
    /// Bytes that went by them.
    pub sent: u64,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to them.
    pub written: u64,
    /// Bytes in use of the file system that the data root is on.
    pub disk: u64,
}

/// The numbers of one container, each as told by [`NAMES`]; those of a rate are unknown at the first look.
pub type Rates = [Option<f32>; NAMES.len()];
/// The same of the machine, by [`HOST_NAMES`].
pub type HostRates = [Option<f32>; HOST_NAMES.len()];

/// A container's numbers: processors in use (1 is one of them), bytes, bytes a second.
pub const NAMES: [&str; 6] = ["cpu", "memory", "received", "sent", "read", "written"];
/// The machine's numbers: as a container's; the share of time in which something waited (0 to 1); bytes on the disk.
pub const HOST_NAMES: [&str; 10] = [
    "cpu",
    "memory",
    "cpu-pressure",
    "memory-pressure",
    "io-pressure",
    "received",
    "sent",
    "read",
    "written",
    "disk",
];

/// What was counted at a moment.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The time of a clock that only goes forward, nanoseconds.
    pub at: u64,
    /// The machine.
    pub host: HostCounters,
    /// Containers that run, by id: name and counters.
    pub containers: BTreeMap<String, (String, Counters)>,
}

/// How much a second between two looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    /// The machine.
    pub host: HostRates,
    /// Containers, by id: name and numbers.
    pub containers: BTreeMap<String, (String, Rates)>,
}

impl Look {
    /// How much a second since `before`; without it only what is no rate.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Pace {
        let seconds = before.map(|before| seconds(before.at, self.at));
        let host = host(&self.host, before.map(|before| &before.host), seconds);
        let containers = self.containers.iter().map(|(id, (name, now))| {
            let before = before.and_then(|look| look.containers.get(id));
            let rates = container(now, before.map(|(_, counters)| counters), seconds);
            (id.clone(), (name.clone(), rates))
        });
        Pace {
            host,
            containers: containers.collect(),
        }
    }
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

/// `None` for a counter that began anew, as a restarted container's do.
fn rate(now: u64, before: Option<u64>, seconds: Option<f64>, unit: f64) -> Option<f32> {
    let more = now.checked_sub(before?)?;
    let seconds = seconds.filter(|seconds| *seconds > 0.0)?;
    #[expect(clippy::cast_possible_truncation, reason = "kept in fewer bits still")]
    Some((more as f64 * unit / seconds) as f32)
}

fn container(now: &Counters, before: Option<&Counters>, seconds: Option<f64>) -> Rates {
    let of = |field: fn(&Counters) -> u64, unit| rate(field(now), before.map(field), seconds, unit);
    [
        of(|counters| counters.cpu, 1e-9),
        Some(now.memory as f32),
        of(|counters| counters.received, 1.0),
        of(|counters| counters.sent, 1.0),
        of(|counters| counters.read, 1.0),
        of(|counters| counters.written, 1.0),
    ]
}

fn host(now: &HostCounters, before: Option<&HostCounters>, seconds: Option<f64>) -> HostRates {
    let of = |field: fn(&HostCounters) -> Option<u64>, unit| {
        rate(field(now)?, before.and_then(field), seconds, unit)
    };
    [
        of(|counters| Some(counters.cpu), 1e-9),
        Some(now.memory as f32),
        of(|counters| counters.cpu_pressure, 1e-6),
        of(|counters| counters.memory_pressure, 1e-6),
        of(|counters| counters.io_pressure, 1e-6),
        of(|counters| Some(counters.received), 1.0),
        of(|counters| Some(counters.sent), 1.0),
        of(|counters| Some(counters.read), 1.0),
        of(|counters| Some(counters.written), 1.0),
        Some(now.disk as f32),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: u64, cpu: u64, received: u64) -> Look {
        let counters = Counters {
            cpu,
            received,
            memory: 7,
            ..Counters::default()
        };
        Look {
            at: at * 1_000_000_000,
            host: HostCounters {
                cpu,
                cpu_pressure: Some(at * 500_000),
                ..HostCounters::default()
            },
            containers: [("id".to_owned(), ("name".to_owned(), counters))].into(),
        }
    }

    #[test]
    fn counters_become_rates() {
        let first = look(10, 1_000_000_000, 100);
        let pace = first.since(None);
        assert_eq!(
            pace.containers["id"].1,
            [None, Some(7.0), None, None, None, None]
        );
        let second = look(12, 2_000_000_000, 300);
        let pace = second.since(Some(&first));
        let rates = pace.containers["id"].1;
        assert_eq!(
            rates,
            [
                Some(0.5),
                Some(7.0),
                Some(100.0),
                Some(0.0),
                Some(0.0),
                Some(0.0)
            ]
        );
        assert_eq!(
            (pace.host[0], pace.host[2], pace.host[3]),
            (Some(0.5), Some(0.5), None)
        );
        // Restarted: its counters begin anew; and a look at the same moment says nothing.
        assert_eq!(
            look(14, 5, 5).since(Some(&second)).containers["id"].1[0],
            None
        );
        assert_eq!(second.since(Some(&second)).containers["id"].1[0], None);
    }
}
