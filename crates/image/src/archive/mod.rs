//! Images in files: what `docker save` writes and `docker load` reads.
//!
//! ```text
//! blobs/sha256/<hex>   configs, manifests, uncompressed layers      manifest.json   docker-archive's list
//! index.json           OCI image index of the manifests             repositories    names, for old readers
//! oci-layout           version of the OCI layout
//! ```
//!
//! Read are such archives, plain OCI layouts, and docker-archives of every age down to Docker 1.10
//! (`<id>/layer.tar`, `<hex>.json`, links between layers), as skopeo, podman and umoci write them too;
//! the whole may be compressed. Reading is one pass over a stream: layers go into the store as they
//! come, before anything says what they belong to; what no image needs in the end is removed again.

mod documents;
mod gather;
mod input;
mod load;
mod pipe;
mod plan;
mod save;
#[cfg(test)]
mod tests;

pub use input::decompressed;
pub use load::{LoadOptions, Loaded, Loading};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use save::{Attest, Beside, Planned, Selected};

use crate::{ingest, store, unpack};
use hull_spec::{Digest, InvalidReference};
use std::io;

/// Why images could not be written or read. After a failed load no image, name or layer is new.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input cannot be read.
    #[error("read archive")]
    Read(#[source] io::Error),
    /// The output is not taken any more.
    #[error("write archive")]
    Write(#[source] io::Error),
    /// The input is no tar archive, or a damaged one.
    #[error("invalid archive")]
    Tar(#[from] unpack::Error),
    /// An archive of something else.
    #[error("invalid archive: it has neither manifest.json nor index.json: not an image archive")]
    NoImages,
    /// Written before Docker 1.10.
    #[error(
        "invalid archive: it has no manifest.json: archives from before Docker 1.10 are not supported"
    )]
    TooOld,
    /// No image in it is for the platform that was asked for.
    #[error("no image in the archive is for platform {0}")]
    NoPlatform(String),
    /// The saved images are for other platforms.
    #[error("no suitable export target found for platform {0}")]
    NothingToSave(String),
    /// An entry's name leads out of the archive.
    #[error("invalid archive: entry {0} is outside of it")]
    Outside(String),
    /// An entry's name or target is longer than any path.
    #[error("invalid archive: entry {0} has a name or target of more than 4096 bytes")]
    LongName(String),
    /// Something that is referred to is not there.
    #[error("invalid archive: {what} {path} is not in it")]
    Missing {
        /// What it would be.
        what: &'static str,
        /// Its name.
        path: String,
    },
    /// A document is not what it should be.
    #[error("invalid archive: {path}")]
    Parse {
        /// Which one.
        path: String,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// An entry's content is not what its name says.
    #[error("invalid archive: {path} has digest {actual}")]
    Digest {
        /// The entry.
        path: String,
        /// What it really is.
        actual: Digest,
    },
    /// Config and manifest differ in the number of layers.
    #[error("invalid manifest, layers length mismatch: expected {config}, got {manifest}")]
    LayerCount {
        /// In the config.
        config: usize,
        /// In the manifest.
        manifest: usize,
    },
    /// A layer is not the one that the config names.
    #[error("invalid diffID for layer {index}: expected \"{expected}\", got \"{actual}\"")]
    DiffId {
        /// Counted from the base, which is 0.
        index: usize,
        /// The config's.
        expected: Digest,
        /// The archive's.
        actual: Digest,
    },
    /// A name in the archive is none.
    #[error("invalid tag \"{name}\"")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Option<InvalidReference>,
    },
    /// More documents or names than any image has.
    #[error("invalid archive: its documents and names are larger than {limit} bytes together")]
    TooMuch {
        /// What is allowed.
        limit: usize,
    },
    /// Documents that refer to each other so often that reading them would never end.
    #[error("invalid archive: its documents refer to too many others")]
    TooMany,
    /// Links that lead to links for ever, or an index that holds itself.
    #[error("invalid archive: {0} leads round in circles")]
    Circle(String),
    /// A layer could not be added.
    #[error(transparent)]
    Layer(#[from] ingest::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file of the store could not be written.
    #[error("{operation}")]
    Io {
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}
