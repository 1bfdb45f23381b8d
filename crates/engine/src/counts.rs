//! What the engine has done since it began, for metrics.

use crate::Engine;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is counted while it happens.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) pulls: Number,
    pub(crate) failed_pulls: Number,
    pub(crate) layers: Number,
    pub(crate) bytes: Number,
    pub(crate) downloading: Number,
    pub(crate) unpacking: Number,
    pub(crate) checks: Number,
    pub(crate) failed_checks: Number,
}

/// A number that only grows; many threads may count at once.
#[derive(Debug, Default)]
pub(crate) struct Number(AtomicU64);

impl Number {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// Adds a time in nanoseconds.
    pub(crate) fn spend(&self, time: Duration) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn time(&self) -> Duration {
        Duration::from_nanos(self.get())
    }
}

/// What the engine has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pulls that brought an image, or found it here already.
    pub pulls: u64,
    /// Pulls that began and failed.
    pub failed_pulls: u64,
    /// Layers that were fetched whole.
    pub layers: u64,
    /// Bytes of layers that came from registries, also of those that broke off.
    pub bytes: u64,
    /// How long layers came from registries, the sum of them. They are unpacked meanwhile.
    pub downloading: Duration,
    /// How long it took after the last byte of a layer until it was unpacked, the sum of them.
    pub unpacking: Duration,
    /// Health checks that have ended.
    pub checks: u64,
    /// Those of them that failed.
    pub failed_checks: u64,
    /// Events that were told.
    pub events: u64,
    /// Clients that follow events now.
    pub listeners: u64,
}

impl Engine {
    /// What the engine has done since it began.
    #[must_use]
    pub fn counted(&self) -> Counts {
        let tally = &self.tally;
        Counts {
            pulls: tally.pulls.get(),
            failed_pulls: tally.failed_pulls.get(),
            layers: tally.layers.get(),
            bytes: tally.bytes.get(),
            downloading: tally.downloading.time(),
            unpacking: tally.unpacking.time(),
            checks: tally.checks.get(),
            failed_checks: tally.failed_checks.get(),
            events: self.journal.told(),
            listeners: self.journal.listeners(),
        }
    }
}
