//! The build cache within its limits: what goes, in which order, and when somebody looks.
//!
//! Only what nothing else was made from goes, then what that was made from: a result without those that it was made
//! from is found by the next build all the same, one without what was made from it frees nothing.

use super::usage::BuildRecord;
use crate::Engine;
use hull_build::cache::Kind;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How much may stay. 0 is no statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildLimits {
    /// Bytes that nothing is taken from.
    pub reserved: u64,
    /// Bytes that all together take at most.
    pub max_used: u64,
    /// Bytes that are to be free on the disk.
    pub min_free: u64,
}

impl BuildLimits {
    /// How many of `total` bytes stay while the disk has `free`; `None`: none need to.
    fn keep(self, total: u64, free: u64) -> Option<u64> {
        if self == Self::default() {
            return None;
        }
        let mut keep = self.max_used;
        let excess = self.min_free.saturating_sub(free);
        if excess > 0 {
            let rest = total.saturating_sub(excess);
            keep = if keep == 0 { rest } else { keep.min(rest) };
        }
        Some(keep.max(self.reserved))
    }
}

/// What may go, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectRule {
    /// Also what images have too.
    pub all: bool,
    /// Only these kinds; none is all.
    pub kinds: Vec<Kind>,
    /// Only what was of no use for so long.
    pub unused_for: Duration,
    /// How much stays.
    pub limits: BuildLimits,
}

impl CollectRule {
    pub(super) fn takes(&self, record: &BuildRecord, now: Timestamp) -> bool {
        let unused = now.duration_since(record.touched());
        let old = Duration::try_from(unused).unwrap_or_default() >= self.unused_for;
        let kind = self.kinds.is_empty() || self.kinds.contains(&record.kind);
        !record.in_use && (self.all || !record.shared) && old && kind
    }
}

/// How the build cache is kept small, dockerd's `builder.gc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// Whether it is.
    pub enabled: bool,
    /// One after the other; `None`: dockerd's own, with `limits`.
    pub rules: Option<Vec<CollectRule>>,
    /// For dockerd's own rules. 0 is dockerd's default, which depends on the disk.
    pub limits: BuildLimits,
}

/// A day, seconds.
const DAY: u64 = 24 * 60 * 60;
/// What stays in any case, unless told otherwise; dockerd's.
const RESERVED: u64 = 2_000_000_000;
/// So much of what is most easily had again stays after two days.
const EASILY_MADE: u64 = 512_000_000;

impl Collection {
    /// The rules on a disk of `total` bytes.
    fn rules(&self, total: u64) -> Vec<CollectRule> {
        if !self.enabled {
            return Vec::new();
        }
        if let Some(rules) = &self.rules {
            return rules.clone();
        }
        let or = |given: u64, default: u64| if given == 0 { default } else { given };
        let limits = BuildLimits {
            reserved: or(self.limits.reserved, RESERVED),
            max_used: or(self.limits.max_used, total / 5 * 4),
            min_free: or(self.limits.min_free, total / 5),
        };
        let easily = CollectRule {
            kinds: vec![Kind::Local, Kind::CacheMount, Kind::Git],
            unused_for: Duration::from_secs(2 * DAY),
            limits: BuildLimits {
                // dockerd takes e·π·φ percent.
                max_used: EASILY_MADE.max(limits.reserved / 1000 * 138),
                ..BuildLimits::default()
            },
            ..CollectRule::default()
        };
        let rule = |all, days| CollectRule {
            all,
            unused_for: Duration::from_secs(days * DAY),
            limits,
            ..CollectRule::default()
        };
        vec![easily, rule(false, 60), rule(false, 0), rule(true, 0)]
    }
}

/// When somebody looks.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    awaited: bool,
    /// Not before, so that looking takes no more than a small part of the time.
    next: Option<Instant>,
}

/// A look at everything is followed by so many times its own time without one, up to the longest pause.
const REST: u32 = 50;
const LONGEST_REST: Duration = Duration::from_secs(60);

