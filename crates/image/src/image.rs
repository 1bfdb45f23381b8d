//! Images: what a row says about one, how it is found, and the names that point to it.

use hull_spec::image::{Descriptor, ImageConfig};
use hull_spec::{Digest, InvalidDigest, Reference};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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
    /// Names with a tag, sorted.
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
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// The manifest's descriptor and bytes; `None` for an image that came from no registry.
    pub manifest: Option<(&'a Descriptor, &'a [u8])>,
    /// The config's bytes.
    pub config: &'a [u8],
    /// Names to give: one with a digest becomes a repository digest, others are tags.
    pub names: &'a [Reference],
}

/// The largest manifest or config that is accepted: 4 MiB, the limit registries themselves state.
pub const MAX_DOCUMENT: usize = 4 << 20;
