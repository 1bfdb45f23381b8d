//! Snapshots: what a container writes to, above the layers of its image.
//!
//! A snapshot's life: [`Snapshotter::prepare`] makes it for a key (the container's id) above layers
//! that are in the store, and from then on it keeps those layers from being removed.
//! [`Snapshotter::describe`] tells at any time, also after a restart, what its root is made of;
//! [`Snapshotter::root_fs`] tells the same and sees to it that it can be mounted: that the layers which
//! are file systems themselves are mounted. [`Snapshotter::usage`] counts what was written. [`Snapshotter::remove`] ends it.

mod mounts;
mod overlay;
#[cfg(test)]
mod suite;

pub(crate) use mounts::Mounts;
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
    /// A layer cannot be mounted.
    #[error("mount layer {layer}")]
    Mount {
        /// Its diffID.
        layer: Digest,
        /// What the kernel said.
        #[source]
        source: io::Error,
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
    fn prepare(&self, key: &str, layers: &[Digest]) -> Result<(), Error>;

    /// What to mount for a snapshot made earlier. Its directories are there and can be read from now
    /// on until the snapshot is removed, or the daemon ends.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Layer`], [`Error::Mount`] and failures of the file system.
    fn root_fs(&self, key: &str) -> Result<RootFs, Error>;

    /// As [`Snapshotter::root_fs`], for whoever only wants to show it: directories of layers may be
    /// missing or empty.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Layer`].
    fn describe(&self, key: &str) -> Result<RootFs, Error>;

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
