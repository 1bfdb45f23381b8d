//! The removal of what builds have left, as users ask for it.

use super::collect::{BuildLimits, CollectRule};
use super::usage::BuildRecord;
use crate::prune::moment;
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What is to be removed.
#[derive(Clone, Debug, Default)]
pub struct BuildPrune {
    /// dockerd's: `id` (a part of it), `parent`, `type`, `description`, `inuse`, `shared`, `private`, and `until` or
    /// `unused-for`.
    pub filters: Filters,
    /// Only what fits.
    pub takes: Option<RecordTest>,
    /// Also what images have too.
    pub all: bool,
    /// Only what was of no use for so long.
    pub unused_for: Duration,
    /// How much stays.
    pub limits: BuildLimits,
}

/// A test of records, of a caller's own.
#[derive(Clone)]
pub struct RecordTest(Arc<dyn Fn(&BuildRecord) -> bool + Send + Sync>);

impl RecordTest {
    /// One that `takes` decides.
    pub fn new(takes: impl Fn(&BuildRecord) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(takes))
    }
}

impl std::fmt::Debug for RecordTest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordTest").finish_non_exhaustive()
    }
}

/// What was removed of what builds have left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrunedBuilds {
    /// What it was.
    pub records: Vec<BuildRecord>,
    /// Bytes.
    pub reclaimed: u64,
}

/// The filters that look at one record. dockerd takes labels, too, and does nothing with them.
const KNOWN: [&str; 11] = [
    "id",
    "parent",
    "type",
    "description",
    "inuse",
    "shared",
    "private",
    "until",
    "unused-for",
    "label",
    "label!",
];

fn refused(text: String) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

/// The one value of a filter; `None` without the filter.
fn value<'f>(filters: &'f Filters, name: &str) -> Result<Option<&'f str>> {
    match filters.get(name).map_or(&[][..], Vec::as_slice) {
        [] if filters.contains_key(name) => Ok(Some("")),
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(refused("filters expect only one value".to_owned())),
    }
}

/// For how long something must have been of no use.
fn unused_for(filters: &Filters, now: Timestamp) -> Result<Duration> {
    let given = ["until", "unused-for"].map(|name| value(filters, name).map(|v| (name, v)));
    let [until, unused] = given;
    let (name, text) = match (until?, unused?) {
        ((_, Some(_)), (_, Some(_))) => {
            let text = "conflicting filters: \"until\" and \"unused-for\"";
            return Err(refused(text.to_owned()));
        }
        ((name, Some(text)), _) | (_, (name, Some(text))) => (name, text),
        _ => return Ok(Duration::ZERO),
    };
    let since = moment(text, now).ok_or_else(|| {
        refused(format!(
            "{name:?} filter expects a duration (e.g., '24h') or a timestamp: failed to parse value as time or duration: {text:?}"
        ))
    })?;
    Ok(Duration::try_from(now.duration_since(since)).unwrap_or_default())
}

/// A test of a record.
type Test = Box<dyn Fn(&BuildRecord) -> bool + Send>;

/// Something that a record is or is not.
type Is = fn(&BuildRecord) -> bool;

fn tests(filters: &Filters) -> Result<Vec<Test>> {
    if let Some(name) = filters.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(refused(format!("invalid filter '{name}'")));
    }
    let mut tests: Vec<Test> = Vec::new();
    let text = |name: &str| Ok::<_, Error>(value(filters, name)?.map(str::to_owned));
    if let Some(id) = text("id")? {
        tests.push(Box::new(move |record| record.id.contains(&id)));
    }
    if let Some(parent) = text("parent")? {
        tests.push(Box::new(move |record| record.parents.contains(&parent)));
    }
    if let Some(kind) = text("type")? {
        tests.push(Box::new(move |record| record.kind.as_str() == kind));
    }
    if let Some(wanted) = text("description")? {
        tests.push(Box::new(move |record| record.description == wanted));
    }
    let states: [(&str, Is); 3] = [
        ("inuse", |record| record.in_use),
        ("shared", |record| record.shared),
        ("private", |record| !record.shared),
    ];
    for (name, is) in states {
        // Without a value it is asked for whether it is so.
        if let Some(wanted) = text(name)? {
            let wanted = !matches!(wanted.as_str(), "false" | "0");
            tests.push(Box::new(move |record| is(record) == wanted));
        }
    }
    Ok(tests)
}

