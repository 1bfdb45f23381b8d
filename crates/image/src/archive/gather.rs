//! One pass over an archive: documents are kept, layers go into the store, links are noted.

use super::documents::BLOBS;
use super::{Error, Loading};
use crate::decompress::Packing;
use crate::image::MAX_DOCUMENT;
use crate::ingest::{self, ImportedLayer};
use crate::store::Store;
use crate::unpack::archive::{Archive, Kind};
use hull_spec::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Cursor, Read, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is remembered of an archive may take this together: documents, names and links.
const MAX_TOTAL: usize = 64 << 20;
/// What an entry takes that is remembered, beside its names and content.
const ENTRY: usize = 256;
/// `PATH_MAX`.
const MAX_PATH: usize = 4096;
/// Links that are followed one after the other.
const MAX_LINKS: usize = 16;
/// How much is looked at to tell what an entry is: the mark of a tar header is in the first block.
const HEAD: u64 = 512;
/// How often progress is told.
const STEP: Duration = Duration::from_millis(100);

/// A layer that came.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) layer: ImportedLayer,
    /// Its compressed form, in a file that is given to the store or removed.
    pub(super) blob: Option<Spooled>,
}

/// A compressed layer on disk.
#[derive(Debug)]
pub(super) struct Spooled {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) path: PathBuf,
}

impl Drop for Spooled {
    fn drop(&mut self) {
        // It has moved when it was given to the store.
        let _ = fs_err::remove_file(&self.path);
    }
}

/// All that is in an archive.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    documents: HashMap<String, Vec<u8>>,
    total: usize,
    layers: HashMap<String, Layer>,
    /// What looked like a layer and is none.
    failed: HashMap<String, ingest::Error>,
    links: HashMap<String, String>,
    /// Every layer that was added, also those that a later entry replaced.
    pub(super) added: Vec<Digest>,
}

impl Gathered {
    /// The document of a name.
    pub(super) fn document(&self, path: &str) -> Result<Option<&[u8]>, Error> {
        let path = self.follow(path)?;
        Ok(self.documents.get(&path).map(Vec::as_slice))
    }

    /// The document with a digest.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<&[u8]>, Error> {
        self.document(&format!("{BLOBS}{}", digest.hex()))
    }

    /// The layer of a name.
    pub(super) fn layer(&mut self, path: &str) -> Result<&Layer, Error> {
        let path = self.follow(path)?;
        if let Some(error) = self.failed.remove(&path) {
            return Err(error.into());
        }
        let missing = || Error::Missing {
            what: "layer",
            path: format!("{path:?}"),
        };
        self.layers.get(&path).ok_or_else(missing)
    }

    fn follow(&self, path: &str) -> Result<String, Error> {
        let mut path = plain(path.as_bytes())?;
        for _ in 0..MAX_LINKS {
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => return Ok(path),
            }
        }
        Err(Error::Circle(format!("{path:?}")))
    }
}

/// The pass itself.
pub(super) struct Gather<'a> {
    pub(super) store: &'a Store,
    pub(super) told: &'a mut dyn FnMut(Loading),
    pub(super) found: Gathered,
}

