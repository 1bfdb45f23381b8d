//! A complete layer moves into the store; see `store` for the order.

use super::error::{Error, Subject};
use super::lock;
use super::settle;
use super::sink::{Stage, Staged};
use crate::format::Format;
use crate::rows::LayerRow;
use crate::store::Store;
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

/// A verified layer.
pub(super) struct Arrived<'a> {
    pub(super) layer: Subject,
    pub(super) diff_id: &'a Digest,
    pub(super) stage: &'a Stage,
    pub(super) staged: &'a Staged,
    /// What it was fetched as, and where that is.
    pub(super) blob: Option<Blob<'a>>,
}

type Blob<'a> = (&'a Descriptor, &'a Path);

impl Store {
    /// Makes a layer part of the store, durably, unless it already is. The caller holds it.
    pub(super) fn commit_layer(&self, arrived: &Arrived<'_>) -> Result<(), Error> {
        let _alone = lock(&self.inner.ingest.commits);
        let record = |source| Error::record(arrived.layer.clone(), source);
        let rows = &self.inner.rows;
        if rows.layer(arrived.diff_id).map_err(record)?.is_some() {
            return self.forget_download(arrived);
        }
        let failed = |source| Error::io(arrived.layer.clone(), "move into place", source);
        let format = arrived.stage.format;
        let (blobs, unsettled) = match format {
            Format::Directory => {
                self.place_directory(arrived).map_err(failed)?;
                (arrived.blob, None)
            }
            Format::Erofs => {
                let number = self.inner.ingest.next.fetch_add(1, Ordering::Relaxed);
                let note = settle::note(number).map_err(failed)?;
                (self.place_archive(arrived).map_err(failed)?, Some(note))
            }
        };
        let row = LayerRow {
            blobs: blobs.iter().map(|(blob, _)| (*blob).clone()).collect(),
            size: arrived.staged.summary.size,
            unpacked_at: jiff::Timestamp::now().as_second(),
            root: arrived.staged.summary.root,
            format,
            tar_size: Some(arrived.staged.tar_size),
            keeps_tar: arrived.stage.keeps_tar && format == Format::Directory,
            unsettled,
        };
        rows.write(|change| change.put_layer(arrived.diff_id, &row))
            .map_err(record)?;
        if row.unsettled.is_some() {
            self.settle_later(arrived.diff_id);
        }
        Ok(())
    }

    fn place_directory(&self, arrived: &Arrived<'_>) -> io::Result<()> {
        let layer = self.layer_path(arrived.diff_id);
        // Without a row it can only be what a failed commit left.
        self.inner.trash.discard(&layer)?;
        fs_err::rename(arrived.stage.files(), &layer)?;
        if let Some((blob, path)) = arrived.blob {
            fs_err::rename(path, self.blob_path(&blob.digest))?;
        }
        if arrived.stage.keeps_tar {
            fs_err::rename(arrived.stage.tar(), self.blob_path(arrived.diff_id))?;
        }
        let root = fs_err::File::open(&self.inner.root)?;
        Ok(rustix::fs::syncfs(&root)?)
    }

    /// Gives the blob if it is kept: one that is the archive itself costs nothing.
    fn place_archive<'a>(&self, arrived: &Arrived<'a>) -> io::Result<Option<Blob<'a>>> {
        let mut kept = arrived.blob;
        if let Some((blob, path)) = arrived.blob {
            let target = self.blob_path(&blob.digest);
            if blob.digest == *arrived.diff_id {
                fs_err::rename(path, arrived.stage.tar())?;
                self.inner.trash.discard(&target)?;
                fs_err::hard_link(arrived.stage.tar(), target)?;
            } else if self.inner.options.drop_compressed {
                kept = None;
                fs_err::remove_file(path)?;
            } else {
                fs_err::rename(path, target)?;
            }
        }
        let layer = self.layer_path(arrived.diff_id);
        // Without a row it can only be what a failed commit left.
        self.inner.trash.discard(&layer)?;
        fs_err::rename(&arrived.stage.dir, &layer)?;
        Ok(kept)
    }

    /// Somebody else was faster.
    fn forget_download(&self, arrived: &Arrived<'_>) -> Result<(), Error> {
        if let Some((_, path)) = arrived.blob {
            let discarded = self.inner.trash.discard(path);
            return discarded
                .map_err(|source| Error::io(arrived.layer.clone(), "discard download", source));
        }
        Ok(())
    }
}
