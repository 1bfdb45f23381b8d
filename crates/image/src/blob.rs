//! Content-addressed files: `blobs/sha256/<hex>`.

use crate::image::MAX_DOCUMENT;
use crate::store::Error;
use hull_spec::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The blob directory.
#[derive(Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
    /// Where files grow before they get their name; on the same file system.
    scratch: PathBuf,
    next: AtomicU64,
    /// Whether there are names that the disk may not have yet.
    unsynced: AtomicBool,
}

/// The digest of `bytes`.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}

impl Blobs {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let dir = root.join("blobs/sha256");
        fs_err::create_dir_all(&dir)?;
        Ok(Self {
            dir,
            scratch: root.join("ingest"),
            next: AtomicU64::new(0),
            unsynced: AtomicBool::new(false),
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// A name below `ingest/` that nobody else has; the next start removes what is left there.
    pub(crate) fn scratch(&self, what: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.scratch.join(format!("{what}-{number}"))
    }

    /// Stores a document. It is durable once [`Blobs::sync`] comes back.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(Error::DocumentTooLarge { size: bytes.len() });
        }
        let digest = digest_of(bytes);
        let path = self.path(&digest);
        // One that is damaged is written anew.
        if self.read(&digest).is_ok() {
            return Ok(digest);
        }
        let scratch = self.scratch("document");
        let written = write_durably(&scratch, bytes).and_then(|()| fs_err::rename(&scratch, &path));
        if let Err(source) = written {
            // It may never have been made; the sweep at the next start looks again.
            let _ = fs_err::remove_file(&scratch);
            return Err(Error::io("store document", source));
        }
        self.unsynced.store(true, Ordering::Release);
        Ok(digest)
    }

    /// Brings the names of what was stored to the disk, all at once.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        if !self.unsynced.load(Ordering::Acquire) {
            return Ok(());
        }
        let dir = fs_err::File::open(&self.dir);
        let synced = dir.and_then(|dir| dir.sync_all());
        synced.map_err(|source| Error::io("store document", source))?;
        // Documents are stored and synced under one lock: none came in between.
        self.unsynced.store(false, Ordering::Release);
        Ok(())
    }

    /// Reads a document back and verifies it, so that a damaged disk is found here.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        let mut bytes = Vec::new();
        match fs_err::File::open(&path) {
            Ok(file) => {
                file.take(MAX_DOCUMENT as u64 + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|source| Error::io("read document", source))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoSuchDocument(digest.clone()));
            }
            Err(source) => return Err(Error::io("read document", source)),
        }
        if bytes.len() > MAX_DOCUMENT {
            return Err(Error::DocumentTooLarge { size: bytes.len() });
        }
        if digest_of(&bytes) != *digest {
            return Err(Error::DamagedDocument(digest.clone()));
        }
        Ok(bytes)
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs_err::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_document_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("ingest")).unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let digest = blobs.put(b"document").unwrap();
        for damage in [&b"documend"[..], b""] {
            fs_err::write(blobs.path(&digest), damage).unwrap();
            assert_eq!(blobs.put(b"document").unwrap(), digest);
            assert_eq!(blobs.read(&digest).unwrap(), b"document");
        }
    }
}
