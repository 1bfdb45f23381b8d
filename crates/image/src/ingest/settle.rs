//! The barrier behind a layer's arrival.
//!
//! A layer counts when its row is committed; then its archive may still be in memory only, and to wait
//! for the disk would cost more than everything before. So the row says during which boot it was
//! written, one thread brings the files to the disk as soon as no further layer comes, and takes the
//! note off the row. The note of an earlier boot means that the power failed in between: then the
//! layer is verified before it counts again.

use crate::format::Format;
use crate::remove::Leftovers;
use crate::rows::LayerRow;
use crate::store::{Error, Inner, Store};
use hull_spec::Digest;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, Weak};
use std::time::Duration;

/// The pull to which a layer belongs is likely to be over when nothing came for so long.
const QUIET: Duration = Duration::from_millis(500);
/// So many layers are not made to wait for more.
const BATCH: usize = 64;

/// The thread that waits for the disk; it is there from the first layer on.
#[derive(Debug, Default)]
pub(crate) struct Settler(Mutex<Option<Sender<Digest>>>);

/// Names this boot of the host: `/proc/sys/kernel/random/boot_id`, proc(5).
fn boot() -> io::Result<&'static str> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT.get() {
        return Ok(known);
    }
    let id = fs_err::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT.get_or_init(|| id.trim().to_owned()))
}

/// The note of a layer that is written now: the boot, and a number that tells it from the same layer
/// written again.
pub(super) fn note(number: u64) -> io::Result<String> {
    Ok(format!("{}/{number}", boot()?))
}

impl Store {
    /// Brings a layer's files to the disk, in the background.
    pub(super) fn settle_later(&self, diff_id: &Digest) {
        let mut sender = super::lock(&self.inner.settler.0);
        if sender.is_none() {
            let (send, receive) = channel();
            let inner = std::sync::Arc::downgrade(&self.inner);
            let thread = std::thread::Builder::new().name("settle".to_owned());
            if let Err(error) = thread.spawn(move || run(&inner, &receive)) {
                tracing::warn!(%error, "layers stay unsettled until the next start");
                return;
            }
            *sender = Some(send);
        }
        // Should the thread be gone the next start settles it.
        let _ = sender.as_ref().map(|sender| sender.send(diff_id.clone()));
    }

    /// After a start: settles what the last daemon did not, and verifies what the power may have taken.
    pub(crate) fn resume_settling(&self) -> Result<(), Error> {
        let failed = |source| Error::io("verify layers", source);
        let rows = self.inner.rows.layers()?;
        let mut unsettled = rows
            .into_iter()
            .filter_map(|(key, row)| {
                Some((key.parse::<Digest>().ok()?, row.unsettled.clone()?, row))
            })
            .peekable();
        if unsettled.peek().is_none() {
            return Ok(());
        }
        let now = boot().map_err(failed)?;
        for (diff_id, boot, row) in unsettled {
            if boot.split('/').next() == Some(now) {
                self.settle_later(&diff_id);
                continue;
            }
            match self.is_whole(&diff_id, &row) {
                Ok(true) => {
                    self.drop_damaged_blobs(&diff_id, &row)?;
                    self.settle_later(&diff_id);
                }
                Ok(false) => {
                    tracing::warn!(layer = %diff_id, "a layer was lost with the host's power; forgetting it");
                    let rows = &self.inner.rows;
                    rows.write(|change| change.delete_layer(diff_id.as_str()))?;
                    self.discard(Leftovers {
                        blobs: row.owned_blobs(&diff_id),
                        layers: vec![diff_id],
                    });
                }
                // One layer must not keep the store shut.
                Err(error) => {
                    tracing::warn!(layer = %diff_id, %error, "a layer cannot be verified; the next start tries again");
                }
            }
        }
        Ok(())
    }

    /// Whether the archive can be read and has the layer's digest; then its index is made anew. An
    /// error says nothing of the archive.
    fn is_whole(&self, diff_id: &Digest, row: &LayerRow) -> io::Result<bool> {
        if row.format == Format::Directory {
            return Ok(true);
        }
        if !has_digest(&self.layer_path(diff_id).join("tar"), diff_id)? {
            return Ok(false);
        }
        self.renew_index(diff_id)?;
        Ok(true)
    }

    fn drop_damaged_blobs(&self, diff_id: &Digest, row: &LayerRow) -> Result<(), Error> {
        let mut whole = Vec::new();
        for blob in &row.blobs {
            let path = self.blob_path(&blob.digest);
            // Of what cannot be read now, a check says more later.
            if has_digest(&path, &blob.digest).unwrap_or(true) {
                whole.push(blob.clone());
            } else {
                self.discard_or_warn(&path);
            }
        }
        self.inner.rows.write(|change| {
            let blobs = whole;
            change.put_layer(
                diff_id,
                &LayerRow {
                    blobs,
                    ..row.clone()
                },
            )
        })
    }

    fn settle(&self, layers: &[Digest]) -> Result<(), Error> {
        let failed = |source| Error::io("bring layer to the disk", source);
        let mut written = Vec::new();
        for diff_id in layers {
            let Some(row) = self.inner.rows.layer(diff_id)? else {
                continue;
            };
            match self.sync(diff_id, &row) {
                Ok(()) => written.push((diff_id, row.unsettled)),
                // It is being removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        for dir in [&self.inner.root.join("layers"), self.inner.blobs.dir()] {
            fs_err::File::open(dir)
                .and_then(|dir| dir.sync_all())
                .map_err(failed)?;
        }
        // Lost with the process it is done again.
        self.inner.rows.write_behind(|change| {
            for (diff_id, note) in written {
                if let Some(mut row) = change.layer(diff_id)?
                    && row.unsettled == note
                {
                    row.unsettled = None;
                    change.put_layer(diff_id, &row)?;
                }
            }
            Ok(())
        })
    }

    fn sync(&self, diff_id: &Digest, row: &LayerRow) -> io::Result<()> {
        let dir = self.layer_path(diff_id);
        let mut files: Vec<PathBuf> = row
            .blobs
            .iter()
            .map(|blob| self.blob_path(&blob.digest))
            .collect();
        if row.format == Format::Erofs {
            files.extend([dir.join("tar"), dir.join("erofs")]);
        }
        for file in files {
            fs_err::File::open(file)?.sync_data()?;
        }
        fs_err::File::open(dir)?.sync_all()
    }
}

fn run(inner: &Weak<Inner>, queue: &Receiver<Digest>) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = queue.recv_timeout(QUIET)
        {
            batch.push(next);
        }
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = (Store { inner }).settle(&batch) {
            tracing::warn!(%error, "layers stay unsettled until the next start");
        }
    }
}

/// Whether a file is there, can be read, and has this digest. Errors are the host's, not the file's.
fn has_digest(path: &Path, digest: &Digest) -> io::Result<bool> {
    let lost = |error: Errno| {
        if matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM) {
            return Err(error.into());
        }
        let path = path.display();
        tracing::warn!(%path, %error, "what the host's power may have taken cannot be read");
        Ok(false)
    };
    let file = match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(error) => return lost(error),
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match rustix::io::read(&file, &mut buffer[..]) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(Errno::INTR) => {}
            Err(error) => return lost(error),
        }
    }
    Ok(Digest::from_sha256(&hash.finalize().into()) == *digest)
}
