//! The documents of a pull: index, manifest, config. What is in the store is not fetched again, so that
//! the pull of an image that is up to date is one request.

use super::Pull;
use crate::image::{parse_document as parse, registry_error};
use crate::{Error, ErrorKind, Platform, Result, blocking};
use hull_image::{Facts, ImageId};
use hull_registry::Resolved;
use hull_spec::Digest;
use hull_spec::image::{Descriptor, ImageConfig, Index, Manifest, media_type};
use std::sync::Arc;

/// An image's documents.
pub(super) struct Documents {
    /// What the reference points at, unless that is the manifest itself.
    pub(super) index: Option<(Descriptor, Vec<u8>)>,
    pub(super) manifest: Manifest,
    pub(super) descriptor: Descriptor,
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) config: ImageConfig,
    pub(super) config_bytes: Vec<u8>,
}

/// Types of configs that are images; the odd ones come from old registries, and dockerd takes them.
const CONFIGS: &[&str] = &[
    media_type::DOCKER_CONFIG,
    media_type::OCI_CONFIG,
    "application/octet-stream",
    "application/json",
    "text/html",
    "",
];

/// How the types of layers begin, foreign and compressed ones too.
const LAYERS: &[&str] = &[
    "application/vnd.docker.image.rootfs.",
    "application/vnd.oci.image.layer.",
];

/// Refuses what is no image, in dockerd's words: Helm charts, signatures, other artifacts.
fn check(manifest: &Manifest) -> Result<()> {
    let refused = |kind: &str| {
        let text = format!("unsupported media type {kind}");
        Err(Error::new(ErrorKind::InvalidInput, text))
    };
    let config = manifest.config.media_type.as_str();
    if !CONFIGS.contains(&config) {
        return refused(config);
    }
    for layer in &manifest.layers {
        let kind = layer.media_type.as_str();
        if !LAYERS.iter().any(|known| kind.starts_with(known)) {
            return refused(kind);
        }
    }
    Ok(())
}

/// A platform as it was asked for: nobody asks for the level of an amd64 processor.
fn wanted(platform: &Platform) -> Platform {
    let mut wanted = platform.clone();
    if wanted.architecture == "amd64" {
        wanted.variant = None;
    }
    wanted
}

impl Pull {
    /// Follows an index to the manifest of the platform, and the manifest to its config.
    pub(super) async fn documents(&self, resolved: Resolved) -> Result<Documents> {
        let (mut descriptor, mut bytes) = (resolved.descriptor, resolved.bytes.to_vec());
        let mut whole = None;
        if matches!(
            descriptor.media_type.as_str(),
            media_type::OCI_INDEX | media_type::DOCKER_LIST
        ) {
            let index: Index = parse("image index", &bytes)?;
            let chosen = index.select(&self.platform).ok_or_else(|| {
                let text = format!(
                    "no matching manifest for {} in the manifest list entries",
                    wanted(&self.platform)
                );
                Error::new(ErrorKind::NotFound, text)
            })?;
            let manifest = self.document(chosen).await?;
            let top = std::mem::replace(&mut descriptor, chosen.clone());
            whole = Some((top, std::mem::replace(&mut bytes, manifest)));
        }
        let manifest: Manifest = parse("image manifest", &bytes)?;
        check(&manifest)?;
        let config_bytes = self.document(&manifest.config).await?;
        let config: ImageConfig = parse("image config", &config_bytes)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            let text = format!(
                "the image's manifest has {} layers, its config {}",
                manifest.layers.len(),
                config.rootfs.diff_ids.len()
            );
            return Err(Error::new(ErrorKind::Internal, text));
        }
        Ok(Documents {
            index: whole,
            manifest,
            descriptor,
            manifest_bytes: bytes,
            config,
            config_bytes,
        })
    }

    /// A document from the store, or else from the registry.
    async fn document(&self, wanted: &Descriptor) -> Result<Vec<u8>> {
        let (engine, digest) = (Arc::clone(&self.engine), wanted.digest.clone());
        let here = blocking(move || Ok(engine.store.read_document(&digest).ok())).await?;
        if let Some(bytes) = here.filter(|bytes| u64::try_from(bytes.len()) == Ok(wanted.size)) {
            return Ok(bytes);
        }
        let registry = self.engine.registry();
        let fetched = registry.fetch_document(&self.reference, wanted, &self.auth);
        let bytes = fetched.await.map_err(|e| registry_error(&e))?;
        Ok(bytes.to_vec())
    }

    /// Whether the image is in the store whole.
    pub(super) async fn is_known(&self, documents: &Documents) -> Result<bool> {
        let id = ImageId::new(documents.manifest.config.digest.clone());
        let engine = Arc::clone(&self.engine);
        blocking(move || Ok(engine.store.has_whole(&id))).await
    }

    /// Whether the reference points at this document already, and stands for this image, which is
    /// in the store.
    pub(super) async fn is_up_to_date(&self, documents: &Documents, top: &Digest) -> Result<bool> {
        let (engine, name) = (Arc::clone(&self.engine), self.reference.clone());
        let (image, top) = (documents.manifest.config.digest.clone(), top.clone());
        let index = documents.index.is_some();
        blocking(move || {
            let target = engine
                .store
                .target(&name)
                .map_err(super::super::store_error)?;
            // With an index the other platforms that were pulled before are as good.
            let same = target.is_some_and(|target| target.digest == top);
            let resolved = engine.store.resolve(&name.familiar());
            let stands = resolved.is_ok_and(|id| *id.digest() == image);
            Ok(same && (index || stands))
        })
        .await
    }

    /// What dockerd says when a platform was asked for, and there is only an image for another.
    pub(super) fn foreign_platform(&self, documents: &Documents) -> Option<String> {
        let own = Facts::of(&documents.config).platform();
        if documents.index.is_some() || own.distance(&self.platform).is_some() || !self.asked {
            return None;
        }
        Some(format!(
            "WARNING: image with reference {} was found but its platform ({own}) does not match the specified platform ({})",
            self.reference.familiar(),
            self.platform
        ))
    }
}
