//! A layer from a local stream: of an archive, or made by a commit.

use super::chunks::{self, CHUNK, Filler, Stop};
use super::commit::Arrived;
use super::error::{Error, Subject};
use super::sink::{Stage, Staged};
use crate::decompress::Decoder;
use crate::store::{Hold, Store};
use hull_spec::Digest;
use sha2::{Digest as _, Sha256};
use std::cell::Cell;
use std::io::{self, BufReader, Read};

/// A layer that was added.
#[derive(Debug)]
pub struct ImportedLayer {
    /// Keeps it; has its diffID.
    pub hold: Hold,
    /// Bytes of its uncompressed archive.
    pub size: u64,
}

impl Store {
    /// Adds a layer from a stream that is gzip, zstd or a plain archive, by its first bytes, and
    /// computes its diffID, which must be the `expected` one. No compressed form of it is kept.
    /// A layer that is there already is not read.
    ///
    /// # Errors
    /// See [`Error`]; then nothing was added.
    pub fn import_layer(
        &self,
        source: &mut dyn Read,
        expected: Option<&Digest>,
    ) -> Result<ImportedLayer, Error> {
        if let Some(found) = expected.map(|wanted| self.imported(wanted)).transpose()?
            && let Some(found) = found
        {
            return Ok(found);
        }
        let import = Import {
            store: self,
            layer: Subject(expected.cloned()),
        };
        let format = self.format();
        let format =
            format.map_err(|source| Error::io(import.layer.clone(), "choose format", source))?;
        let mut stage = Stage {
            dir: self.inner.ingest.stage(),
            format,
            keeps_tar: true,
            hashes: true,
        };
        let result = import.run(source, &mut stage, expected);
        self.discard_or_warn(&stage.dir);
        result
    }

    fn imported(&self, diff_id: &Digest) -> Result<Option<ImportedLayer>, Error> {
        let hold = self.hold(diff_id);
        let row = self.inner.rows.layer(diff_id);
        let row = row.map_err(|source| Error::record(diff_id, source))?;
        Ok(row
            .and_then(|row| row.tar_size)
            .map(|size| ImportedLayer { hold, size }))
    }
}

struct Import<'a> {
    store: &'a Store,
    layer: Subject,
}

impl Import<'_> {
    fn run(
        &self,
        source: &mut dyn Read,
        stage: &mut Stage,
        expected: Option<&Digest>,
    ) -> Result<ImportedLayer, Error> {
        let _place = self.store.inner.ingest.local.enter();
        let (staged, diff_id) = self.take(source, stage)?;
        if let Some(expected) = expected
            && *expected != diff_id
        {
            return Err(Error::DiffId {
                layer: self.layer.clone(),
                expected: expected.clone(),
                actual: diff_id,
            });
        }
        // The hold comes before the look: see `Inner::holds`.
        let hold = self.store.hold(&diff_id);
        self.store.commit_layer(&Arrived {
            layer: self.layer.clone(),
            diff_id: &diff_id,
            stage,
            staged: &staged,
            blob: None,
        })?;
        let size = staged.tar_size;
        Ok(ImportedLayer { hold, size })
    }

    fn take(&self, source: &mut dyn Read, stage: &mut Stage) -> Result<(Staged, Digest), Error> {
        let consumed = Cell::new(0);
        let source = Counted {
            source,
            count: &consumed,
        };
        let decoder = Decoder::new(BufReader::with_capacity(CHUNK, source));
        let mut decoder = decoder.map_err(|source| self.broken(Stop::Read(source), 0))?;
        // The slower thread must not hash too.
        let mut hash = decoder.is_plain().then(Sha256::new);
        stage.hashes = hash.is_none();
        let (filler, chunks) = chunks::pair();
        let staged = std::thread::scope(|scope| {
            let stage = &*stage;
            let unpack = std::thread::Builder::new()
                .name("unpack".to_owned())
                .spawn_scoped(scope, || stage.take(chunks, &self.layer));
            let filled = self.fill(filler, &mut decoder, &consumed, hash.as_mut());
            let staged = match unpack {
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|_| Err(self.io("unpack", io::Error::other("panicked")))),
                Err(source) => Err(self.io("start thread", source)),
            };
            filled.and(staged)
        })?;
        let here = hash.map(|hash| Digest::from_sha256(&hash.finalize().into()));
        let diff_id = here.or_else(|| staged.diff_id.clone());
        let lost = || self.io("hash", io::Error::other("nobody computed the digest"));
        Ok((staged, diff_id.ok_or_else(lost)?))
    }

    fn fill(
        &self,
        filler: Filler,
        decoder: &mut dyn Read,
        consumed: &Cell<u64>,
        mut hash: Option<&mut Sha256>,
    ) -> Result<(), Error> {
        let limits = self.store.inner.options.limits;
        let allowed = || limits.allowed(consumed.get());
        let passed = |bytes: &[u8]| {
            if let Some(hash) = &mut hash {
                hash.update(bytes);
            }
        };
        filler
            .fill(decoder, &allowed, passed)
            .map_err(|stop| self.broken(stop, consumed.get()))
    }

    fn io(&self, operation: &'static str, source: io::Error) -> Error {
        Error::io(self.layer.clone(), operation, source)
    }

    fn broken(&self, stop: Stop, declared: u64) -> Error {
        let layer = self.layer.clone();
        match stop {
            Stop::TooMany(limit) => Error::TooLarge {
                layer,
                declared,
                limit,
            },
            Stop::Read(source) => Error::Decompress { layer, source },
        }
    }
}

/// Counts what is read: a bomb is known by how little made how much.
struct Counted<'a> {
    source: &'a mut dyn Read,
    count: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}
