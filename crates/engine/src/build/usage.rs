//! What builds have left on the disk, as lists show it.

use super::Builds;
use crate::{Engine, Result, blocking};
use hull_build::cache::{Kind, Record};
use jiff::Timestamp;
use std::sync::{Arc, PoisonError};

/// Something that a build has left for the next.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildRecord {
    /// What it is known by.
    pub id: String,
    /// The ids of what it was made from.
    pub parents: Vec<String>,
    /// What kind of thing.
    pub kind: Kind,
    /// What is shown.
    pub description: String,
    /// Whether a build needs it at the moment.
    pub in_use: bool,
    /// Whether an image has the same files, in a layer of its own.
    pub shared: bool,
    /// Bytes on the disk that only this has, or what was made from it.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last of use; `None`: never.
    pub last_used: Option<Timestamp>,
    /// How often it was of use.
    pub uses: u64,
}

impl BuildRecord {
    /// When it was last of use, or made.
    pub(super) fn touched(&self) -> Timestamp {
        self.last_used.unwrap_or(self.created)
    }
}

/// Clients' files that are kept from build to build, by who keeps them.
pub trait Sources: Send + Sync + std::fmt::Debug {
    /// What there is; all of it is [`Kind::Local`].
    ///
    /// # Errors
    /// What the file system says.
    fn kept(&self) -> std::io::Result<Vec<BuildRecord>>;

    /// Removes one; `false` when there is none of that id, or a build has it.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, id: &str) -> std::io::Result<bool>;
}

impl Builds {
    /// The bytes of what a step wrote. They are counted once; those of a cache that steps have mounted each time.
    fn size(&self, engine: &Engine, step: &str, kind: Kind) -> u64 {
        let sizes = || self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = kind == Kind::CacheMount;
        if let Some(known) = sizes().get(step).filter(|_| !changes) {
            return *known;
        }
        // What cannot be counted is on its way out.
        let taken = engine.store.snapshot_taken(&super::tree::key_of(step));
        let taken = taken.unwrap_or(0);
        if !changes {
            sizes().insert(step.to_owned(), taken);
        }
        taken
    }

    /// What a step wrote is gone.
    pub(super) fn forget_size(&self, step: &str) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.remove(step);
    }
}

impl Engine {
    /// Who keeps clients' files; the first counts.
    pub fn set_build_sources(&self, sources: Box<dyn Sources>) {
        let _ = self.builds.sources.set(sources);
    }

    /// What builds have left.
    ///
    /// # Errors
    /// `Internal` when the work panics.
    pub async fn build_records(self: &Arc<Self>) -> Result<Vec<BuildRecord>> {
        let engine = Arc::clone(self);
        blocking(move || Ok(engine.records())).await
    }

    /// As [`Engine::build_records`]. Blocking.
    pub(super) fn records(&self) -> Vec<BuildRecord> {
        let results = self.builds.cache.records().into_iter();
        let mut records: Vec<BuildRecord> = results.map(|record| self.record(record)).collect();
        match self.builds.sources.get().map(|sources| sources.kept()) {
            Some(Ok(kept)) => records.extend(kept),
            Some(Err(error)) => {
                tracing::warn!(%error, "the files that are kept of builds' clients cannot be counted");
            }
            None => {}
        }
        records
    }

    fn record(&self, record: Record) -> BuildRecord {
        let Record { entry, in_use, own } = record;
        let shared = |step: &String| {
            let layer = entry.layers.get(step);
            layer.is_some_and(|layer| self.store.has_layer(layer))
        };
        let size = |step: &String| self.builds.size(self, step, entry.kind);
        BuildRecord {
            shared: !own.is_empty() && own.iter().all(shared),
            size: own.iter().map(size).sum(),
            id: entry.id,
            parents: entry.parents,
            kind: entry.kind,
            description: entry.description,
            in_use,
            created: entry.created,
            last_used: entry.last_used,
            uses: entry.uses,
        }
    }
}
