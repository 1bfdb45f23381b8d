//! Images, and how they come.

mod distribution;
mod import;
mod inspect;
pub(crate) mod instructions;
mod list;
mod load;
mod login;
mod manifest;
mod prune;
mod pull;
mod push;
mod remove;
mod save;
mod search;
mod tag;
mod tell;

pub use distribution::Distribution;
pub use import::ImportRequest;
pub(crate) use import::new_name;
pub(crate) use inspect::snapshot_of;
pub use list::{ImageListOptions, ImageSummary, ManifestKind, ManifestSummary, Platforms};
pub use load::LoadStep;
pub use manifest::{ImagePlatform, IndexPush, PushedIndex, RemoteManifest};
pub use prune::Pruned;
pub(crate) use pull::{Pulls, auth, registry_error};
pub(crate) use push::Pushes;
pub use push::{Compression, PushRequest, PushStep};
pub use search::{FoundImage, SearchRequest};

use crate::{Config, Error, ErrorKind, Platform, Result};
pub use hull_registry::shown_url;
pub use hull_spec::image::{ContainerConfig, Descriptor, ImageConfig};
use jiff::Timestamp;
use std::fmt;
use std::sync::Arc;

/// What to pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullRequest {
    /// A repository with or without tag or digest, as typed.
    pub reference: String,
    /// `os/arch[/variant]`; `None`: the host's.
    pub platform: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
}

/// How to show a registry who asks. Never shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    /// Nobody in particular.
    Anonymous,
    /// A user with a password.
    Basic {
        /// The user.
        username: String,
        /// The password, or an access token.
        password: String,
    },
    /// A refresh token of the registry's token service.
    IdentityToken(String),
    /// A token for the registry itself.
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic",
            Self::IdentityToken(_) => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
        })
    }
}

/// One line of a pull's progress, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// A layer's short id, or the tag; empty for the whole.
    pub id: String,
    /// `Pulling fs layer`, `Downloading`, `Status: Downloaded newer image for …`.
    pub status: String,
    /// Bytes done, and of how many.
    pub bytes: Option<(u64, u64)>,
}

/// An image in the store.
#[derive(Clone, Debug)]
pub struct ImageDetails {
    /// `sha256:…`, the digest of the configuration.
    pub id: String,
    /// `busybox:latest`, shortened as Docker shows them.
    pub repo_tags: Vec<String>,
    /// `busybox@sha256:…`.
    pub repo_digests: Vec<String>,
    /// The image's configuration.
    pub config: Arc<ImageConfig>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// When it last got a name.
    pub last_tagged: Option<Timestamp>,
    /// In the storage driver's words.
    pub snapshot: crate::container::Snapshot,
}

/// What became of an image, or of one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// This name is gone.
    Untagged(String),
    /// This image is gone.
    Deleted(String),
}

/// Which image to remove, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Although containers that do not run use it, or it has several names.
    pub force: bool,
    /// Leave untagged parents.
    pub no_prune: bool,
    /// Only these platforms; the name goes with the last one. None means all.
    pub platforms: Vec<Platform>,
}

/// One step of an image's history, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryStep {
    /// Of the newest step the image's, else empty.
    pub id: String,
    /// When.
    pub created: Option<Timestamp>,
    /// By which instruction.
    pub created_by: String,
    /// Free text.
    pub comment: String,
    /// Bytes of its layer.
    pub size: u64,
    /// Names of the image that it ends.
    pub tags: Vec<String>,
}

/// The registry client's settings.
pub(crate) fn registry_config(config: &Config) -> Result<hull_registry::Config> {
    let invalid =
        |e: hull_registry::InvalidConfig| Error::new(ErrorKind::InvalidInput, e.to_string());
    Ok(hull_registry::Config {
        insecure: config
            .insecure_registries
            .iter()
            .map(|text| text.parse().map_err(invalid))
            .collect::<Result<_>>()?,
        mirrors: config
            .registry_mirrors
            .iter()
            .map(|text| hull_registry::parse_mirror(text).map_err(invalid))
            .collect::<Result<_>>()?,
        host_dirs: config.registry_config_dirs.clone(),
        proxies: config.proxies.clone(),
        retry: hull_registry::Retry {
            attempts: config.limits.attempts.saturating_sub(1),
            ..hull_registry::Retry::default()
        },
        ..hull_registry::Config::default()
    })
}

/// The store's errors by kind.
pub(crate) fn store_error(error: hull_image::Error) -> Error {
    use hull_image::Error as Store;
    let kind = match &error {
        Store::NoSuchImage(_) | Store::WrongPlatform { .. } => ErrorKind::NotFound,
        Store::InvalidReference(_) => ErrorKind::InvalidInput,
        Store::HardConflict { .. } | Store::SoftConflict { .. } | Store::NameInUse { .. } => {
            ErrorKind::Conflict
        }
        Store::Parse { .. }
        | Store::LayerCount { .. }
        | Store::WrongManifest(_)
        | Store::DocumentTooLarge { .. } => ErrorKind::InvalidInput,
        _ => ErrorKind::Internal,
    };
    wrapped(kind, &error)
}

/// Reads a document that came from a registry.
pub(crate) fn parse_document<T: serde::de::DeserializeOwned>(
    what: &str,
    bytes: &[u8],
) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        let text = format!("the registry's {what} cannot be read");
        Error::new(ErrorKind::Internal, text).caused_by(e)
    })
}

/// The archives' errors.
pub(crate) fn archive_error(error: hull_image::archive::Error) -> Error {
    use hull_image::archive::Error as Archive;
    match error {
        Archive::Store(error) => store_error(error),
        // dockerd answers 500 to this.
        error => wrapped(ErrorKind::Internal, &error),
    }
}

/// The snapshots' errors.
pub(crate) fn snapshot_error(error: hull_image::snapshot::Error) -> Error {
    wrapped(ErrorKind::Internal, &error)
}

/// An error's text with its causes behind it.
pub(crate) fn wrapped(kind: ErrorKind, error: &dyn std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Error::new(kind, text)
}
