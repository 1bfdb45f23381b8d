//! Digests of files: what a step's key holds of what it only copies. Names, kinds, modes, owners, links, devices,
//! extended attributes and bytes count, times do not.

mod listed;

use super::copy::{Keep, MAX_DEPTH, Sieve};
use super::find::{Found, cleaned, find, names};
use super::{glob, sieve};
use crate::Engine;
use hull_build::world::{Job, LocalFiles, Selection, Tree, WorldError, WorldResult};
use hull_linux::xattr;
use hull_spec::Digest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Files smaller than this are read by the thread that finds them.
const AT_ONCE: usize = 256 << 10;
/// So many larger ones are open at once: trees have more of them than processes may have descriptors.
const MAX_WAITING: usize = 256;

/// A walk over files that makes one digest.
struct Walk<'w> {
    sieve: &'w dyn Sieve,
    job: &'w Job<'w>,
    /// Who may know a file's digest without reading it, and where the walk is in its directory.
    known: Option<(&'w dyn LocalFiles, PathBuf)>,
    path: PathBuf,
    depth: usize,
    entries: Vec<Entry>,
    /// How many of them are open to be read.
    waiting: usize,
    /// Directories above the walk's place of which nothing was kept yet.
    pending: Vec<Vec<u8>>,
}

/// A line of what is digested in the end.
struct Entry {
    head: Vec<u8>,
    bytes: Bytes,
}

enum Bytes {
    None,
    Known([u8; 32]),
    /// To be read.
    File(OwnedFd),
}

impl Engine {
    /// A digest of the files of a tree that a selection means.
    pub(super) fn content_of(
        &self,
        tree: &Tree,
        selection: &Selection,
        job: &Job<'_>,
    ) -> WorldResult<Digest> {
        let mut hash = Sha256::new();
        let Some((root, _reading)) = self.open_tree(tree)? else {
            return Ok(Digest::from_sha256(&hash.finalize().into()));
        };
        let sieve = sieve::new(&selection.include, &selection.exclude)?;
        let (path, _) = cleaned(&selection.path);
        let paths = match selection.wildcard {
            true => glob::resolve(&root, &path, selection.follow)?,
            false => vec![path],
        };
        let local: Option<&dyn LocalFiles> = match tree {
            Tree::Local(files) => Some(&**files),
            Tree::Pieces(_) => None,
        };
        for path in paths {
            let known = local.map(|files| (files, below(&path)));
            let mut walk = Walk::new(&*sieve, job, known);
            let name = path.file_name().unwrap_or_default();
            feed(&mut hash, name.as_bytes());
            match find(&root, &path, selection.follow) {
                Ok(found) if found.is_directory() => walk.whole(&found, local, &path)?,
                Ok(found) => walk.other(found.entry.as_fd(), None, &found.stat)?,
                // That it is not there is something to know as well.
                Err(error) if error.kind() == io::ErrorKind::NotFound => hash.update([0xff]),
                Err(error) => {
                    let text = format!("look at {}", path.display());
                    return Err(WorldError::caused(text, error));
                }
            }
            walk.digest(&mut hash)?;
        }
        Ok(Digest::from_sha256(&hash.finalize().into()))
    }
}

