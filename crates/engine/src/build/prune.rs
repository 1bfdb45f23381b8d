//! What builds have left, and its removal.

use crate::prune::Chosen;
use crate::{Engine, ErrorKind, Filters, Result, blocking};
use hull_build::cache::Record;
use std::sync::Arc;

/// What was removed of what builds have left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunedBuilds {
    /// Ids of results.
    pub results: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}

impl Engine {
    /// Removes results that no build needs at the moment, those that were of use longest ago first, until no more
    /// than `keep` bytes are left.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that does not exist.
    pub async fn prune_builds(
        self: &Arc<Self>,
        filters: Filters,
        keep: u64,
    ) -> Result<PrunedBuilds> {
        let chosen = Chosen::new(&filters, &["id", "type"], ErrorKind::InvalidInput)?;
        let engine = Arc::clone(self);
        blocking(move || {
            let named = |name: &str, value: &str| {
                let values = filters.get(name).map_or(&[][..], Vec::as_slice);
                values.is_empty() || values.iter().any(|wanted| wanted == value)
            };
            let fits = |record: &&Record| {
                let used = record.entry.last_used.unwrap_or(record.entry.created);
                !record.in_use
                    && chosen.takes(Some(used), None)
                    && named("id", &record.entry.id)
                    && named("type", record.entry.kind.as_str())
            };
            let records = engine.builds.cache.records();
            let world = Arc::clone(engine.solver().world());
            let size =
                |record: &Record| record.own.iter().map(|step| world.size(step)).sum::<u64>();
            let mut left: u64 = records.iter().map(size).sum();
            let mut goes = Vec::new();
            for record in records.iter().filter(fits) {
                if keep > 0 && left <= keep {
                    break;
                }
                left = left.saturating_sub(size(record));
                goes.push(record.entry.id.clone());
            }
            let removed = engine.builds.cache.remove(&goes);
            let mut reclaimed = match filters.is_empty() && keep == 0 {
                true => engine.prune_sources(),
                false => 0,
            };
            for step in &removed.steps {
                reclaimed += world.size(step);
                world.discard(step);
            }
            Ok(PrunedBuilds {
                results: removed.results,
                reclaimed,
            })
        })
        .await
    }
}
