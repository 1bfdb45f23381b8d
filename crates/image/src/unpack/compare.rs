//! Whether a directory still has what its archive says: the content of files, byte by byte.

use super::Error;
use super::archive::{Archive, Entry, Kind};
use super::split;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Names of entries that take away what a lower layer has.
const WHITEOUT: &[u8] = b".wh.";

/// Reads `archive` to its last entry and compares its files with those below `root`. Gives the first
/// file that differs or is missing. Sparse files are left out.
///
/// # Errors
/// An archive that cannot be read, and failures of the file system.
pub(crate) fn compare(archive: &mut dyn BufRead, root: &Path) -> Result<Option<String>, Error> {
    let opened = rustix::fs::open(
        root,
        OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let root = opened.map_err(|errno| Error::Read(errno.into()))?;
    let mut archive = Archive::new(archive);
    // A file that differs may have been replaced by a later entry.
    let mut suspects: BTreeSet<Vec<u8>> = BTreeSet::new();
    while let Some(entry) = archive.next()? {
        let Some(parts) = split(&entry.path) else {
            continue;
        };
        let path = parts.join(&b'/');
        let name = parts.last().copied().unwrap_or_default();
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            let mut hidden_path = parts[..parts.len() - 1].join(&b'/');
            hidden_path.push(b'/');
            hidden_path.extend(hidden);
            let hidden_path = hidden_path.strip_prefix(b"/").unwrap_or(&hidden_path);
            forget(&mut suspects, hidden_path);
            continue;
        }
        match entry.kind {
            Kind::File if entry.sparse.is_none() => {
                if same(&mut archive, &root, &path, &entry)? {
                    suspects.remove(&path);
                } else {
                    suspects.insert(path);
                }
            }
            Kind::Directory => {
                suspects.remove(&path);
            }
            _ => forget(&mut suspects, &path),
        }
    }
    Ok(suspects.first().map(|path| super::shown(path)))
}

/// What was at `path`, or below it, was replaced.
fn forget(suspects: &mut BTreeSet<Vec<u8>>, path: &[u8]) {
    suspects.retain(|suspect| {
        let below = suspect.strip_prefix(path);
        !below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    });
}

fn same(
    archive: &mut Archive<'_>,
    root: &OwnedFd,
    path: &[u8],
    entry: &Entry,
) -> Result<bool, Error> {
    // Not blocking: what is there may be a FIFO by now.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let Ok(file) = openat2(root, path, flags, Mode::empty(), resolve) else {
        return Ok(false);
    };
    let mut file = File::from(file);
    let found = file.metadata().map_err(Error::Read)?;
    if !found.is_file() || found.len() != entry.size {
        return Ok(false);
    }
    let mut buffer = Vec::new();
    loop {
        let data = archive.data()?;
        if data.is_empty() {
            return Ok(true);
        }
        buffer.resize(data.len(), 0);
        match file.read_exact(&mut buffer) {
            Ok(()) if buffer == data => {}
            Ok(()) => return Ok(false),
            // A file that is shorter, or that the disk cannot read.
            Err(_) => return Ok(false),
        }
        let count = buffer.len();
        archive.consume(count);
    }
}