impl CollectRule {
    /// A rule with dockerd's filters, as its settings have them.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that does not exist, or that a rule cannot have.
    pub fn with_filters(mut self, filters: &Filters) -> Result<Self> {
        self.unused_for = unused_for(filters, Timestamp::now())?;
        let others = filters.keys();
        let mut others =
            others.filter(|name| !matches!(name.as_str(), "until" | "unused-for" | "type"));
        if let Some(name) = others.next() {
            return Err(refused(format!("invalid filter '{name}'")));
        }
        if let Some(kind) = value(filters, "type")? {
            use hull_build::cache::Kind;
            let kinds = [Kind::Regular, Kind::Local, Kind::Git, Kind::CacheMount];
            self.kinds = kinds
                .into_iter()
                .filter(|known| known.as_str() == kind)
                .collect();
            if self.kinds.is_empty() {
                return Err(refused(format!("there is no build cache of type {kind:?}")));
            }
        }
        Ok(self)
    }
}

impl Engine {
    /// Removes what no build needs at the moment, what was of use longest ago first, until no more is left than
    /// the limits allow.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that does not exist, or a value that is none.
    pub async fn prune_builds(self: &Arc<Self>, prune: BuildPrune) -> Result<PrunedBuilds> {
        let mut tests = tests(&prune.filters)?;
        if let Some(RecordTest(takes)) = prune.takes {
            tests.push(Box::new(move |record| takes(record)));
        }
        let filtered = !prune.filters.is_empty() || !tests.is_empty();
        let now = Timestamp::now();
        let unused = unused_for(&prune.filters, now)?.max(prune.unused_for);
        let rule = CollectRule {
            all: prune.all,
            unused_for: unused,
            ..CollectRule::default()
        };
        let engine = Arc::clone(self);
        blocking(move || {
            let fits = |record: &BuildRecord| {
                rule.takes(record, now) && tests.iter().all(|test| test(record))
            };
            let records = engine.collect(fits, prune.limits);
            let mut reclaimed: u64 = records.iter().map(|record| record.size).sum();
            if !filtered && prune.limits == BuildLimits::default() {
                reclaimed += engine.prune_sources();
            }
            Ok(PrunedBuilds { records, reclaimed })
        })
        .await
    }
}

#[cfg(test)]
mod tests_of_filters {
    use super::*;

    fn filters(pairs: &[(&str, &[&str])]) -> Filters {
        let pairs = pairs.iter().map(|(name, values)| {
            let values = values.iter().map(|value| (*value).to_owned());
            ((*name).to_owned(), values.collect())
        });
        pairs.collect()
    }

    #[test]
    fn dockerds_filters_are_read() {
        let now = Timestamp::from_second(100_000).unwrap();
        let hours =
            |pairs: &[(&str, &[&str])]| unused_for(&filters(pairs), now).unwrap().as_secs() / 3600;
        assert_eq!(hours(&[("until", &["24h"])]), 24);
        assert_eq!(hours(&[("unused-for", &["2h"])]), 2);
        assert_eq!(hours(&[]), 0);
        for wrong in [
            filters(&[("until", &["1h"]), ("unused-for", &["1h"])]),
            filters(&[("until", &["1h", "2h"])]),
            filters(&[("until", &["soon"])]),
        ] {
            assert!(unused_for(&wrong, now).is_err(), "{wrong:?}");
        }
        assert!(tests(&filters(&[("nope", &["1"])])).is_err());
        assert_eq!(
            tests(&filters(&[("id", &["a"]), ("shared", &[])]))
                .unwrap()
                .len(),
            2
        );
    }
}
