//! What can go wrong with an arriving layer.

use crate::unpack;
use hull_spec::Digest;
use std::io;

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
    #[error("layer {blob} unpacks to diffID {actual}, the image config says {expected}")]
    DiffId {
        /// The blob.
        blob: Digest,
        /// The config's.
        expected: Digest,
        /// What it really is.
        actual: Digest,
    },
    /// The archive cannot be unpacked.
    #[error("unpack layer {digest}")]
    Unpack {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: unpack::Error,
    },
    /// The compressed stream is damaged.
    #[error("decompress layer {digest}")]
    Decompress {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// It unpacks to more than [`crate::Limits`] allow.
    #[error("layer {digest} ({declared} bytes) unpacks to more than {limit} bytes: refused")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its compressed size.
        declared: u64,
        /// What was allowed.
        limit: u64,
    },
    /// The disk is full.
    #[error("layer {digest}: {operation}: no space left on device; free some space and pull again")]
    NoSpace {
        /// The blob.
        digest: Digest,
        /// What was done.
        operation: &'static str,
    },
    /// A file operation failed.
    #[error("layer {digest}: {operation}")]
    Io {
        /// The blob.
        digest: Digest,
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The store's records could not be read or written.
    #[error("record layer {digest}")]
    Record {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: crate::store::Error,
    },
}

impl Error {
    pub(super) fn io(digest: &Digest, operation: &'static str, source: io::Error) -> Self {
        let digest = digest.clone();
        if unpack::is_full(&source) {
            return Self::NoSpace { digest, operation };
        }
        Self::Io {
            digest,
            operation,
            source,
        }
    }
}
