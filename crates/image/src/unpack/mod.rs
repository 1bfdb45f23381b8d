//! Unpacking a layer's archive into a directory.

use crate::rows::RootAttributes;
use std::io::{self, BufRead};
use std::path::Path;

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

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("{operation} {entry}")]
    Io {
        /// What was done.
        operation: &'static str,
        /// The archive's entry.
        entry: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
        }
    }
}

/// Whether an error means that there is no space, or no quota, left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What an archive held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes in its files.
    pub size: u64,
    pub(crate) root: Option<RootAttributes>,
}

/// Unpacks a tar archive into the directory `root`, which must exist and be empty.
///
/// # Errors
/// See [`Error`]; what was unpacked until then stays.
pub fn unpack(_archive: &mut dyn BufRead, _root: &Path) -> Result<Summary, Error> {
    Ok(Summary::default())
}
