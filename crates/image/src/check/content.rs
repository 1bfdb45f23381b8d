//! The content of files.

use super::{Check, Finding, Problem, Step, Stop};
use crate::format::Format;
use crate::rows::LayerRow;
use crate::store::Error;
use crate::unpack;
use hull_spec::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

/// One read, and the distance between two looks at whether anybody still listens.
const CHUNK: usize = 1 << 20;

/// What is wrong with one thing.
pub(super) struct Wrong {
    pub(super) problem: Problem,
    pub(super) detail: String,
}

impl Wrong {
    pub(super) fn damaged(detail: impl Into<String>) -> Self {
        Self {
            problem: Problem::Damaged,
            detail: detail.into(),
        }
    }

    pub(super) fn missing(detail: impl Into<String>) -> Self {
        Self {
            problem: Problem::Missing,
            detail: detail.into(),
        }
    }
}

/// What of a layer is wrong.
pub(super) struct WrongLayer {
    pub(super) part: Part,
    pub(super) wrong: Wrong,
}

/// The part of a layer that decides how it is repaired.
pub(super) enum Part {
    /// A compressed form that the layer can do without.
    Blob(Digest),
    /// The index, which is made of the archive.
    Index,
    /// What cannot be made again.
    Layer,
}

impl Check<'_> {
    /// Configs, manifests and indexes.
    pub(super) fn documents(&mut self) -> Step {
        let catalog = self.store.inner.rows.catalog();
        self.checked.images = catalog.images.len() as u64;
        let mut documents: Vec<&Digest> = catalog.documents().into_iter().collect();
        documents.sort_unstable();
        for digest in documents {
            if let Some(first) = self.document(digest)?
                && self.still_named(digest)
                && self.document(digest)?.is_some()
            {
                let mut finding =
                    Finding::new(first.problem, "document", digest.to_string(), first.detail);
                self.repair_document(digest, &mut finding);
                self.found(finding)?;
            }
        }
        Ok(())
    }

    fn still_named(&self, digest: &Digest) -> bool {
        let catalog = self.store.inner.rows.catalog();
        catalog.documents().contains(digest)
    }

    fn document(&mut self, digest: &Digest) -> Step<Option<Wrong>> {
        let found = match self.store.read_document(digest) {
            Ok(bytes) => {
                self.read(bytes.len() as u64)?;
                None
            }
            Err(Error::NoSuchDocument(_)) => Some(Wrong::missing("the file is not there")),
            Err(Error::DamagedDocument(_) | Error::DocumentTooLarge { .. }) => {
                Some(Wrong::damaged("it does not have its digest"))
            }
            Err(Error::Io { source, .. }) => Some(Wrong::damaged(source.to_string())),
            Err(error) => return Err(error.into()),
        };
        Ok(found)
    }

    /// Layers and their blobs.
    pub(super) fn layers(&mut self) -> Step {
        let rows = self.store.inner.rows.layers()?;
        self.checked.layers = rows.len() as u64;
        for (key, row) in &rows {
            let blobs: u64 = row.blobs.iter().map(|blob| blob.size).sum();
            self.total += blobs + row.tar_size.unwrap_or(0);
            // Nothing is known of a row whose key is no digest; the sweep at the start removes it.
            let Ok(diff_id) = key.parse::<Digest>() else {
                continue;
            };
            if self.layer(&diff_id, row)?.is_empty() {
                continue;
            }
            // It may have been removed while it was read, or removed and fetched again.
            let Some(row) = self.store.inner.rows.layer(&diff_id)? else {
                continue;
            };
            for wrong in self.layer(&diff_id, &row)? {
                let (object, id) = match &wrong.part {
                    Part::Blob(digest) => ("blob", digest.to_string()),
                    Part::Index | Part::Layer => ("layer", diff_id.to_string()),
                };
                let problem = wrong.wrong.problem;
                let mut finding = Finding::new(problem, object, id, wrong.wrong.detail);
                self.repair_layer(&diff_id, &wrong.part, &mut finding);
                self.found(finding)?;
            }
        }
        Ok(())
    }

    fn layer(&mut self, diff_id: &Digest, row: &LayerRow) -> Step<Vec<WrongLayer>> {
        let mut found = Vec::new();
        let mut tell = |part, wrong| found.push(WrongLayer { part, wrong });
        let dir = self.store.layer_path(diff_id);
        if !dir.is_dir() {
            tell(Part::Layer, Wrong::missing("its directory is not there"));
            return Ok(found);
        }
        let mut readable = true;
        for blob in &row.blobs {
            let path = self.store.blob_path(&blob.digest);
            if let Some(wrong) = self.digest(&path, &blob.digest)? {
                let part = match row.format {
                    Format::Erofs => Part::Blob(blob.digest.clone()),
                    Format::Directory => Part::Layer,
                };
                readable = false;
                tell(part, in_blob(wrong, &blob.digest));
            }
        }
        match row.format {
            Format::Directory if readable => {
                if let Some(wrong) = self.directory(diff_id, row, &dir)? {
                    tell(Part::Layer, wrong);
                }
            }
            Format::Directory => {}
            Format::Erofs => {
                if let Some(wrong) = self.digest(&dir.join("tar"), diff_id)? {
                    tell(Part::Layer, wrong);
                } else if let Some(wrong) = self.index(diff_id, &dir)? {
                    tell(Part::Index, wrong);
                }
            }
        }
        Ok(found)
    }

    /// Compares unpacked files with the archive that they came from.
    fn directory(&mut self, diff_id: &Digest, row: &LayerRow, dir: &Path) -> Step<Option<Wrong>> {
        let size = match crate::snapshot::measure(dir) {
            Ok(usage) => usage.size,
            Err(error) => return Ok(Some(Wrong::damaged(error.to_string()))),
        };
        let archive = match self.store.layer_archive(diff_id) {
            Ok(archive) => archive,
            // There never was one; the files cannot be compared with anything.
            Err(Error::NoSuchLayer(_)) if row.blobs.is_empty() => return Ok(None),
            Err(Error::NoSuchLayer(_)) => return Ok(Some(Wrong::missing("it has no archive"))),
            Err(Error::Io { source, .. }) => return Ok(Some(Wrong::damaged(source.to_string()))),
            Err(error) => return Err(error.into()),
        };
        let mut counted = Counted {
            inner: archive,
            hash: Sha256::new(),
            check: self,
            stopped: false,
        };
        let compared = {
            let mut reader = BufReader::with_capacity(CHUNK, &mut counted);
            let compared = unpack::compare(&mut reader, dir);
            // What follows the archive's end belongs to the diffID too.
            let drained = io::copy(&mut reader, &mut io::sink()).map_err(unpack::Error::Read);
            drained.and(compared)
        };
        let (stopped, hash) = (counted.stopped, counted.hash);
        if stopped {
            return Err(Stop::Cancelled);
        }
        Ok(match compared {
            Err(error) => Some(Wrong::damaged(format!("its archive: {error}"))),
            Ok(_) if Digest::from_sha256(&hash.finalize().into()) != *diff_id => {
                Some(Wrong::damaged("its archive does not have its digest"))
            }
            Ok(Some(path)) => Some(Wrong::damaged(format!("{path} is not what it was"))),
            Ok(None) if size != row.size => {
                let recorded = row.size;
                let detail = format!("its files have {size} bytes, not {recorded}");
                Some(Wrong::damaged(detail))
            }
            Ok(None) => None,
        })
    }

    /// Verifies a file's digest.
    pub(super) fn digest(&mut self, path: &Path, digest: &Digest) -> Step<Option<Wrong>> {
        let mut file = match fs_err::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(Wrong::missing("the file is not there")));
            }
            Err(error) => return Ok(Some(Wrong::damaged(error.to_string()))),
        };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    self.read(count as u64)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What the disk cannot read is damaged.
                Err(error) => return Ok(Some(Wrong::damaged(error.to_string()))),
            }
        }
        let whole = Digest::from_sha256(&hash.finalize().into()) == *digest;
        Ok((!whole).then(|| Wrong::damaged("it does not have its digest")))
    }
}

