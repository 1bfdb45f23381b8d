//! What can go wrong in the store.

use crate::image::ImageId;
use hull_spec::{Digest, InvalidReference};
use std::io;

/// Why a store operation failed. Texts that Docker's clients see are dockerd's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image has this name or id.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// No layer has this diffID, or nothing is left that its archive could be read from.
    #[error("layer {0} is not in the store; pull the image again")]
    NoSuchLayer(Digest),
    /// The image is there, but not for this platform.
    #[error(
        "image with reference {reference} was found but its platform ({found}) does not match the specified platform ({wanted})"
    )]
    WrongPlatform {
        /// What was asked for.
        reference: String,
        /// The platform that is there.
        found: String,
        /// The platform that was wanted.
        wanted: String,
    },
    /// The text is neither a name nor an id.
    #[error(transparent)]
    InvalidReference(#[from] InvalidReference),
    /// A removal that `force` cannot help.
    #[error("conflict: unable to delete {image} (cannot be forced) - {reason}")]
    HardConflict {
        /// The image's short id.
        image: String,
        /// Who stands in the way.
        reason: String,
    },
    /// A removal that has to be forced.
    #[error("conflict: unable to delete {image} (must be forced) - {reason}")]
    SoftConflict {
        /// The image's short id.
        image: String,
        /// Who stands in the way.
        reason: String,
    },
    /// Removing the last name of an image that a container uses.
    #[error(
        "conflict: unable to remove repository reference \"{reference}\" (must force) - container {container} is using its referenced image {image}"
    )]
    NameInUse {
        /// The name, as given.
        reference: String,
        /// The container's short id.
        container: String,
        /// The image's short id.
        image: String,
    },
    /// An image cannot be registered without its layers.
    #[error("image {image}: layer {layer} is not in the store")]
    MissingLayer {
        /// The image.
        image: ImageId,
        /// The layer's diffID.
        layer: Digest,
    },
    /// The manifest's bytes do not have the digest or size that its descriptor states.
    #[error("manifest {0} does not match its descriptor")]
    WrongManifest(Digest),
    /// A document is not what it should be.
    #[error("parse {what}")]
    Parse {
        /// Which document.
        what: &'static str,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The config's layers and the manifest's differ in number.
    #[error("manifest has {manifest} layers, its config {config}")]
    LayerCount {
        /// In the manifest.
        manifest: usize,
        /// In the config.
        config: usize,
    },
    /// Larger than [`crate::MAX_DOCUMENT`].
    #[error("document of {size} bytes is larger than 4 MiB")]
    DocumentTooLarge {
        /// Its size.
        size: usize,
    },
    /// No document has this digest.
    #[error("document {0} is not in the store")]
    NoSuchDocument(Digest),
    /// The file's bytes are not those it is named for.
    #[error("document {0} is damaged on disk; remove the image and pull it again")]
    DamagedDocument(Digest),
    /// The metadata database refused.
    #[error("{operation} image metadata")]
    Database {
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: Box<redb::Error>,
    },
    /// What has to stay leaves too little of the disk budget.
    #[error(
        "no room within the disk budget of {limit}: {needed} are needed, and {kept} are taken by what containers and other pulls use"
    )]
    NoRoom {
        /// At least so much.
        needed: String,
        /// The budget.
        limit: String,
        /// What cannot be removed.
        kept: String,
    },
    /// A row cannot be read or written.
    #[error("row {key} of table image.{table}")]
    Row {
        /// The table.
        table: &'static str,
        /// The row's key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The tables were written by a newer program.
    #[error("image tables have version {found}, this program knows {known}")]
    Schema {
        /// The version found.
        found: u64,
        /// The version known.
        known: u64,
    },
    /// A file operation failed.
    #[error("{operation}")]
    Io {
        /// What was done.
        operation: &'static str,
        /// Why it failed; names the path.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(operation: &'static str, source: io::Error) -> Self {
        Self::Io { operation, source }
    }
}
