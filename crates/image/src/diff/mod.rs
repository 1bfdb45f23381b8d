//! From files to archives: what a container wrote becomes a layer, what it sees becomes one tar, and
//! what it changed becomes a list.
//!
//! ```text
//! upper directory of overlayfs ──► layer      OCI whiteouts; apply it and the layers below look the same
//!                         │   └──► changes    `docker diff`: compared with the layers below
//! merged tree ───────────────────► tree       `docker export`
//!             └──────────────────► part       `docker cp` out: one file, or one directory
//! ```
//!
//! Entries come in the order of their names, every header is the one that Go's `archive/tar` writes
//! for dockerd, times are cut to seconds as there: equal content has an equal digest, here and there.
//!
//! Trees are walked by open directories and no link is followed. A container may be running: what
//! vanishes meanwhile is left out, and a file that shrinks is filled up with zeros.

mod changes;
mod layer;
mod part;
mod stubs;
#[cfg(test)]
mod tests;
mod view;
mod walk;
pub(crate) mod writer;

pub use changes::{Change, ChangeKind, changes};
pub use layer::{Times, exact_layer, layer, tree, trees};
pub use part::{Part, part};
pub use view::View;

use std::io;

/// Why a tree cannot become an archive. Paths are relative to the tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("{operation} {path}")]
    Io {
        /// What was done.
        operation: &'static str,
        /// The entry.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Whoever takes the archive does not any more.
    #[error("write archive")]
    Write(#[source] io::Error),
    /// overlayfs left something that only makes sense together with the layers below.
    #[error("{path}: {what}; mount with redirect_dir=off,metacopy=off")]
    Overlay {
        /// The entry.
        path: String,
        /// What was found.
        what: &'static str,
    },
    /// Deeper than a path can tell (`PATH_MAX`).
    #[error("{path}…: the path is longer than 4096 bytes")]
    TooDeep {
        /// Its beginning.
        path: String,
    },
}

impl Error {
    fn io(operation: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Io {
            operation,
            path: shown(path),
            source: source.into(),
        }
    }
}

/// A path from a container, safe to print.
fn shown(path: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(path))
}
