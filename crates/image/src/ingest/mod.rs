//! Layers on their way in: fetched by the caller, followed, verified and unpacked by threads of ours.
//!
//! ```text
//! caller ──write──► ingest/<hex> ◄──follows── thread "inflate": SHA-256, gunzip │ unzstd
//!                                                 │ chunks
//!                                                 ▼
//!                                             thread "unpack": SHA-256 (diffID), tar → files
//! ```
//!
//! The threads read from the file's start, so what an interrupted download left is hashed and
//! unpacked again without being fetched again.

mod error;
mod follow;
#[cfg(test)]
pub(crate) mod tests;
mod worker;

use crate::rows::LayerRow;
use crate::store::{Hold, Store};
pub use error::Error;
use follow::Feed;
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::Unpacked;

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
    /// Blocks until the layer is there or was given up; [`Store::begin_layer`] tells which.
    pub fn wait(&self) {
        let ended = lock(&self.0.ended);
        let _ended = self
            .0
            .changed
            .wait_while(ended, |ended| !*ended)
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// As [`Waiter::wait`], but not longer than `timeout`. Tells whether waiting is over.
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
}

impl Ingest {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            busy: Mutex::default(),
            next: AtomicU64::new(0),
        }
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
            .map_err(|source| record(&blob.digest, source))?
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

fn record(digest: &Digest, source: crate::store::Error) -> Error {
    Error::Record {
        digest: digest.clone(),
        source,
    }
}

/// Receives a layer's compressed bytes. Dropping it unfinished keeps them for the next attempt,
/// unless they turned out to be useless.
#[derive(Debug)]
pub struct LayerWriter {
    store: Store,
    blob: Descriptor,
    diff_id: Digest,
    path: PathBuf,
    busy: Arc<Busy>,
    hold: Option<Hold>,
    received: u64,
    /// `None` only if opening failed.
    running: Option<Running>,
    /// Whether the partial file is not worth keeping.
    spoiled: bool,
}

#[derive(Debug)]
struct Running {
    file: fs_err::File,
    feed: Arc<Feed>,
    worker: JoinHandle<Result<Unpacked, Error>>,
}

impl LayerWriter {
    fn open(
        store: &Store,
        blob: &Descriptor,
        diff_id: &Digest,
        hold: Hold,
        busy: Arc<Busy>,
    ) -> Result<Self, Error> {
        let mut writer = Self {
            store: store.clone(),
            blob: blob.clone(),
            diff_id: diff_id.clone(),
            path: store.inner.ingest.dir.join(blob.digest.hex()),
            busy,
            hold: Some(hold),
            received: 0,
            running: None,
            spoiled: false,
        };
        writer.start()?;
        Ok(writer)
    }

    /// Opens the partial file and starts the threads that follow it.
    fn start(&mut self) -> Result<(), Error> {
        let failed = |source| Error::io(&self.blob.digest, "open partial download", source);
        let mut options = fs_err::OpenOptions::new();
        options.append(true).create(true);
        let mut file = options.open(&self.path).map_err(failed)?;
        let mut length = file.metadata().map_err(failed)?.len();
        if length > self.blob.size {
            fs_err::remove_file(&self.path).map_err(failed)?;
            file = options.create_new(true).open(&self.path).map_err(failed)?;
            length = 0;
        }
        self.received = length;
        self.progress_to(length);
        self.busy.progress.unpacked.store(0, Ordering::Relaxed);
        let feed = Arc::new(Feed::new(length));
        let source = fs_err::File::open(&self.path).map_err(failed)?;
        let number = self.store.inner.ingest.next.fetch_add(1, Ordering::Relaxed);
        let tree = self
            .path
            .with_file_name(format!("{}.tree-{number}", self.blob.digest.hex()));
        let job = worker::Job {
            store: self.store.clone(),
            blob: self.blob.clone(),
            tree,
            feed: Arc::clone(&feed),
            progress: Arc::clone(&self.busy.progress),
        };
        let worker = job.spawn(source).map_err(failed)?;
        self.running = Some(Running { file, feed, worker });
        Ok(())
    }

    fn progress_to(&self, received: u64) {
        let counter = &self.busy.progress.received;
        counter.store(received, Ordering::Relaxed);
    }

