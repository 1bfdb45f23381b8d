//! Layers on their way in: fetched by the caller, followed, verified and unpacked by threads of ours.
//!
//! ```text
//! caller ──write──► ingest/<hex> ◄──follows── thread "inflate": SHA-256, gunzip │ unzstd
//!                                                 │ chunks            ▲
//!                                                 ▼                   │ the same chunks again
//!                                             thread "unpack": SHA-256 (diffID), and
//!                                               erofs: the archive to a file, its index
//!                                               directory: tar → files
//! ```
//!
//! The threads read from the file's start, so what an interrupted download left is hashed and
//! unpacked again without being fetched again. They begin with the first bytes that arrive, and only
//! so many layers have them at once: the rest waits in its file. A layer from a local stream
//! ([`Store::import_layer`]) has the second thread only; the caller's is the first.

mod chunks;
mod commit;
mod error;
mod follow;
mod import;
mod places;
pub(crate) mod settle;
mod sink;
#[cfg(test)]
pub(crate) mod tests;
mod worker;
mod writer;

use crate::store::{Hold, Store};
pub use error::{Error, Subject};
use hull_spec::Digest;
use hull_spec::image::Descriptor;
pub use import::ImportedLayer;
use places::Places;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
pub use writer::LayerWriter;

/// What [`Store::begin_layer`] found.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are as many at once as layers being pulled"
)]
pub enum Layer {
    /// It is in the store, and stays while this is held.
    Present(Hold),
    /// Another pull fetches it: wait, then ask again.
    InProgress(Waiter),
    /// It has to be fetched.
    Fetch(LayerWriter),
}

/// How far a layer is. All counts are compressed bytes, as Docker's progress shows them.
#[derive(Debug)]
pub struct Progress {
    total: u64,
    received: AtomicU64,
    unpacked: AtomicU64,
}

impl Progress {
    /// The declared size.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What was received, this time and earlier.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// What was read by the threads that unpack.
    #[must_use]
    pub fn unpacked(&self) -> u64 {
        self.unpacked.load(Ordering::Relaxed)
    }
}

/// A layer in progress, shared by its writer and those who wait for it.
#[derive(Debug)]
struct Busy {
    progress: Arc<Progress>,
    ended: Mutex<bool>,
    changed: Condvar,
}

/// Waits for another pull's layer.
#[derive(Debug)]
pub struct Waiter(Arc<Busy>);

impl Waiter {
    /// Blocks until the layer is there or was given up, which [`Store::begin_layer`] tells, but not
    /// longer than `timeout`. Tells whether waiting is over.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let ended = lock(&self.0.ended);
        let (ended, _) = self
            .0
            .changed
            .wait_timeout_while(ended, timeout, |ended| !*ended)
            .unwrap_or_else(PoisonError::into_inner);
        *ended
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.0.progress)
    }
}

/// Nothing panics while these are locked, and their values are whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The layers that are arriving, by blob digest and by diffID: neither may arrive twice at once.
#[derive(Debug)]
pub(crate) struct Ingest {
    dir: PathBuf,
    busy: Mutex<HashMap<Digest, Arc<Busy>>>,
    next: AtomicU64,
    places: Places,
    /// Places of local streams: one that brings nothing must not keep a pull waiting.
    local: Places,
    /// Locked while a layer moves into place, because the same may come from two sides at once, and
    /// while files that nothing owns any more go. Locked after the store's other locks.
    commits: Mutex<()>,
}

impl Ingest {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            busy: Mutex::default(),
            next: AtomicU64::new(0),
            places: Places::new(),
            local: Places::new(),
            commits: Mutex::default(),
        }
    }

    /// A directory for a layer that is being made; nobody else has its name.
    pub(crate) fn stage(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("layer-{number}"))
    }

    /// Keeps layers from being moved into place.
    pub(crate) fn between_commits(&self) -> MutexGuard<'_, ()> {
        lock(&self.commits)
    }

    fn end(&self, blob: &Digest, diff_id: &Digest, entry: &Busy) {
        let mut busy = lock(&self.busy);
        busy.remove(blob);
        busy.remove(diff_id);
        drop(busy);
        *lock(&entry.ended) = true;
        entry.changed.notify_all();
    }
}

impl Store {
    /// Discards a partial download unless somebody is at it.
    pub(crate) fn discard_idle(&self, digest: &Digest, path: &Path) {
        // Whoever begins enters himself before he opens the file.
        let busy = lock(&self.inner.ingest.busy);
        if !busy.contains_key(digest) {
            self.discard_or_warn(path);
        }
    }

    /// Whether somebody fetches this blob or layer.
    pub(crate) fn is_arriving(&self, digest: &Digest) -> bool {
        lock(&self.inner.ingest.busy).contains_key(digest)
    }

    /// Asks for a layer: `blob` is its descriptor in the manifest, `diff_id` its entry in the config.
    ///
    /// # Errors
    /// Failures of the file system and of the database.
    pub fn begin_layer(&self, blob: &Descriptor, diff_id: &Digest) -> Result<Layer, Error> {
        let ingest = &self.inner.ingest;
        // The hold comes before the look: see `Inner::holds`.
        let hold = self.hold(diff_id);
        let mut busy = lock(&ingest.busy);
        let row = self.inner.rows.layer(diff_id);
        if row
            .map_err(|source| Error::record(&blob.digest, source))?
            .is_some()
        {
            return Ok(Layer::Present(hold));
        }
        if let Some(entry) = busy.get(diff_id).or_else(|| busy.get(&blob.digest)) {
            return Ok(Layer::InProgress(Waiter(Arc::clone(entry))));
        }
        let entry = Arc::new(Busy {
            progress: Arc::new(Progress {
                total: blob.size,
                received: AtomicU64::new(0),
                unpacked: AtomicU64::new(0),
            }),
            ended: Mutex::new(false),
            changed: Condvar::new(),
        });
        busy.insert(blob.digest.clone(), Arc::clone(&entry));
        busy.insert(diff_id.clone(), Arc::clone(&entry));
        drop(busy);
        LayerWriter::open(self, blob, diff_id, hold, entry).map(Layer::Fetch)
    }
}
