//! `/hull/manifests/{name}`: what Hull has beside the Docker API. See `docs/hull-api.md`.

use serde::{Deserialize, Serialize};

/// A manifest or index of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RemoteManifest {
    /// The reference in full.
    pub reference: String,
    /// What it is.
    pub descriptor: Descriptor,
    /// The document, base64.
    pub raw: String,
}

/// Media type, digest, length, and what an image is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: i64,
    /// Of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// What an image is for, as descriptors have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// Go's GOARCH.
    pub architecture: String,
    /// Go's GOOS.
    pub os: String,
    /// Windows images only.
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Windows images only.
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The processor's variant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// An index to push.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IndexPush {
    /// The media type of the index.
    pub media_type: String,
    /// The index, base64.
    pub raw: String,
    /// Manifests of it in other repositories of the same registry, as `repository@digest`.
    pub sources: Vec<String>,
}

/// What the push did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PushedIndex {
    /// What came from other repositories, by its new names.
    pub manifests: Vec<String>,
    /// The digest of the index.
    pub digest: String,
}