    /// How many bytes are there already: the fetch has to begin here.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.received
    }

    /// Counters, to be read by whoever shows progress.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.busy.progress)
    }

    /// Forgets what was received, for a server that sends from the start again.
    ///
    /// # Errors
    /// Failures of the file system.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop();
        self.spoiled = false;
        match fs_err::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io(
                &self.blob.digest,
                "remove partial download",
                source,
            )),
            _ => self.start(),
        }
    }

    /// Appends compressed bytes.
    ///
    /// # Errors
    /// [`Error::TooLong`]; failures of the file system; and, as early as they are known, those
    /// failures of unpacking that more bytes cannot explain: a full disk, a bomb.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let end = self.received + bytes.len() as u64;
        if end > self.blob.size {
            self.spoiled = true;
            return Err(Error::TooLong {
                digest: self.blob.digest.clone(),
                declared: self.blob.size,
            });
        }
        let Some(running) = &mut self.running else {
            return Err(self.gone());
        };
        if running.feed.has_failed() {
            running.feed.abandon();
            return Err(self.join().err().unwrap_or_else(|| self.gone()));
        }
        if let Err(source) = running.file.write_all(bytes) {
            self.spoiled = true;
            return Err(Error::io(&self.blob.digest, "write", source));
        }
        running.feed.grow(end);
        self.received = end;
        self.progress_to(end);
        Ok(())
    }

    fn gone(&self) -> Error {
        Error::io(
            &self.blob.digest,
            "write",
            io::Error::other("the layer was given up after an earlier error"),
        )
    }

    /// Waits until all is unpacked and verified, and makes it part of the store, durably.
    ///
    /// # Errors
    /// Every one of [`Error`].
    pub fn finish(mut self) -> Result<Hold, Error> {
        if self.received < self.blob.size {
            return Err(Error::Short {
                digest: self.blob.digest.clone(),
                received: self.received,
                declared: self.blob.size,
            });
        }
        if let Some(running) = &self.running {
            running.feed.complete();
        }
        let unpacked = self.join()?;
        if unpacked.diff_id != self.diff_id {
            self.spoiled = true;
            self.discard(&unpacked.tree);
            return Err(Error::DiffId {
                blob: self.blob.digest.clone(),
                expected: self.diff_id.clone(),
                actual: unpacked.diff_id,
            });
        }
        let tree = unpacked.tree.clone();
        if let Err(error) = self.commit(unpacked) {
            self.discard(&tree);
            return Err(error);
        }
        self.hold.take().ok_or_else(|| self.gone())
    }

    /// Moves blob and layer into place; see `store` for the order.
    fn commit(&self, unpacked: Unpacked) -> Result<(), Error> {
        let inner = &self.store.inner;
        let layer = self.store.layer_path(&self.diff_id);
        let place = || -> io::Result<()> {
            // Without a row it can only be what a failed commit left.
            inner.trash.discard(&layer)?;
            fs_err::rename(&unpacked.tree, &layer)?;
            fs_err::rename(&self.path, self.store.blob_path(&self.blob.digest))?;
            let root = fs_err::File::open(&inner.root)?;
            Ok(rustix::fs::syncfs(&root)?)
        };
        place().map_err(|source| Error::io(&self.blob.digest, "move into place", source))?;
        let row = LayerRow {
            blob: self.blob.clone(),
            size: unpacked.summary.size,
            unpacked_at: jiff::Timestamp::now().as_second(),
            root: unpacked.summary.root,
        };
        inner
            .rows
            .write(|change| change.put_layer(&self.diff_id, &row))
            .map_err(|source| record(&self.blob.digest, source))
    }

    /// The result of the threads; a failure spoils the partial file.
    fn join(&mut self) -> Result<Unpacked, Error> {
        let Some(running) = self.running.take() else {
            return Err(self.gone());
        };
        let result = running.worker.join().unwrap_or_else(|_| Err(self.gone()));
        self.spoiled |= result.is_err();
        result
    }

    /// Tells the threads to give up; they clear away what they made.
    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.feed.abandon();
            self.spoiled |= running.feed.has_failed();
        }
    }

    fn discard(&self, path: &std::path::Path) {
        if let Err(error) = self.store.inner.trash.discard(path) {
            tracing::warn!(%error, "cannot discard; the next start tries again");
        }
    }
}

impl Drop for LayerWriter {
    fn drop(&mut self) {
        self.stop();
        if self.spoiled {
            self.discard(&self.path);
        }
        let ingest = &self.store.inner.ingest;
        ingest.end(&self.blob.digest, &self.diff_id, &self.busy);
    }
}
