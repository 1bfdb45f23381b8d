//! What can go wrong with an arriving layer.

use crate::unpack;
use hull_spec::Digest;
use std::fmt;
use std::io;

/// The layer an error is about: a blob, or one that comes from a local stream and has no name yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(pub(super) Option<Digest>);

impl From<&Digest> for Subject {
    fn from(digest: &Digest) -> Self {
        Self(Some(digest.clone()))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(digest) => write!(f, "layer {digest}"),
            None => f.write_str("imported layer"),
        }
    }
}

/// Why a layer did not arrive. After every one of them the store is as before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More bytes came than the manifest declares.
    #[error("layer {digest} is longer than the {declared} bytes its manifest declares")]
    TooLong {
        /// The blob.
        digest: Digest,
        /// Its declared size.
        declared: u64,
    },
    /// Fewer bytes came. They are kept for the next attempt.
    #[error("layer {digest} is incomplete: {received} of {declared} bytes")]
    Short {
        /// The blob.
        digest: Digest,
        /// What came.
        received: u64,
        /// Its declared size.
        declared: u64,
    },
    /// The bytes are not those the manifest names.
    #[error("filesystem layer verification failed for digest {expected}: received {actual}")]
    Digest {
        /// The manifest's.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The uncompressed bytes are not those the config names.
    #[error("{layer} unpacks to diffID {actual}, the image config says {expected}")]
    DiffId {
        /// The layer.
        layer: Subject,
        /// The config's.
        expected: Digest,
        /// What it really is.
        actual: Digest,
    },
    /// The archive cannot be unpacked.
    #[error("unpack {layer}")]
    Unpack {
        /// The layer.
        layer: Subject,
        /// What is wrong with it.
        #[source]
        source: unpack::Error,
    },
    /// The compressed stream is damaged.
    #[error("decompress {layer}")]
    Decompress {
        /// The layer.
        layer: Subject,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// It unpacks to more than [`crate::Limits`] allow.
    #[error("{layer} ({declared} bytes) unpacks to more than {limit} bytes: refused")]
    TooLarge {
        /// The layer.
        layer: Subject,
        /// Its compressed size, as far as it is known.
        declared: u64,
        /// What was allowed.
        limit: u64,
    },
    /// The disk is full.
    #[error("{layer}: {operation}: no space left on device; free some space and try again")]
    NoSpace {
        /// The layer.
        layer: Subject,
        /// What was done.
        operation: &'static str,
    },
    /// A file operation failed.
    #[error("{layer}: {operation}")]
    Io {
        /// The layer.
        layer: Subject,
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The store's records could not be read or written.
    #[error("record {layer}")]
    Record {
        /// The layer.
        layer: Subject,
        /// Why.
        #[source]
        source: crate::store::Error,
    },
}

impl Error {
    pub(super) fn io(
        layer: impl Into<Subject>,
        operation: &'static str,
        source: io::Error,
    ) -> Self {
        let layer = layer.into();
        if unpack::is_full(&source) {
            return Self::NoSpace { layer, operation };
        }
        Self::Io {
            layer,
            operation,
            source,
        }
    }

    pub(super) fn record(layer: impl Into<Subject>, source: crate::store::Error) -> Self {
        Self::Record {
            layer: layer.into(),
            source,
        }
    }
}
