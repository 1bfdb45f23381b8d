//! What a root file system is made of: the store produces it, the shim mounts it.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A root file system that is not mounted yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum RootFs {
    /// A directory that already is the root; used as it is.
    Directory {
        /// Where it is.
        path: PathBuf,
    },
    /// An overlay mount (`overlayfs`, kernel documentation `filesystems/overlayfs`).
    Overlay {
        /// Read-only directories, the topmost first, as the `lowerdir` option orders them.
        lower: Vec<PathBuf>,
        /// The writable directory; without one the mount is read-only.
        upper: Option<PathBuf>,
        /// overlayfs's scratch directory, on the file system of `upper`.
        work: Option<PathBuf>,
        /// Nobody needs what is written after a loss of power: it is not brought to the disk, neither by
        /// fsync(2) nor when the root is unmounted (overlayfs's `volatile`, Linux 5.10).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        volatile: bool,
    },
}
