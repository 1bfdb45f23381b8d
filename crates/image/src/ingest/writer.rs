//! A layer that is being fetched.

use super::commit::Arrived;
use super::follow::Feed;
use super::sink::{Stage, Staged};
use super::{Busy, Error, Progress, worker};
use crate::format::Format;
use crate::store::{Hold, Store};
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

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
    /// Open as long as bytes may come.
    file: Option<fs_err::File>,
    /// From the first bytes on.
    running: Option<Running>,
    /// Whether the partial file is not worth keeping.
    spoiled: bool,
}

#[derive(Debug)]
struct Running {
    feed: Arc<Feed>,
    stage: Stage,
    worker: JoinHandle<Result<Staged, Error>>,
}

impl LayerWriter {
    pub(super) fn open(
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
            file: None,
            running: None,
            spoiled: false,
        };
        writer.open_file()?;
        Ok(writer)
    }

    fn open_file(&mut self) -> Result<(), Error> {
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
        self.file = Some(file);
        self.received = length;
        self.progress_to(length);
        self.busy.progress.unpacked.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Starts the threads that follow the file, unless they are there.
    fn start(&mut self) -> Result<&mut Running, Error> {
        if self.running.is_none() {
            let failed = |source| Error::io(&self.blob.digest, "read partial download", source);
            let source = fs_err::File::open(&self.path).map_err(failed)?;
            let feed = Arc::new(Feed::new(self.received));
            let format = self.store.format();
            let format =
                format.map_err(|source| Error::io(&self.blob.digest, "choose format", source))?;
            // What is not compressed, by its digests, is an archive already.
            let plain = self.blob.digest == self.diff_id;
            let stage = Stage {
                dir: self.store.inner.ingest.stage(),
                format,
                keeps_tar: format == Format::Erofs && !plain,
                hashes: !plain,
            };
            let job = worker::Job {
                store: self.store.clone(),
                blob: self.blob.clone(),
                stage: stage.clone(),
                feed: Arc::clone(&feed),
                progress: Arc::clone(&self.busy.progress),
            };
            let worker = job.spawn(source).map_err(failed)?;
            self.running = Some(Running {
                feed,
                stage,
                worker,
            });
        }
        match &mut self.running {
            Some(running) => Ok(running),
            None => unreachable!("it was started above"),
        }
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
            _ => self.open_file(),
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
        let Some(file) = &mut self.file else {
            return Err(self.gone());
        };
        if let Some(running) = &self.running
            && running.feed.has_failed()
        {
            running.feed.abandon();
            self.file = None;
            return Err(self.join().err().unwrap_or_else(|| self.gone()));
        }
        if let Err(source) = file.write_all(bytes) {
            self.spoiled = true;
            return Err(Error::io(&self.blob.digest, "write", source));
        }
        self.received = end;
        self.progress_to(end);
        self.start()?.feed.grow(end);
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
        self.start()?.feed.complete();
        let (stage, staged) = self.join()?;
        let result = self.place(&stage, staged);
        self.store.discard_or_warn(&stage.dir);
        result?;
        self.hold.take().ok_or_else(|| self.gone())
    }

    fn place(&mut self, stage: &Stage, staged: Staged) -> Result<(), Error> {
        let actual = staged.diff_id.as_ref().unwrap_or(&self.blob.digest);
        if *actual != self.diff_id {
            self.spoiled = true;
            return Err(Error::DiffId {
                layer: (&self.blob.digest).into(),
                expected: self.diff_id.clone(),
                actual: actual.clone(),
            });
        }
        let arrived = Arrived {
            layer: (&self.blob.digest).into(),
            diff_id: &self.diff_id,
            stage,
            staged: &staged,
            blob: Some((&self.blob, &self.path)),
        };
        self.store.commit_layer(&arrived)
    }

    /// The result of the threads; a failure spoils the partial file.
    fn join(&mut self) -> Result<(Stage, Staged), Error> {
        let Some(running) = self.running.take() else {
            return Err(self.gone());
        };
        let result = running.worker.join().unwrap_or_else(|_| Err(self.gone()));
        self.spoiled |= result.is_err();
        Ok((running.stage, result?))
    }

    /// Tells the threads to give up; they clear away what they made.
    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.feed.abandon();
            self.spoiled |= running.feed.has_failed();
        }
    }
}

impl Drop for LayerWriter {
    fn drop(&mut self) {
        self.stop();
        if self.spoiled {
            self.store.discard_or_warn(&self.path);
        }
        let ingest = &self.store.inner.ingest;
        ingest.end(&self.blob.digest, &self.diff_id, &self.busy);
    }
}