impl Check<'_> {
    /// Makes the index of an archive anew, which gives the same bytes each time, and compares.
    fn index(&mut self, diff_id: &Digest, dir: &Path) -> Step<Option<Wrong>> {
        let fresh = match self.store.fresh_index(diff_id) {
            Ok(fresh) => fresh,
            Err(error) => return Ok(Some(Wrong::damaged(error.to_string()))),
        };
        let same = same_bytes(fresh.path(), &dir.join("erofs"));
        let wrong = match same {
            Ok(true) => None,
            Ok(false) => Some(Wrong::damaged("its index is not that of its archive")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(Wrong::missing("its index is not there"))
            }
            Err(error) => Some(Wrong::damaged(error.to_string())),
        };
        let bytes = fs_err::metadata(fresh.path()).map_or(0, |found| found.len());
        self.read(bytes)?;
        Ok(wrong)
    }
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let open =
        |path| Ok::<_, io::Error>(BufReader::with_capacity(CHUNK, fs_err::File::open(path)?));
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        if left.is_empty() || right.is_empty() {
            return Ok(left.is_empty() && right.is_empty());
        }
        let count = left.len().min(right.len());
        if left[..count] != right[..count] {
            return Ok(false);
        }
        one.consume(count);
        other.consume(count);
    }
}

fn in_blob(wrong: Wrong, digest: &Digest) -> Wrong {
    Wrong {
        detail: format!("blob {}: {}", digest.short(), wrong.detail),
        ..wrong
    }
}

/// An archive that is hashed and counted while it is read.
struct Counted<'c, 'a, R> {
    inner: R,
    hash: Sha256,
    check: &'c mut Check<'a>,
    stopped: bool,
}

impl<R: Read> Read for Counted<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        if self.check.read(count as u64).is_err() {
            self.stopped = true;
            return Err(io::Error::other("cancelled"));
        }
        Ok(count)
    }
}
