//! Snapshots: what a container writes to, above the layers of its image.
//!
//! A snapshot's life: [`Snapshotter::prepare`] makes it for a key (the container's id) above layers
//! that are in the store, and from then on it keeps those layers from being removed.
//! [`Snapshotter::root_fs`] tells at any time, also after a restart, what has to be mounted; nothing
//! here mounts. [`Snapshotter::usage`] counts what was written. [`Snapshotter::remove`] ends it.

mod overlay;
#[cfg(test)]
mod suite;

pub use overlay::Overlay;
pub(crate) use overlay::measure;

use hull_spec::Digest;
use hull_spec::rootfs::RootFs;
use std::io;

/// What a snapshot's own files take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in files, as their lengths say; each hard-linked file once.
    pub size: u64,
    /// Files, directories and everything else.
    pub entries: u64,
}

/// Why a snapshot operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key cannot be a file name.
    #[error("invalid snapshot key `{0}`: expected letters, digits, `_`, `.` and `-`")]
    Key(String),
    /// [`Snapshotter::prepare`] was called twice.
    #[error("snapshot {0} already exists")]
    Exists(String),
    /// No snapshot has this key.
    #[error("no such snapshot: {0}")]
    Missing(String),
    /// A layer is not in the store.
    #[error("snapshot {key}: layer {layer} is not in the store; pull the image again")]
    Layer {
        /// The snapshot.
        key: String,
        /// The missing layer's diffID.
        layer: Digest,
    },
    /// A file operation failed.
    #[error("{operation} of snapshot {key}")]
    Io {
        /// What was done.
        operation: &'static str,
        /// The snapshot.
        key: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The snapshot's row could not be read or written.
    #[error("record of snapshot {key}")]
    Record {
        /// The snapshot.
        key: String,
        /// Why it failed.
        #[source]
        source: Box<crate::store::Error>,
    },
}

/// A way to give containers their root. See the module's text for the life of a snapshot, and
/// `suite` for what every implementation has to pass.
pub trait Snapshotter: Send + Sync {
    /// Makes a snapshot above `layers` (diffIDs, the base first; none at all is fine).
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Layer`], [`Error::Key`] and failures of the file system.
    fn prepare(&self, key: &str, layers: &[Digest]) -> Result<RootFs, Error>;

    /// What to mount for a snapshot made earlier.
    ///
    /// # Errors
    /// [`Error::Missing`] and failures of the file system.
    fn root_fs(&self, key: &str) -> Result<RootFs, Error>;

    /// What was written to it. Walks the written files.
    ///
    /// # Errors
    /// [`Error::Missing`] and failures of the file system.
    fn usage(&self, key: &str) -> Result<Usage, Error>;

    /// Removes it; its files are deleted in the background. It must not be mounted any more.
    /// Removing what does not exist is fine, so that a crashed removal can be repeated.
    ///
    /// # Errors
    /// Failures of the file system.
    fn remove(&self, key: &str) -> Result<(), Error>;

    /// The keys of all snapshots, sorted.
    ///
    /// # Errors
    /// Failures of the database.
    fn keys(&self) -> Result<Vec<String>, Error>;
}

/// Whether `key` is safe as a file name.
fn check_key(key: &str) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if key.is_empty() || key.len() > 128 || key.starts_with('.') || !key.bytes().all(plain) {
        return Err(Error::Key(key.to_owned()));
    }
    Ok(())
}
