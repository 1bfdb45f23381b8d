//! Images: what a row says about one, how it is found, and the names that point to it.

use crate::rows::ImageRow;
use hull_spec::image::{Descriptor, ImageConfig};
use hull_spec::{Digest, InvalidDigest, Platform, Reference};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

/// An image's identity: the digest of its config, as Docker shows it in `docker images`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(Digest);

impl ImageId {
    /// The id of the image whose config has this digest.
    #[must_use]
    pub fn new(config: Digest) -> Self {
        Self(config)
    }

    /// The config's digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0
    }

    /// The first twelve hexadecimal digits.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.short()
    }

    /// The whole text, `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for ImageId {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        text.parse().map(Self)
    }
}

/// What lists show of an image's config; kept with its row, so that a list reads no config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// When the image was made, RFC 3339, as the config has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Go's GOOS.
    pub os: String,
    /// Go's GOARCH.
    pub architecture: String,
    /// The processor's variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Labels; `None` and empty are kept apart, as Docker shows them apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

impl Facts {
    /// Those of this config.
    #[must_use]
    pub fn of(config: &ImageConfig) -> Self {
        let labels = config.config.as_ref().and_then(|c| c.labels.clone());
        Self {
            created: config.created.clone(),
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone().filter(|v| !v.is_empty()),
            labels,
        }
    }

    /// What the image runs on. A config that does not say so, such as that of an old import, is
    /// taken for the host's.
    #[must_use]
    pub fn platform(&self) -> Platform {
        let host = Platform::host();
        let or = |own: &str, host: String| match own {
            "" => host,
            own => own.to_owned(),
        };
        Platform {
            os: or(&self.os, host.os),
            architecture: or(&self.architecture, host.architecture),
            os_version: None,
            variant: self.variant.clone(),
        }
    }
}

/// What a list says about one image. Made from memory: no file is read.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its id.
    pub id: ImageId,
    /// Names with a tag that stand for this image, sorted; of one that is `beside` those that have
    /// it as one of several platforms.
    pub tags: Vec<Reference>,
    /// Names with a digest, likewise.
    pub repo_digests: Vec<Reference>,
    /// Whether a name stands for several platforms of which this is one, but another was chosen:
    /// it is listed with that one.
    pub beside: bool,
    /// The document that its first name points at, or the manifest it was pulled by.
    pub target: Option<Arc<Descriptor>>,
    /// The sum of the layers: Docker's `Size`.
    pub size: u64,
    pub(crate) row: Arc<ImageRow>,
}

impl Summary {
    /// From its config.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        static NONE: LazyLock<Facts> = LazyLock::new(Facts::default);
        self.row.facts.as_ref().unwrap_or(&NONE)
    }

    /// The layers' diffIDs, the base first.
    #[must_use]
    pub fn layers(&self) -> &[Digest] {
        &self.row.layers
    }

    /// The manifest it was pulled by.
    #[must_use]
    pub fn manifest(&self) -> Option<&Descriptor> {
        self.row.manifest.as_ref()
    }
}

/// One entry of an index, or the manifest of an image that has no index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformImage {
    /// The manifest, as the index describes it.
    pub manifest: Descriptor,
    /// The image, when its layers are in the store.
    pub image: Option<ImageId>,
}

/// Everything the store knows about one image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// The parsed config.
    pub config: ImageConfig,
    /// The config's bytes, from which the id is made.
    pub config_bytes: Vec<u8>,
    /// The manifest it was pulled by; [`crate::Store::read_document`] gives its bytes.
    pub manifest: Option<Descriptor>,
    /// Names with a tag, sorted; also those that stand for several platforms, of which this is one.
    pub tags: Vec<Reference>,
    /// Names with a digest (Docker's `RepoDigests`), sorted.
    pub repo_digests: Vec<Reference>,
    /// The layers' diffIDs, the base first.
    pub layers: Vec<Digest>,
    /// Bytes that each layer's files hold when unpacked, in the order of `layers`.
    pub layer_sizes: Vec<u64>,
    /// The sum of `layer_sizes`: Docker's `Size`.
    pub size: u64,
    /// When a name was last given to it, nanoseconds since 1970; 0 when never.
    pub tagged_at: i64,
}

/// What [`crate::Store::register`] records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registration<'a> {
    /// The index that has the manifest, descriptor and bytes: what the names point at, kept whole.
    pub index: Option<(&'a Descriptor, &'a [u8])>,
    /// The manifest's descriptor and bytes; `None` for an image that came from no registry.
    pub manifest: Option<(&'a Descriptor, &'a [u8])>,
    /// Documents that the index names, directly or not, and that are no images: attestations. They stay as long as
    /// the index.
    pub beside: &'a [Vec<u8>],
    /// The config's bytes.
    pub config: &'a [u8],
    /// Names to give: one with a digest becomes a repository digest, others are tags.
    pub names: &'a [Reference],
}

/// The largest manifest or config that is accepted: 4 MiB, the limit registries themselves state.
pub const MAX_DOCUMENT: usize = 4 << 20;
