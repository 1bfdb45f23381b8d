//! Layers that are in the store, as archives: for whoever saves, pushes or verifies them.

use crate::decompress::Decoder;
use crate::erofs;
use crate::format::Format;
use crate::rows::LayerRow;
use crate::store::{Error, Hold, Store};
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// One read of the file.
const BUFFER: usize = 256 * 1024;

/// A layer's exact uncompressed archive: its SHA-256 is the diffID. The layer stays while this is read.
pub struct LayerArchive {
    source: Source,
    length: Option<u64>,
    _hold: Hold,
}

enum Source {
    File(fs_err::File),
    Compressed(Decoder<BufReader<fs_err::File>>),
}

impl LayerArchive {
    /// Its size in bytes, if that is known before it is read.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "an archive that is empty is no archive"
    )]
    pub fn len(&self) -> Option<u64> {
        self.length
    }
}

impl Read for LayerArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::File(file) => file.read(buffer),
            Source::Compressed(decoder) => decoder.read(buffer),
        }
    }
}

impl fmt::Debug for LayerArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = &self.length;
        f.debug_struct("LayerArchive")
            .field("length", length)
            .finish_non_exhaustive()
    }
}

/// A file that goes with this, unless it was moved.
pub(crate) struct Scratch<'a> {
    store: &'a Store,
    path: PathBuf,
}

impl Scratch<'_> {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        self.store.discard_or_warn(&self.path);
    }
}

impl Store {
    /// Opens a layer's archive.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`] and failures of the file system and of the database.
    pub fn layer_archive(&self, diff_id: &Digest) -> Result<LayerArchive, Error> {
        // The hold comes before the look: see `Inner::holds`.
        let hold = self.hold(diff_id);
        let row = self.layer_row(diff_id)?;
        let failed = |source| Error::io("open archive of layer", source);
        let archive = |source, length| LayerArchive {
            source,
            length,
            _hold: hold,
        };
        if row.format == Format::Erofs {
            let tar = self.layer_path(diff_id).join("tar");
            let file = fs_err::File::open(tar).map_err(failed)?;
            let length = file.metadata().map_err(failed)?.len();
            return Ok(archive(Source::File(file), Some(length)));
        }
        let as_it_is = row.keeps_tar || row.blobs.iter().any(|blob| blob.digest == *diff_id);
        if as_it_is {
            let file = fs_err::File::open(self.blob_path(diff_id)).map_err(failed)?;
            let length = file.metadata().map_err(failed)?.len();
            return Ok(archive(Source::File(file), Some(length)));
        }
        let Some(blob) = row.blobs.first() else {
            return Err(Error::NoSuchLayer(diff_id.clone()));
        };
        let file = fs_err::File::open(self.blob_path(&blob.digest)).map_err(failed)?;
        let decoder = Decoder::new(BufReader::with_capacity(BUFFER, file)).map_err(failed)?;
        Ok(archive(Source::Compressed(decoder), row.tar_size))
    }

    /// The blobs that are kept for a layer: each is in its [`Store::blob_path`], and unpacks to it.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`] and failures of the database.
    pub fn layer_blobs(&self, diff_id: &Digest) -> Result<Vec<Descriptor>, Error> {
        Ok(self.layer_row(diff_id)?.blobs)
    }

    /// Takes a finished file as one more blob of a layer. It must be on the store's file system, and
    /// the caller must have computed the digest while it made the file.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`] and failures of the file system and of the database.
    pub fn add_layer_blob(
        &self,
        diff_id: &Digest,
        blob: &Descriptor,
        file: &Path,
    ) -> Result<(), Error> {
        let _hold = self.hold(diff_id);
        self.layer_row(diff_id)?;
        let failed = |source| Error::io("add blob of layer", source);
        let synced = fs_err::File::open(file).and_then(|file| file.sync_data());
        synced.map_err(failed)?;
        // A removal may be about to discard an earlier file of this name: see `Store::discard`.
        let _quiet = self.inner.ingest.between_commits();
        let place = || -> io::Result<()> {
            fs_err::rename(file, self.blob_path(&blob.digest))?;
            fs_err::File::open(self.inner.blobs.dir())?.sync_all()
        };
        place().map_err(failed)?;
        self.inner.rows.write(|change| {
            let row = change.layer(diff_id)?;
            let mut row = row.ok_or_else(|| Error::NoSuchLayer(diff_id.clone()))?;
            if row.blobs.iter().all(|known| known.digest != blob.digest) {
                row.blobs.push(blob.clone());
                change.put_layer(diff_id, &row)?;
            }
            Ok(())
        })
    }

    /// Where the files of layers are, for whoever shows it: of a layer that is a file system itself this
    /// is where it is mounted while it is used. Layers that are not in the store have no place.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn layer_directories(&self, layers: &[Digest]) -> Result<Vec<PathBuf>, Error> {
        let rows = self.inner.rows.layers_of(layers)?;
        let place = |(layer, row): (&Digest, Option<LayerRow>)| {
            let format = row?.format;
            Some(self.layer_place(layer, format))
        };
        Ok(std::iter::zip(layers, rows).filter_map(place).collect())
    }

    /// Makes the index of a layer's archive again, into a file beside the downloads.
    pub(crate) fn fresh_index(&self, diff_id: &Digest) -> io::Result<Scratch<'_>> {
        let path = self.inner.blobs.scratch("check");
        let scratch = Scratch { store: self, path };
        let mut index = fs_err::File::create(scratch.path())?.into_file();
        let tar = fs_err::File::open(self.layer_path(diff_id).join("tar"))?;
        let mut archive = BufReader::with_capacity(BUFFER, tar);
        erofs::index(&mut archive, &mut index).map_err(io::Error::other)?;
        index.sync_data()?;
        Ok(scratch)
    }

    /// Replaces the index of a layer's archive. What is mounted keeps the old one until it is unmounted.
    pub(crate) fn renew_index(&self, diff_id: &Digest) -> io::Result<()> {
        let fresh = self.fresh_index(diff_id)?;
        let dir = self.layer_path(diff_id);
        fs_err::rename(fresh.path(), dir.join("erofs"))?;
        fs_err::File::open(dir)?.sync_all()
    }

    fn layer_row(&self, diff_id: &Digest) -> Result<LayerRow, Error> {
        let row = self.inner.rows.layer(diff_id)?;
        row.ok_or_else(|| Error::NoSuchLayer(diff_id.clone()))
    }
}