fn below(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

/// A field with its length: no two lists of fields are the same bytes.
fn feed(hash: &mut Sha256, field: &[u8]) {
    hash.update((field.len() as u64).to_le_bytes());
    hash.update(field);
}

impl<'w> Walk<'w> {
    fn new(
        sieve: &'w dyn Sieve,
        job: &'w Job<'w>,
        known: Option<(&'w dyn LocalFiles, PathBuf)>,
    ) -> Self {
        Self {
            sieve,
            job,
            known,
            path: PathBuf::new(),
            depth: 0,
            entries: Vec::new(),
            waiting: 0,
            pending: Vec::new(),
        }
    }

    fn failed(&self, what: &str, error: impl Into<io::Error>) -> WorldError {
        let text = format!("digest: {what} {:?}", self.path.display().to_string());
        WorldError::caused(text, error.into())
    }

    /// A directory and what is in it.
    fn whole(
        &mut self,
        found: &Found,
        local: Option<&dyn LocalFiles>,
        path: &Path,
    ) -> WorldResult<()> {
        let directory = found.open().map_err(|error| self.failed("open", error))?;
        self.push(&found.stat, Some(directory.as_fd()), Bytes::None, b"")?;
        match local.map(|files| self.listed(files, path)).transpose()? {
            Some(true) => Ok(()),
            _ => self.directory(&directory),
        }
    }

    fn directory(&mut self, directory: &OwnedFd) -> WorldResult<()> {
        self.job.cancel.check()?;
        if self.depth > MAX_DEPTH {
            return Err(WorldError::Invalid(
                "digest: the tree is too deep".to_owned(),
            ));
        }
        self.depth += 1;
        for name in names(directory).map_err(|error| self.failed("list", error))? {
            self.path.push(&name);
            self.entry(directory.as_fd(), &name)?;
            self.path.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    fn entry(&mut self, directory: BorrowedFd<'_>, name: &OsStr) -> WorldResult<()> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed("look at", error))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        match self.sieve.keeps(&self.path, is_directory) {
            Keep::No => Ok(()),
            keep if is_directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(directory, name, flags, Mode::empty())
                    .map_err(|error| self.failed("open", error))?;
                if keep == Keep::Yes {
                    self.push(&stat, Some(opened.as_fd()), Bytes::None, b"")?;
                    return self.directory(&opened);
                }
                // It is copied if something below it is.
                let above = self.pending.len();
                let head = self.head(&stat, Some(opened.as_fd()), b"");
                self.pending.push(head);
                self.directory(&opened)?;
                self.pending.truncate(above);
                Ok(())
            }
            Keep::IfNeeded => Ok(()),
            Keep::Yes => self.other(directory, Some(name), &stat),
        }
    }

    /// Anything but a directory: `name` in `at`, or `at` itself.
    fn other(&mut self, at: BorrowedFd<'_>, name: Option<&OsStr>, stat: &Stat) -> WorldResult<()> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = match name {
                    Some(name) => rustix::fs::openat(at, name, flags, Mode::empty()),
                    None => {
                        let number = std::os::fd::AsRawFd::as_raw_fd(&at);
                        let path = format!("/proc/self/fd/{number}");
                        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    }
                };
                let file = opened.map_err(|error| self.failed("open", error))?;
                let known = self.known.as_ref().and_then(|(files, top)| {
                    let digest = files.digest(&top.join(&self.path))?;
                    bytes_of(&digest)
                });
                let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
                let bytes = match known {
                    Some(known) => Bytes::Known(known),
                    None if size == 0 => Bytes::Known(Sha256::digest([]).into()),
                    None if size <= AT_ONCE => {
                        let read =
                            small(&file, size).map_err(|error| self.failed("read", error))?;
                        Bytes::Known(Sha256::digest(read).into())
                    }
                    None => {
                        let again = file
                            .try_clone()
                            .map_err(|error| self.failed("open", error))?;
                        self.waiting += 1;
                        Bytes::File(again)
                    }
                };
                self.push(stat, Some(file.as_fd()), bytes, b"")?;
                match self.waiting < MAX_WAITING {
                    true => Ok(()),
                    false => self.read(),
                }
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(at, name.unwrap_or_default(), Vec::new())
                    .map_err(|error| self.failed("read link", error))?;
                self.push(stat, None, Bytes::None, target.as_bytes())
            }
            FileType::Socket => Ok(()),
            _ => self.push(stat, None, Bytes::None, &stat.st_rdev.to_le_bytes()),
        }
    }

    fn push(
        &mut self,
        stat: &Stat,
        file: Option<BorrowedFd<'_>>,
        bytes: Bytes,
        more: &[u8],
    ) -> WorldResult<()> {
        let head = self.head(stat, file, more);
        self.add(head, bytes);
        Ok(())
    }

    fn add(&mut self, head: Vec<u8>, bytes: Bytes) {
        let above = self.pending.drain(..).map(|head| Entry {
            head,
            bytes: Bytes::None,
        });
        self.entries.extend(above);
        self.entries.push(Entry { head, bytes });
    }

    /// What is digested of an entry besides its bytes.
    fn head(&self, stat: &Stat, file: Option<BorrowedFd<'_>>, more: &[u8]) -> Vec<u8> {
        let mut names = file
            .map(|file| xattr::list(file).unwrap_or_default())
            .unwrap_or_default();
        names.retain(|name| !name.starts_with(b"trusted.overlay.") && name != b"security.selinux");
        names.sort_unstable();
        let attributes = names.into_iter().map(|name| {
            let value = file.and_then(|file| xattr::get(file, &name).ok().flatten());
            (name, value.unwrap_or_default())
        });
        let numbers = [stat.st_mode, stat.st_uid, stat.st_gid];
        head(&self.path, numbers, more, attributes)
    }

    /// Reads the files that wait for it, on all processors.
    fn read(&mut self) -> WorldResult<()> {
        let waits = |(place, entry): (usize, &Entry)| match &entry.bytes {
            Bytes::File(_) => Some(place),
            _ => None,
        };
        let waiting: Vec<usize> = self.entries.iter().enumerate().filter_map(waits).collect();
        let read: Mutex<Vec<(usize, io::Result<[u8; 32]>)>> = Mutex::default();
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            while let Some(place) =
                waiting.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
            {
                let Bytes::File(file) = &self.entries[*place].bytes else {
                    continue;
                };
                let digest = large(file, self.job);
                let mut read = read
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                read.push((*place, digest));
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        std::thread::scope(|scope| {
            for _ in 1..threads.min(waiting.len()) {
                scope.spawn(work);
            }
            work();
        });
        let read = read
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (place, digest) in read {
            let digest = digest.map_err(|error| WorldError::caused("digest: read", error))?;
            self.entries[place].bytes = Bytes::Known(digest);
        }
        self.waiting = 0;
        Ok(())
    }

    /// Digests it all.
    fn digest(mut self, hash: &mut Sha256) -> WorldResult<()> {
        self.read()?;
        for entry in &self.entries {
            feed(hash, &entry.head);
            if let Bytes::Known(digest) = &entry.bytes {
                hash.update(digest);
            }
        }
        Ok(())
    }
}

/// What is digested of an entry besides its bytes: its path, its mode, user and group, what its kind has more, its
/// extended attributes by their names.
fn head(
    path: &Path,
    numbers: [u32; 3],
    more: &[u8],
    attributes: impl Iterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>,
) -> Vec<u8> {
    let mut head = Vec::with_capacity(128);
    let mut field = |bytes: &[u8]| {
        head.extend((bytes.len() as u64).to_le_bytes());
        head.extend(bytes);
    };
    field(path.as_os_str().as_bytes());
    for number in numbers {
        field(&number.to_le_bytes());
    }
    field(more);
    for (name, value) in attributes {
        field(name.as_ref());
        field(value.as_ref());
    }
    head
}

fn bytes_of(digest: &Digest) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digest.hex().get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn small(file: &OwnedFd, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match rustix::io::read(file, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn large(file: &OwnedFd, job: &Job<'_>) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; AT_ONCE];
    loop {
        match rustix::io::read(file, &mut buffer[..]) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(count) => hash.update(&buffer[..count]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        job.cancel.check().map_err(io::Error::other)?;
    }
}