impl Engine {
    /// Keeps the build cache within its limits, in the background and soon: for the end of a build, when it needs
    /// nothing any more.
    pub fn collect_soon(self: &Arc<Self>) {
        if !self.config.build_collection.enabled {
            return;
        }
        let mut state = self
            .builds
            .collecting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut state.awaited, true) {
            return;
        }
        let next = state.next;
        let engine = Arc::downgrade(self);
        let later = move || {
            while let Some(rest) = next.and_then(|at| at.checked_duration_since(Instant::now()))
                && !rest.is_zero()
            {
                std::thread::park_timeout(rest);
            }
            if let Some(engine) = engine.upgrade() {
                engine.collect_now();
            }
        };
        let thread = std::thread::Builder::new().name("build-gc".to_owned());
        // Without a thread the next build tries again.
        state.awaited = thread.spawn(later).is_ok();
    }

    fn collect_now(&self) {
        let state = || {
            let state = self.builds.collecting.lock();
            state.unwrap_or_else(PoisonError::into_inner)
        };
        // What comes from now on is looked at by another.
        state().awaited = false;
        let begun = Instant::now();
        let (total, _) = self.disk();
        for rule in self.config.build_collection.rules(total) {
            let now = Timestamp::now();
            let removed = self.collect(|record| rule.takes(record, now), rule.limits);
            if !removed.is_empty() {
                let bytes: u64 = removed.iter().map(|record| record.size).sum();
                tracing::info!(
                    results = removed.len(),
                    bytes,
                    "the build cache was made smaller"
                );
            }
        }
        let rest = (begun.elapsed() * REST).min(LONGEST_REST);
        state().next = Instant::now().checked_add(rest);
    }

    /// The size of the disk below the data root, and what is free of it, bytes.
    fn disk(&self) -> (u64, u64) {
        match rustix::fs::statvfs(&self.config.data_root) {
            Ok(disk) => (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize),
            // Then no limit depends on it.
            Err(_) => (u64::MAX, u64::MAX),
        }
    }

    /// Removes what fits and no build needs, what was of use longest ago first, as far as `limits` want it.
    /// Gives what was removed. Blocking.
    pub(super) fn collect(
        &self,
        fits: impl Fn(&BuildRecord) -> bool,
        limits: BuildLimits,
    ) -> Vec<BuildRecord> {
        let records = self.records();
        let mut left: u64 = records.iter().map(|record| record.size).sum();
        let keep = limits.keep(left, self.disk().1);
        let chosen = in_order(&records, fits, |record| {
            if keep.is_some_and(|keep| left <= keep) {
                return false;
            }
            left = left.saturating_sub(record.size);
            true
        });
        if chosen.is_empty() {
            return Vec::new();
        }
        let ids: Vec<String> = chosen.iter().map(|record| record.id.clone()).collect();
        // Some may be needed meanwhile.
        let removed = self.builds.cache.remove(&ids);
        for step in &removed.steps {
            self.discard_step(step);
        }
        let mut gone: BTreeSet<String> = removed.results.into_iter().collect();
        for record in chosen.iter().filter(|record| record.kind == Kind::Local) {
            let sources = self.builds.sources.get();
            match sources.map(|sources| sources.remove(&record.id)) {
                Some(Ok(true)) => drop(gone.insert(record.id.clone())),
                Some(Err(error)) => {
                    tracing::warn!(%error, "files that were kept of a build's client were not removed");
                }
                Some(Ok(false)) | None => {}
            }
        }
        let chosen = chosen
            .into_iter()
            .filter(|record| gone.contains(&record.id));
        chosen.cloned().collect()
    }
}

