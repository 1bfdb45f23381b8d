//! What becomes of a layer's uncompressed bytes, in a directory below `ingest/`.

use super::chunks::Chunks;
use super::error::{Error, Subject};
use crate::erofs;
use crate::format::Format;
use crate::unpack::{self, Summary};
use hull_spec::Digest;
use std::path::PathBuf;

/// A layer that is being made. What it is made of is discarded with it by whoever made it.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    pub(super) format: Format,
    /// Whether the archive is written beside what is made of it.
    pub(super) keeps_tar: bool,
    /// Whether the diffID is computed here.
    pub(super) hashes: bool,
}

/// A layer whose files are complete.
#[derive(Debug)]
pub(super) struct Staged {
    /// If it was computed here.
    pub(super) diff_id: Option<Digest>,
    pub(super) tar_size: u64,
    pub(super) summary: Summary,
}

impl Stage {
    /// The archive, if it is written.
    pub(super) fn tar(&self) -> PathBuf {
        self.dir.join("tar")
    }

    /// The files, if they are unpacked.
    pub(super) fn files(&self) -> PathBuf {
        self.dir.join("files")
    }

    /// Uses all chunks.
    pub(super) fn take(&self, mut chunks: Chunks, layer: &Subject) -> Result<Staged, Error> {
        let failed = |operation| move |source| Error::io(layer.clone(), operation, source);
        fs_err::create_dir(&self.dir).map_err(failed("create directory"))?;
        if self.keeps_tar {
            let file = fs_err::File::create(self.tar()).map_err(failed("create archive"))?;
            chunks = chunks.copied_to(file);
        }
        if self.hashes {
            chunks = chunks.hashed();
        }
        let summary = self.unpack(&mut chunks).map_err(|source| {
            if source.is_full() {
                let (layer, operation) = (layer.clone(), "unpack");
                return Error::NoSpace { layer, operation };
            }
            Error::Unpack {
                layer: layer.clone(),
                source,
            }
        })?;
        // What follows the archive's end belongs to the diffID too.
        let (tar_size, diff_id) = chunks.finish().map_err(failed("read archive"))?;
        Ok(Staged {
            diff_id,
            tar_size,
            summary,
        })
    }

    fn unpack(&self, chunks: &mut Chunks) -> Result<Summary, unpack::Error> {
        let failed = |source| unpack::Error::Io {
            operation: "create",
            entry: "/".to_owned(),
            source,
        };
        match self.format {
            Format::Directory => {
                let files = self.files();
                fs_err::create_dir(&files).map_err(failed)?;
                unpack::unpack(chunks, &files)
            }
            Format::Erofs => {
                let index = self.dir.join("erofs");
                let mut index = fs_err::File::create(index).map_err(failed)?.into_file();
                erofs::index(chunks, &mut index)
            }
        }
    }
}
