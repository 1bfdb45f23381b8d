//! Files that came: where they are, and what is known of them without a look at them.

use super::index::Entry;
use super::order::{compare, is_above};
use super::store::Lease;
use super::{Kind, tree};
use hull_engine::build::world::LocalEntry;
use std::path::{Path, PathBuf};

/// Files that came. They stay as they are while this lives.
#[derive(Debug)]
pub(crate) struct ReceivedFiles {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
    pub(super) _lease: Lease,
}

impl ReceivedFiles {
    /// The directory they are in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The SHA-256 of a regular file's bytes, by its path below the directory; `None` for what is no regular
    /// file or not there.
    pub(crate) fn digest(&self, path: &Path) -> Option<[u8; 32]> {
        let path = path.to_str()?;
        let entry = find(&self.entries, path)?;
        let entry = match Kind::of(&entry.stat)? {
            Kind::HardLink => find(&self.entries, &entry.stat.linkname)?,
            _ => entry,
        };
        entry.sha256.as_slice().try_into().ok()
    }
}

impl ReceivedFiles {
    /// All that is below a directory, as it is on the disk; `None` when there is no such directory, or when not all is
    /// known.
    pub(crate) fn below(&self, directory: &Path) -> Option<Vec<LocalEntry<'_>>> {
        let path = directory.to_str()?;
        let first = match path {
            "" => 0,
            path => {
                let place = self
                    .entries
                    .binary_search_by(|entry| compare(&entry.stat.path, path))
                    .ok()?;
                let kind = Kind::of(&self.entries[place].stat);
                kind.filter(|kind| *kind == Kind::Directory)?;
                place + 1
            }
        };
        let below = self.entries[first..].iter();
        below
            .take_while(|entry| path.is_empty() || is_above(path, &entry.stat.path))
            .map(|entry| self.on_disk(entry))
            .collect()
    }

    fn on_disk<'e>(&'e self, entry: &'e Entry) -> Option<LocalEntry<'e>> {
        let first = match Kind::of(&entry.stat)? {
            Kind::HardLink => find(&self.entries, &entry.stat.linkname)?,
            _ => entry,
        };
        let known = tree::on_disk(&first.stat, Kind::of(&first.stat)?)?;
        let regular = Kind::of(&first.stat)? == Kind::File;
        let digest = first.sha256.as_slice().try_into().ok();
        if regular && digest.is_none() {
            return None;
        }
        Some(LocalEntry {
            path: &entry.stat.path,
            digest,
            ..known
        })
    }
}

/// The entry of a path.
pub(super) fn find<'a>(entries: &'a [Entry], path: &str) -> Option<&'a Entry> {
    let place = entries.binary_search_by(|entry| compare(&entry.stat.path, path));
    place.ok().map(|place| &entries[place])
}
