//! What containers and their machine use: a look when the page asks, and one every half a minute for the history.

use hull_engine::Engine;
use hull_engine::container::stats::{HostLoad, Load, Sample};
use hull_ui::history::{Chart, History, INTERVAL};
use hull_ui::meter::{Counters, HOST_NAMES, HostCounters, Look, NAMES, Pace};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

/// Whoever asks again earlier gets the same answer: ten open pages cost what one does.
const FRESH: Duration = Duration::from_millis(1500);
/// A look that is older says too little of now to be compared with.
const STALE: Duration = Duration::from_secs(20);

/// The looks and the history.
#[derive(Debug)]
pub(crate) struct Watch {
    history: Mutex<History>,
    started: Instant,
    /// The last look for a page, and what came of it; held while looking, so that all who ask meanwhile get that one.
    last: tokio::sync::Mutex<Option<(Instant, Look, Arc<Now>)>>,
}

/// What is used now.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Now {
    host: BTreeMap<&'static str, Option<f32>>,
    /// Bytes of the file system that the data root is on.
    space: u64,
    /// By id.
    containers: BTreeMap<String, BTreeMap<&'static str, Option<f32>>>,
}

impl Watch {
    /// The watch with the history that is kept at `path`.
    ///
    /// # Errors
    /// When that can be neither read nor written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            history: Mutex::new(History::open(path, seconds())?),
            started: Instant::now(),
            last: tokio::sync::Mutex::new(None),
        })
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the history until the daemon ends.
    pub(crate) async fn keep(self: Arc<Self>, engine: Arc<Engine>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.ready() => {}
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(INTERVAL));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before: Option<Look> = None;
        let mut told = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let Ok(load) = engine.load_of_all().await else {
                continue;
            };
            let look = self.look(load);
            let pace = look.since(before.as_ref());
            before = Some(look);
            let watch = Arc::clone(&self);
            let added =
                tokio::task::spawn_blocking(move || watch.history().add(seconds(), &pace)).await;
            // Once: it would be said every half a minute.
            if let (Ok(Err(error)), false) = (added, told) {
                told = true;
                tracing::warn!(%error, "the history of what is used was not written");
            }
        }
    }

    /// What is used now, as a rate since the last look.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn now(&self, engine: &Arc<Engine>) -> hull_engine::Result<Arc<Now>> {
        let mut last = self.last.lock().await;
        if let Some((at, _, now)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(now));
        }
        let load = engine.load_of_all().await?;
        let space = load.host.space.1;
        let look = self.look(load);
        let before = last.take().filter(|(at, _, _)| at.elapsed() < STALE);
        let now = Arc::new(now(
            look.since(before.as_ref().map(|(_, look, _)| look)),
            space,
        ));
        *last = Some((Instant::now(), look, Arc::clone(&now)));
        Ok(now)
    }

    /// The machine's chart, or a container's by its id. Who writes a row has the history for as long as the disk takes:
    /// a thread waits for that.
    ///
    /// # Errors
    /// When the daemon ends meanwhile.
    pub(crate) async fn chart(
        self: &Arc<Self>,
        container: Option<String>,
        since: u64,
        points: usize,
    ) -> Result<Chart, tokio::task::JoinError> {
        let watch = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || match container {
            Some(id) => watch.history().container(&id, since, points),
            None => watch.history().host(since, points),
        });
        made.await
    }

    fn look(&self, load: Load) -> Look {
        let at = self.started.elapsed().as_nanos();
        let containers = load.containers.into_iter();
        Look {
            at: u64::try_from(at).unwrap_or(u64::MAX),
            host: host(&load.host),
            containers: containers
                .map(|(id, name, sample)| (id, (name, counters(&sample))))
                .collect(),
        }
    }
}

fn now(pace: Pace, space: u64) -> Now {
    let named = pace.containers.into_iter().map(|(id, (_, rates))| {
        let numbers = NAMES.into_iter().zip(rates).collect();
        (id, numbers)
    });
    Now {
        host: HOST_NAMES.into_iter().zip(pace.host).collect(),
        space,
        containers: named.collect(),
    }
}

/// Seconds since 1970.
pub(crate) fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn host(load: &HostLoad) -> HostCounters {
    let [cpu_pressure, memory_pressure, io_pressure] = load.pressure;
    HostCounters {
        cpu: load.cpu,
        memory: load.memory,
        cpu_pressure,
        memory_pressure,
        io_pressure,
        received: load.network.0,
        sent: load.network.1,
        read: load.disks.0,
        written: load.disks.1,
        disk: load.space.0,
    }
}

/// As `docker stats` counts them: memory without the cache that can go.
pub(crate) fn counters(sample: &Sample) -> Counters {
    let memory = &sample.usage.memory;
    let cache = match sample.cgroup_v2 {
        true => "inactive_file",
        false => "total_inactive_file",
    };
    let cache = memory.counters.get(cache).copied().unwrap_or(0);
    let bytes = |operation: &str| {
        let all = sample.usage.block.bytes.iter();
        let meant = all.filter(|count| count.operation.eq_ignore_ascii_case(operation));
        meant.map(|count| count.value).sum()
    };
    let networks = || sample.networks.values();
    Counters {
        cpu: sample.usage.cpu.total,
        memory: memory.usage.usage.saturating_sub(cache),
        received: networks().map(|traffic| traffic.rx_bytes).sum(),
        sent: networks().map(|traffic| traffic.tx_bytes).sum(),
        read: bytes("read"),
        written: bytes("write"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_engine::container::stats::BlockCount;

    #[test]
    fn a_sample_is_counted_as_docker_does() {
        let mut sample = Sample::default();
        sample.usage.memory.usage.usage = 10;
        sample.usage.memory.counters = [
            ("total_inactive_file".to_owned(), 3),
            ("inactive_file".to_owned(), 1),
        ]
        .into();
        sample.usage.block.bytes = ["Read", "Write", "Total", "Read"]
            .map(|operation| BlockCount {
                operation: operation.to_owned(),
                value: 5,
                ..BlockCount::default()
            })
            .into();
        let found = counters(&sample);
        assert_eq!((found.memory, found.read, found.written), (7, 10, 5));
        sample.cgroup_v2 = true;
        assert_eq!(counters(&sample).memory, 9);
    }
}