impl Gather<'_> {
    /// Reads to the end. What was found until an error stays in `found`.
    pub(super) fn run(&mut self, input: &mut dyn BufRead) -> Result<(), Error> {
        let mut archive = Archive::new(input);
        while let Some(entry) = archive.next()? {
            if entry.path.len().max(entry.link.len()) > MAX_PATH {
                return Err(Error::LongName(shown(&entry.path)));
            }
            let path = plain(&entry.path)?;
            match entry.kind {
                Kind::File if path.is_empty() => {}
                Kind::File => {
                    self.forget(&path);
                    self.file(path, entry.size, &mut archive)?;
                }
                Kind::Symlink => {
                    if entry.link.starts_with(b"/") {
                        return Err(Error::Outside(shown(&entry.link)));
                    }
                    let parent = path.rfind('/').map_or(0, |slash| slash + 1);
                    let target = [&path.as_bytes()[..parent], &entry.link].concat();
                    self.link(path, &target)?;
                }
                Kind::HardLink => self.link(path, &entry.link)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Of several entries with one name the last one counts, as when they are unpacked.
    fn forget(&mut self, path: &str) {
        if let Some(old) = self.found.documents.remove(path) {
            self.found.total -= old.len();
        }
        self.found.layers.remove(path);
        self.found.failed.remove(path);
        self.found.links.remove(path);
    }

    fn link(&mut self, path: String, target: &[u8]) -> Result<(), Error> {
        self.forget(&path);
        let target = plain(target)?;
        self.count(path.len() + target.len())?;
        self.found.links.insert(path, target);
        Ok(())
    }

    /// Counts what is remembered of an entry. Only a document that is replaced is taken off again.
    fn count(&mut self, bytes: usize) -> Result<(), Error> {
        self.found.total += bytes + ENTRY;
        let limit = MAX_TOTAL;
        if self.found.total > limit {
            return Err(Error::TooMuch { limit });
        }
        Ok(())
    }

    fn file(&mut self, path: String, size: u64, archive: &mut Archive<'_>) -> Result<(), Error> {
        let mut data = Data(archive);
        let mut head = Vec::new();
        data.by_ref()
            .take(HEAD)
            .read_to_end(&mut head)
            .map_err(Error::Read)?;
        let stated = path
            .strip_prefix(BLOBS)
            .and_then(|hex| Digest::from_hex(hex).ok());
        match kind_of(&path, &head) {
            Content::Document if size <= MAX_DOCUMENT as u64 => {
                data.read_to_end(&mut head).map_err(Error::Read)?;
                self.document(path, head, stated.as_ref())
            }
            Content::Document | Content::Other => Ok(()),
            Content::Tar => self.tar(path, size, stated, &mut Cursor::new(head).chain(data)),
            Content::Compressed => {
                self.compressed(path, size, stated, &mut Cursor::new(head).chain(data))
            }
        }
    }

    fn document(
        &mut self,
        path: String,
        bytes: Vec<u8>,
        stated: Option<&Digest>,
    ) -> Result<(), Error> {
        if let Some(stated) = stated {
            check(&path, stated, crate::blob::digest_of(&bytes))?;
        }
        self.count(bytes.len() + path.len())?;
        self.found.documents.insert(path, bytes);
        Ok(())
    }

    fn tar(
        &mut self,
        path: String,
        size: u64,
        stated: Option<Digest>,
        data: &mut dyn Read,
    ) -> Result<(), Error> {
        let present = match &stated {
            Some(digest) => self.store.inner.rows.catalog().has_layer(digest),
            None => false,
        };
        let mut progress = Progress {
            inner: data,
            diff_id: stated.clone().filter(|_| !present),
            current: 0,
            total: size,
            told: self.told,
            last: Instant::now(),
        };
        let imported = self.store.import_layer(&mut progress, stated.as_ref());
        self.note(&imported);
        self.keep(path, imported, None, (!present).then_some(size))
    }

    fn compressed(
        &mut self,
        path: String,
        size: u64,
        stated: Option<Digest>,
        data: &mut dyn Read,
    ) -> Result<(), Error> {
        let mut spool = Spool::new(data, self.store.inner.blobs.scratch("load"))?;
        let imported = self.store.import_layer(&mut spool, None);
        self.note(&imported);
        let spooled = spool.finish()?;
        if let Some(stated) = &stated {
            check(&path, stated, spooled.digest.clone())?;
        }
        self.keep(path, imported, Some(spooled), Some(size))
    }

    /// Notes that a layer was added, before anything can be found wrong: it goes again then.
    fn note(&mut self, imported: &Result<ImportedLayer, ingest::Error>) {
        let added = imported.as_ref().ok();
        let added = added.map(|layer| layer.hold.diff_id().clone());
        self.found.added.extend(added);
    }

    fn keep(
        &mut self,
        path: String,
        imported: Result<ImportedLayer, ingest::Error>,
        blob: Option<Spooled>,
        told: Option<u64>,
    ) -> Result<(), Error> {
        use ingest::Error as Ingest;
        match imported {
            Ok(layer) => {
                let diff_id = layer.hold.diff_id().clone();
                self.count(path.len())?;
                if let Some(total) = told {
                    (self.told)(Loading {
                        diff_id: diff_id.clone(),
                        current: total,
                        total,
                    });
                }
                self.found.layers.insert(path, Layer { layer, blob });
                Ok(())
            }
            // It matters only if an image needs it.
            Err(
                error @ (Ingest::Unpack { .. }
                | Ingest::Decompress { .. }
                | Ingest::TooLarge { .. }
                | Ingest::DiffId { .. }),
            ) => {
                // It may tell a name from the layer.
                self.count(path.len() + format!("{error:?}").len())?;
                self.found.failed.insert(path, error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

enum Content {
    Document,
    Tar,
    Compressed,
    Other,
}

/// What an entry is, by its first block; very old tar archives are told by their name.
fn kind_of(path: &str, head: &[u8]) -> Content {
    if Packing::of(head).is_some() {
        return Content::Compressed;
    }
    let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_tar = head.get(257..262) == Some(b"ustar");
    let is_empty_tar = head.len() == 512 && head.iter().all(|byte| *byte == 0);
    if is_tar || is_empty_tar || path.rsplit_once('.').is_some_and(|(_, end)| end == "tar") {
        return Content::Tar;
    }
    match first {
        Some(b'{' | b'[' | b'n') => Content::Document,
        _ => Content::Other,
    }
}

fn check(path: &str, stated: &Digest, actual: Digest) -> Result<(), Error> {
    if *stated == actual {
        return Ok(());
    }
    let path = path.to_owned();
    Err(Error::Digest { path, actual })
}

/// A path without dots; one that leaves the archive is refused.
fn plain(path: &[u8]) -> Result<String, Error> {
    let outside = || Error::Outside(shown(path));
    let text = std::str::from_utf8(path).map_err(|_| outside())?;
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(outside)?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn shown(path: &[u8]) -> String {
    let end = path.len().min(200);
    format!("{:?}", String::from_utf8_lossy(&path[..end]))
}

/// An entry's data.
struct Data<'a, 'r>(&'a mut Archive<'r>);

impl Read for Data<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let data = self.0.data().map_err(io::Error::other)?;
        let count = data.len().min(buffer.len());
        buffer[..count].copy_from_slice(&data[..count]);
        self.0.consume(count);
        Ok(count)
    }
}

/// Tells how far a layer is.
struct Progress<'a> {
    inner: &'a mut dyn Read,
    /// `None`: nothing is told.
    diff_id: Option<Digest>,
    current: u64,
    total: u64,
    told: &'a mut dyn FnMut(Loading),
    last: Instant,
}

impl Read for Progress<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.current += count as u64;
        if let Some(diff_id) = &self.diff_id
            && self.last.elapsed() >= STEP
        {
            self.last = Instant::now();
            (self.told)(Loading {
                diff_id: diff_id.clone(),
                current: self.current,
                total: self.total,
            });
        }
        Ok(count)
    }
}

/// Writes down and hashes what passes.
struct Spool<'a> {
    inner: &'a mut dyn Read,
    file: File,
    hash: Sha256,
    spooled: Spooled,
}

impl<'a> Spool<'a> {
    fn new(inner: &'a mut dyn Read, path: PathBuf) -> Result<Self, Error> {
        let file = fs_err::File::create(&path).map_err(|source| Error::Io {
            operation: "create file for compressed layer",
            source,
        })?;
        Ok(Self {
            inner,
            file: file.into_parts().0,
            hash: Sha256::new(),
            spooled: Spooled {
                digest: Digest::from_sha256(&[0; 32]),
                size: 0,
                path,
            },
        })
    }

    /// Takes the rest too: the digest is of all there is.
    fn finish(mut self) -> Result<Spooled, Error> {
        io::copy(&mut self, &mut io::sink()).map_err(Error::Read)?;
        let mut spooled = self.spooled;
        spooled.digest = Digest::from_sha256(&self.hash.finalize().into());
        Ok(spooled)
    }
}

impl Read for Spool<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.file.write_all(&buffer[..count])?;
        self.spooled.size += count as u64;
        Ok(count)
    }
}
