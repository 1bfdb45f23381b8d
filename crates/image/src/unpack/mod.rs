//! Unpacking a layer's archive into a directory.

mod acl;
pub(crate) mod archive;
mod attributes;
mod compare;
mod copy;
mod pax;
mod place;
mod sparse;
#[cfg(test)]
pub(crate) mod tests;
mod trail;
mod tree;

use crate::rows::RootAttributes;
pub(crate) use archive::{Archive, Entry, Kind};
pub(crate) use attributes::{attributes, set_attributes, set_attributes_at, set_times_at};
pub(crate) use compare::compare;
pub(crate) use copy::{copy, copy_sparse};
pub(crate) use place::{ABOVE, EXHAUSTED, Effort, Meaning, follow, place, split};
pub(crate) use sparse::Segment;
use std::io::{self, BufRead};
use std::path::Path;
pub(crate) use trail::Trail;
use tree::Tree;
pub(crate) use tree::{is_blocked, make_implied, remove_tree};

/// What a layer may unpack to. The declared, compressed size is enforced on its own; these bound
/// what those bytes may become.
///
/// The bound is `max(floor, declared size × ratio)`, but never above `absolute`. Files of
/// distributions compress to a third, logs to a hundredth; DEFLATE cannot do better than 1:1032,
/// zstd has hardly any bound. So a layer that legitimately holds one large file of zeros passes by
/// the floor, and a bomb of a few kilobytes costs at most the floor before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What every layer may unpack to, bytes.
    pub floor: u64,
    /// Uncompressed bytes for each compressed one.
    pub ratio: u64,
    /// What no layer may exceed, bytes.
    pub absolute: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            floor: 1 << 30,
            ratio: 100,
            absolute: 1 << 40,
        }
    }
}

impl Limits {
    /// The bound for a layer of `declared` compressed bytes.
    #[must_use]
    pub fn allowed(&self, declared: u64) -> u64 {
        let scaled = declared.saturating_mul(self.ratio);
        scaled.max(self.floor).min(self.absolute)
    }
}

/// Why an archive cannot be unpacked. Entries are named as the archive spells them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive cannot be read.
    #[error("read archive")]
    Read(#[source] io::Error),
    /// It ends in the middle.
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    /// It is not a tar archive, or a damaged one.
    #[error("invalid tar header: {0}")]
    Header(&'static str),
    /// An entry of a kind that has no meaning in a layer.
    #[error("unhandled tar header type `{0}`")]
    Type(char),
    /// An entry outside of the tree.
    #[error("{0} is outside of the layer")]
    Outside(String),
    /// A hard link that cannot be made.
    #[error("hard link {entry} to {target}: {reason}")]
    Link {
        /// The entry.
        entry: String,
        /// What it shall be the same file as.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// An entry that makes no sense.
    #[error("{entry}: {reason}")]
    Entry {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than fits, or than a layer may make of a machine's memory.
    #[error("the layer is too large: {0}")]
    Bound(&'static str),
    /// A file operation failed.
    #[error("{operation} {entry}")]
    Io {
        /// What was done.
        operation: &'static str,
        /// The entry.
        entry: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(operation: &'static str, entry: &[u8], source: io::Error) -> Self {
        Self::Io {
            operation,
            entry: shown(entry),
            source,
        }
    }

    fn path(operation: &'static str, parts: &[&[u8]], errno: rustix::io::Errno) -> Self {
        Self::io(operation, &parts.join(&b'/'), errno.into())
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } | Self::Read(source) => is_full(source),
            _ => false,
        }
    }
}

/// A name from an archive, safe to print.
pub(crate) fn shown(name: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(name))
}

/// Whether an error means that there is no space, or no quota, left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// overlayfs's mark of a directory that hides all of its name in lower layers.
pub(crate) const OPAQUE_ATTRIBUTE: &[u8] = b"trusted.overlay.opaque";
/// What a directory gets that the archive implies but does not list, as in Docker.
pub(crate) const IMPLIED_MODE: u16 = 0o755;

/// What an archive held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Bytes in its files.
    pub size: u64,
    pub(crate) root: Option<RootAttributes>,
}

/// Unpacks a tar archive into the directory `root`, which must exist and be empty.
///
/// # Errors
/// See [`Error`]; what was unpacked until then stays.
pub(crate) fn unpack(archive: &mut dyn BufRead, root: &Path) -> Result<Summary, Error> {
    let mut archive = Archive::new(archive);
    let mut tree = Tree::open(root)?;
    while let Some(entry) = archive.next()? {
        tree.add(entry, &mut archive)?;
    }
    tree.finish()
}
