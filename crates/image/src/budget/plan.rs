//! What is on the disk, what of it has to stay, and what may go in which order.

use crate::catalog::Catalog;
use crate::image::ImageId;
use crate::rows::{LayerRow, SnapshotRow};
use crate::store::{Error, Store};
use crate::usage::{Files, Parts, taken};
use hull_spec::Digest;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A partial download.
pub(super) struct Download {
    pub(super) digest: Digest,
    pub(super) path: PathBuf,
    pub(super) age: Duration,
}

/// The state at one moment.
pub(super) struct Plan {
    /// Whether what is arriving counts.
    all: bool,
    /// Bytes on the disk.
    pub(super) taken: u64,
    /// Those of them that cannot go.
    pub(super) kept: u64,
    /// Those of `kept` that belong to nothing yet.
    pub(super) arriving: u64,
    /// Images that may go, the one used the longest ago first.
    pub(super) candidates: Vec<ImageId>,
}

/// What is on its way: layers that somebody holds and no image has yet, and files beside them.
struct Arriving {
    layers: Parts,
    bytes: u64,
}

/// What rows and holds say at one moment.
struct State {
    catalog: Arc<Catalog>,
    layers: BTreeMap<String, LayerRow>,
    snapshots: BTreeMap<String, SnapshotRow>,
    held: HashSet<Digest>,
}

impl State {
    fn read(store: &Store) -> Result<Self, Error> {
        let rows = &store.inner.rows;
        // A layer that its image owns by now is held no more.
        let held = store.inner.holds().keys().cloned().collect();
        Ok(Self {
            catalog: rows.catalog(),
            layers: rows.layers()?,
            snapshots: rows.snapshots()?,
            held,
        })
    }
}

impl Plan {
    pub(super) fn new(store: &Store, all: bool) -> Result<Self, Error> {
        let keeper = store.inner.budget.keeper.get();
        let users = store.inner.budget.users().unwrap_or_default();
        let in_use: HashSet<&ImageId> = users.iter().map(|user| &user.image).collect();
        let used = store.inner.rows.used()?;
        let files = store.files()?;
        let state = State::read(store)?;
        let layers = &state.layers;
        let (mut kept, mut candidates) = (Parts::default(), Vec::new());
        for (id, row) in &state.catalog.images {
            if keeper.is_none()
                || in_use.contains(id)
                || row.layers.iter().any(|layer| state.held.contains(layer))
            {
                kept.extend(Parts::new(id, &state.catalog, layers));
            } else {
                let at = used.get(id.as_str()).copied().unwrap_or(0);
                candidates.push((at.max(row.tagged_at), id.clone()));
            }
        }
        for row in state.snapshots.values() {
            kept.extend(Parts::of_layers(&row.layers, layers));
        }
        candidates.sort();
        let (arriving, idle) = store.arriving(&files, &state)?;
        let on_the_way = files.of(&arriving.layers) + arriving.bytes;
        kept.extend(arriving.layers);
        // Each was looked at in its own moment, and downloads come and go.
        let others = (files.total().saturating_sub(files.content())).saturating_sub(idle);
        let sizes = files.of(&kept) + others;
        let kept = sizes.saturating_sub(if all { 0 } else { on_the_way });
        Ok(Self {
            all,
            taken: files
                .total()
                .saturating_sub(if all { 0 } else { on_the_way }),
            kept,
            arriving: on_the_way,
            candidates: candidates.into_iter().map(|(_, id)| id).collect(),
        })
    }

    /// Looks again at what is on the disk.
    pub(super) fn measure(&mut self, store: &Store) -> Result<(), Error> {
        let files = store.files()?;
        let (arriving, _) = store.arriving(&files, &State::read(store)?)?;
        let on_the_way = files.of(&arriving.layers) + arriving.bytes;
        let apart = if self.all { 0 } else { on_the_way };
        self.taken = files.total().saturating_sub(apart);
        Ok(())
    }
}

impl Store {
    /// The downloads that nobody is at.
    pub(super) fn downloads(&self) -> Result<Vec<Download>, Error> {
        let failed = |source| Error::io("list downloads", source);
        let mut found = Vec::new();
        for entry in fs_err::read_dir(self.inner.root.join("ingest")).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
            let Some(digest) = digest.filter(|digest| !self.is_arriving(digest)) else {
                continue;
            };
            // One that is gone again is nobody's.
            let Ok(changed) = entry.metadata().and_then(|found| found.modified()) else {
                continue;
            };
            found.push(Download {
                digest,
                path: entry.path(),
                age: SystemTime::now()
                    .duration_since(changed)
                    .unwrap_or_default(),
            });
        }
        Ok(found)
    }

    /// What is on its way, and the bytes of downloads that nobody is at.
    fn arriving(&self, files: &Files, state: &State) -> Result<(Arriving, u64), Error> {
        let images = state.catalog.images.values().map(|row| &row.layers);
        let snapshots = state.snapshots.values().map(|row| &row.layers);
        let owned: HashSet<&Digest> = images.chain(snapshots).flatten().collect();
        let new = state.held.iter().filter(|layer| !owned.contains(layer));
        let layers = Parts::of_layers(&new.cloned().collect::<Vec<_>>(), &state.layers);
        let idle = self.downloads()?;
        let idle: u64 = idle.iter().filter_map(|d| taken(&d.path).ok()).sum();
        // The directory's own size is neither.
        let bytes = files.downloads.saturating_sub(idle);
        Ok((Arriving { layers, bytes }, idle))
    }
}
