//! What all drivers have in common: a server that takes entries, or is gone.

use crate::entry::Entry;
use crate::{Driver, Settings, fluentd, gelf, journald, splunk, syslog};
use std::time::Duration;

/// A log server.
pub(crate) trait Receiver: Send {
    /// Connects; a connection that there was is given up.
    ///
    /// # Errors
    /// Why not, as dockerd words it.
    fn connect(&mut self) -> Result<(), String>;

    /// Delivers entries.
    ///
    /// # Errors
    /// How many were delivered before it did not go on.
    fn send(&mut self, entries: &[Entry]) -> Result<(), Failure>;

    /// How it is to be treated.
    fn manners(&self) -> Manners {
        Manners::default()
    }
}

/// Not all entries were delivered.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How many were, from the first.
    pub(crate) delivered: usize,
    /// How many after these the server will never take.
    pub(crate) refused: usize,
    /// Why.
    pub(crate) why: String,
    /// The connection is of no more use.
    pub(crate) gone: bool,
}

impl Failure {
    /// The connection broke.
    pub(crate) fn gone(delivered: usize, why: impl Into<String>) -> Self {
        Self {
            delivered,
            refused: 0,
            why: why.into(),
            gone: true,
        }
    }

    /// These entries will never be taken; the next may be.
    pub(crate) fn refused(delivered: usize, refused: usize, why: impl Into<String>) -> Self {
        Self {
            delivered,
            refused,
            why: why.into(),
            gone: false,
        }
    }
}

/// How a server is treated that is slow, or away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Manners {
    /// Not asked for a connection before the container starts.
    pub(crate) later: bool,
    /// Containers never wait, whatever their mode.
    pub(crate) never_wait: bool,
    /// How often a connection is tried before the server counts as away, and what does not fit is dropped.
    pub(crate) attempts: u32,
    /// How long between the first attempts.
    pub(crate) first_wait: Duration,
    /// How much longer each time.
    pub(crate) growth: f64,
    /// And at most.
    pub(crate) longest_wait: Duration,
    /// How many entries may wait; how many bytes is the mode's or [`USUAL_BYTES`].
    pub(crate) most_entries: usize,
    /// Bytes that may wait where the mode says nothing.
    pub(crate) most_bytes: u64,
    /// Entries that are delivered at once.
    pub(crate) batch: usize,
    /// How long entries are gathered for a batch.
    pub(crate) linger: Duration,
    /// How long what is left is tried to be delivered after the container's end.
    pub(crate) last_chance: Duration,
}

/// What may wait for a server that is away, bytes.
const USUAL_BYTES: u64 = 1_000_000;

impl Default for Manners {
    fn default() -> Self {
        Self {
            later: false,
            never_wait: false,
            attempts: 1,
            first_wait: Duration::from_millis(100),
            growth: 2.0,
            longest_wait: Duration::from_secs(10),
            most_entries: usize::MAX,
            most_bytes: USUAL_BYTES,
            batch: 256,
            linger: Duration::ZERO,
            last_chance: Duration::from_secs(10),
        }
    }
}

impl Manners {
    /// How long to wait after so many failures, the first of which is 1. A moment at least, whatever was asked for.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        const LEAST: Duration = Duration::from_millis(100);
        let exponent = i32::try_from(failures.saturating_sub(1))
            .unwrap_or(i32::MAX)
            .min(64);
        let seconds = self.first_wait.as_secs_f64() * self.growth.powi(exponent);
        Duration::from_secs_f64(seconds.min(self.longest_wait.as_secs_f64())).max(LEAST)
    }
}

/// The server of a container's settings.
///
/// # Errors
/// An option that cannot be read, in dockerd's words.
pub(crate) fn of(settings: &Settings) -> Result<Box<dyn Receiver>, String> {
    Ok(match settings.driver {
        Driver::Syslog => Box::new(syslog::Syslog::new(settings)?),
        Driver::Journald => Box::new(journald::Journald::new(settings)),
        Driver::Gelf => Box::new(gelf::Gelf::new(settings)?),
        Driver::Fluentd => Box::new(fluentd::Fluentd::new(settings)?),
        Driver::Splunk => Box::new(splunk::Splunk::new(settings)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let manners = Manners::default();
        assert_eq!(manners.wait(1), Duration::from_millis(100));
        assert_eq!(manners.wait(3), Duration::from_millis(400));
        assert_eq!(manners.wait(u32::MAX), Duration::from_secs(10));
    }
}
