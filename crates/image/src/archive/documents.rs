//! The documents of an image archive.

use hull_spec::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names of the entries.
pub(super) const BLOBS: &str = "blobs/sha256/";
pub(super) const INDEX: &str = "index.json";
pub(super) const LAYOUT: &str = "oci-layout";
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const REPOSITORIES: &str = "repositories";

/// What dockerd writes, blank and all.
pub(super) const LAYOUT_VERSION: &str = r#"{"imageLayoutVersion": "1.0.0"}"#;
/// Annotation with the full name, as containerd and dockerd write it.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";
/// The specification's annotation: a tag, or whatever the writer calls the image.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One element of `manifest.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Item {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) layer_sources: BTreeMap<Digest, LayerSource>,
}

/// A descriptor with its members in the order in which dockerd writes them here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayerSource {
    pub(super) media_type: String,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// `repositories`: repository → tag → the topmost layer.
pub(super) type Repositories = BTreeMap<String, BTreeMap<String, String>>;