/// The records that go one after the other, each of which nothing else that stays was made from, until `wanted` says
/// that it is enough.
fn in_order(
    records: &[BuildRecord],
    fits: impl Fn(&BuildRecord) -> bool,
    mut wanted: impl FnMut(&BuildRecord) -> bool,
) -> Vec<&BuildRecord> {
    let places: HashMap<&str, usize> = records
        .iter()
        .enumerate()
        .map(|(place, record)| (record.id.as_str(), place))
        .collect();
    let parents = |record: &BuildRecord| {
        let found = record.parents.iter();
        let found = found.filter_map(|parent| places.get(parent.as_str()).copied());
        found.collect::<BTreeSet<usize>>()
    };
    let mut made_of = vec![0_usize; records.len()];
    for parent in records.iter().flat_map(parents) {
        made_of[parent] += 1;
    }
    let free = (0..records.len()).filter(|place| made_of[*place] == 0 && fits(&records[*place]));
    let mut ready: BTreeSet<(Timestamp, usize)> = free
        .map(|place| (records[place].touched(), place))
        .collect();
    let mut chosen = Vec::new();
    while let Some((_, place)) = ready.pop_first() {
        let record = &records[place];
        if !wanted(record) {
            break;
        }
        chosen.push(record);
        for parent in parents(record) {
            made_of[parent] -= 1;
            if made_of[parent] == 0 && fits(&records[parent]) {
                ready.insert((records[parent].touched(), parent));
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, parents: &[&str], size: u64, second: i64) -> BuildRecord {
        BuildRecord {
            id: id.to_owned(),
            parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
            kind: Kind::Regular,
            description: String::new(),
            in_use: false,
            shared: false,
            size,
            created: Timestamp::from_second(second).unwrap(),
            last_used: None,
            uses: 0,
        }
    }

    #[test]
    fn how_much_stays() {
        let limits = |reserved, max_used, min_free| BuildLimits {
            reserved,
            max_used,
            min_free,
        };
        assert_eq!(limits(0, 0, 0).keep(100, 10), None);
        assert_eq!(limits(0, 50, 0).keep(100, 10), Some(50));
        assert_eq!(limits(20, 0, 0).keep(100, 10), Some(20));
        assert_eq!(limits(0, 90, 30).keep(100, 10), Some(80), "20 are missing");
        assert_eq!(limits(0, 0, 30).keep(100, 10), Some(80));
        assert_eq!(limits(85, 90, 30).keep(100, 10), Some(85));
        assert_eq!(limits(0, 0, 300).keep(100, 10), Some(0));
    }

    #[test]
    fn what_something_was_made_from_goes_after_it() {
        let records = [
            record("base", &[], 10, 1),
            record("old", &["base"], 10, 2),
            record("new", &["base"], 10, 3),
            record("alone", &["gone"], 10, 4),
        ];
        let ids = |chosen: Vec<&BuildRecord>| {
            let ids = chosen.iter().map(|record| record.id.as_str());
            ids.collect::<Vec<_>>().join(" ")
        };
        let all = in_order(&records, |_| true, |_| true);
        assert_eq!(ids(all), "old new base alone");
        let mut wanted = 2;
        let some = in_order(
            &records,
            |_| true,
            |_| {
                wanted -= 1;
                wanted >= 0
            },
        );
        assert_eq!(ids(some), "old new");
        let spared = in_order(&records, |record| record.id != "new", |_| true);
        assert_eq!(ids(spared), "old alone", "the base is needed by what stays");
    }

    #[test]
    fn dockerds_own_rules_depend_on_the_disk() {
        let collection = Collection {
            enabled: true,
            ..Collection::default()
        };
        let rules = collection.rules(100_000_000_000);
        let limits = BuildLimits {
            reserved: RESERVED,
            max_used: 80_000_000_000,
            min_free: 20_000_000_000,
        };
        assert_eq!(rules.len(), 4);
        assert_eq!((rules[3].all, rules[3].limits), (true, limits));
        assert_eq!(rules[0].limits.max_used, EASILY_MADE);
        assert_eq!(Collection::default().rules(1), []);
    }

    #[test]
    fn rules_spare_what_is_needed() {
        let rule = CollectRule {
            unused_for: Duration::from_secs(10),
            kinds: vec![Kind::Regular],
            ..CollectRule::default()
        };
        let takes = |record: &BuildRecord| rule.takes(record, Timestamp::from_second(20).unwrap());
        let old = record("a", &[], 1, 5);
        assert!(takes(&old));
        assert!(!takes(&record("a", &[], 1, 15)));
        for spared in [
            BuildRecord {
                in_use: true,
                ..old.clone()
            },
            BuildRecord {
                shared: true,
                ..old.clone()
            },
            BuildRecord {
                kind: Kind::Git,
                ..old.clone()
            },
            BuildRecord {
                last_used: Timestamp::from_second(19).ok(),
                ..old
            },
        ] {
            assert!(!takes(&spared), "{spared:?}");
        }
    }
}
