//! The files of a build, without an image: for directories and archives. What is attested of them lies beside them, in
//! files of its own.

use super::export::world_error;
use super::find;
use super::tree::inherit;
use crate::container::diff_error;
use crate::{Engine, Error, ErrorKind, Result, names};
use fs_err::os::unix::fs::OpenOptionsExt as _;
use hull_build::attest::{self, Attestation};
use hull_build::solve::Solution;
use hull_build::world::{Cancel, Tree, WorldError};
use hull_image::diff::{Times, View};
use hull_spec::Digest;
use rustix::fs::{FileType, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

/// Files in deeper directories are refused.
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
    /// Ends the reading of the files.
    pub cancel: Option<&'a Cancel>,
}

impl Attested<'_> {
    fn name(&self, attestation: &Attestation) -> String {
        format!("{}{}", self.prefix, attestation.file_name())
    }

    fn names(&self) -> Vec<String> {
        let all = self.attestations.iter();
        all.map(|attestation| self.name(attestation)).collect()
    }
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
        // The layers stay mounted with it: what is not may be gone from a directory by the time it is opened.
        let mut reading = None;
        let mut directories = match files.map(|files| &files.tree) {
            None => Vec::new(),
            Some(Tree::Local(local)) => vec![local.path().to_owned()],
            Some(Tree::Pieces(pieces)) => {
                let opened = self.reading(pieces).map_err(|error| world_error(&error))?;
                reading.insert(opened).directories.clone()
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
            let walked = walk((root, "", 0), attested.cancel, &mut subjects);
            if attested.cancel.is_some_and(Cancel::is_cancelled) {
                return Err(world_error(&WorldError::Cancelled));
            }
            walked.map_err(unread)?;
            // What has the name of a file that attests is not among what comes out.
            let names = attested.names();
            subjects.retain(|(path, _)| !names.contains(path));
        }
        let beside = self.beside(attested, &subjects)?;
        if let Some(top) = directories.first() {
            // The root shows the attributes of what is topmost.
            inherit(top, &beside.0).map_err(failed)?;
        }
        directories.insert(0, beside.0.clone());
        let view = View::of(&directories).map_err(failed)?;
        drop(reading);
        Ok(LooseFiles {
            view,
            _beside: Some(beside),
        })
    }

    fn beside(&self, attested: Attested<'_>, subjects: &[(String, Digest)]) -> Result<Beside> {
        let failed = |error| internal("could not write what is attested").caused_by(error);
        let scratch = self.loose_scratch();
        // What provenance tells of builds is root's alone, though others get through the directory above.
        let mut private = std::fs::DirBuilder::new();
        let made = private.recursive(true).mode(0o700).create(&scratch);
        made.map_err(failed)?;
        let beside = Beside(scratch.join(names::id()));
        fs_err::create_dir(&beside.0).map_err(failed)?;
        for attestation in attested.attestations {
            let name = attested.name(attestation);
            if name.contains(['/', '\0']) {
                let text = format!("invalid name {name:?} of an attestation");
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
            let bytes = attest::statement_of_files(attestation, subjects);
            let mut options = fs_err::OpenOptions::new();
            let options = options.write(true).create_new(true).mode(MODE);
            let file = options.open(beside.0.join(name));
            file.and_then(|mut file| file.write_all(&bytes))
                .map_err(failed)?;
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

/// The regular files below a directory, by their paths, with their digests. Ends early once that is asked for.
fn walk(
    (directory, path, depth): (OwnedFd, &str, usize),
    cancel: Option<&Cancel>,
    found: &mut Vec<(String, Digest)>,
) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("directories are too deep"));
    }
    for name in find::names(&directory)? {
        if cancel.is_some_and(Cancel::is_cancelled) {
            break;
        }
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
                walk((next, &below, depth + 1), cancel, found)?;
            }
            FileType::RegularFile => {
                found.push((below, digest_of(File::from(open(flags)?), cancel)?));
            }
            _ => {}
        }
    }
    Ok(())
}

fn digest_of(mut file: File, cancel: Option<&Cancel>) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    while !cancel.is_some_and(Cancel::is_cancelled) {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_sha256(&hash.finalize().into())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("cancelled"))
}
