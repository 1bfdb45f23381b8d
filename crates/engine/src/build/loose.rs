//! The files of a build, without an image: for directories and archives. What is attested of them lies beside them, in
//! files of its own.

use super::export::world_error;
use super::find;
use crate::container::diff_error;
use crate::{Engine, Error, ErrorKind, Result, names};
use hull_build::attest::{self, Attestation};
use hull_build::solve::Solution;
use hull_build::world::Tree;
use hull_image::diff::{Times, View};
use hull_spec::Digest;
use rustix::fs::{FileType, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Below it nothing is attested of.
const MAX_DEPTH: usize = 1000;
/// What is read of a file at once.
const CHUNK: usize = 256 << 10;
/// The mode of files that attest, as in BuildKit.
const MODE: u32 = 0o600;

fn internal(text: &str) -> Error {
    Error::new(ErrorKind::Internal, text)
}

/// What is attested of files, and how the files that say so are called.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attested<'a> {
    /// What.
    pub attestations: &'a [Attestation],
    /// Begins their names.
    pub prefix: &'a str,
}

/// Files to be read. They stay as long as the solution that they are of.
#[derive(Debug)]
pub struct LooseFiles {
    view: Option<View>,
    _beside: Option<Beside>,
}

impl LooseFiles {
    /// Their root; `None`: there are none.
    #[must_use]
    pub fn root(&self) -> Option<BorrowedFd<'_>> {
        self.view.as_ref().map(AsFd::as_fd)
    }
}

/// A directory with what is attested, gone with this.
#[derive(Debug)]
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "what was attested of files was not removed");
        }
    }
}

impl Engine {
    /// All files of a solution, put together, with what is attested of them: for who wants them in a directory or an
    /// archive. Blocking.
    ///
    /// # Errors
    /// `Internal` when they cannot be mounted or read.
    pub fn loose_files(
        &self,
        files: Option<&Solution>,
        attested: Attested<'_>,
    ) -> Result<LooseFiles> {
        let failed = |error| internal("could not open the files").caused_by(error);
        let mut directories = match files.map(|files| &files.tree) {
            None => Vec::new(),
            Some(Tree::Local(local)) => vec![local.path().to_owned()],
            Some(Tree::Pieces(pieces)) => {
                let reading = self.reading(pieces).map_err(|error| world_error(&error))?;
                reading.directories.clone()
            }
        };
        let view = View::of(&directories).map_err(failed)?;
        if attested.attestations.is_empty() {
            return Ok(LooseFiles {
                view,
                _beside: None,
            });
        }
        let mut subjects = Vec::new();
        if let Some(view) = &view {
            let unread = |error| internal("could not read the files").caused_by(error);
            let root = reopened(view.as_fd()).map_err(unread)?;
            walk(root, "", 0, &mut subjects).map_err(unread)?;
        }
        let beside = self.beside(attested, &subjects)?;
        directories.insert(0, beside.0.clone());
        Ok(LooseFiles {
            view: View::of(&directories).map_err(failed)?,
            _beside: Some(beside),
        })
    }

    fn beside(&self, attested: Attested<'_>, subjects: &[(String, Digest)]) -> Result<Beside> {
        let failed = |error| internal("could not write what is attested").caused_by(error);
        let beside = Beside(self.loose_scratch().join(names::id()));
        fs_err::create_dir_all(&beside.0).map_err(failed)?;
        for attestation in attested.attestations {
            let name = format!("{}{}", attested.prefix, attestation.file_name());
            if name.contains(['/', '\0']) {
                let text = format!("invalid name {name:?} of an attestation");
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
            let path = beside.0.join(name);
            let bytes = attest::statement_of_files(attestation, subjects);
            fs_err::write(&path, bytes).map_err(failed)?;
            let mode = Mode::from_raw_mode(MODE);
            rustix::fs::chmod(&path, mode).map_err(|error| failed(error.into()))?;
        }
        Ok(beside)
    }

    /// Where it is written until it was read.
    pub(super) fn loose_scratch(&self) -> PathBuf {
        self.config.exec_root.join("attested")
    }

    /// As [`Engine::loose_files`], as an archive.
    ///
    /// # Errors
    /// `Internal` for what cannot be read or written.
    pub fn export_tar(&self, files: &LooseFiles, out: &mut dyn io::Write) -> Result<()> {
        match files.root() {
            Some(root) => hull_image::diff::tree(root, Times::Own, out).map_err(diff_error),
            // The end of an archive: two blocks of zeros.
            None => out
                .write_all(&[0; 1024])
                .map_err(|e| internal("write archive").caused_by(e)),
        }
    }

    /// As [`Engine::export_tar`], of several, each in a directory of its own.
    ///
    /// # Errors
    /// As [`Engine::export_tar`].
    pub fn export_tars(
        &self,
        several: &[(String, LooseFiles)],
        out: &mut dyn io::Write,
    ) -> Result<()> {
        let roots: Vec<_> = several
            .iter()
            .map(|(name, files)| (name.as_str(), files.root()))
            .collect();
        hull_image::diff::trees(&roots, Times::Own, out).map_err(diff_error)
    }
}

fn reopened(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, ".", flags, Mode::empty())?)
}

/// The regular files below a directory, by their paths, with their digests.
fn walk(
    directory: OwnedFd,
    path: &str,
    depth: usize,
    found: &mut Vec<(String, Digest)>,
) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("directories are too deep"));
    }
    for name in find::names(&directory)? {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&directory, name.as_bytes(), flags)?;
        let below = match path {
            "" => name.to_string_lossy().into_owned(),
            path => format!("{path}/{}", name.to_string_lossy()),
        };
        // The files are nobody's to change meanwhile.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |flags| rustix::fs::openat(&directory, name.as_bytes(), flags, Mode::empty());
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let next = open(flags | OFlags::DIRECTORY)?;
                walk(next, &below, depth + 1, found)?;
            }
            FileType::RegularFile => {
                found.push((below, digest_of(File::from(open(flags)?))?));
            }
            _ => {}
        }
    }
    Ok(())
}

fn digest_of(mut file: File) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_sha256(&hash.finalize().into())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
