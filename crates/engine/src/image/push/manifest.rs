//! The manifest that is pushed: the one that the image came with, or one made anew.

use super::{Push, Pushed, store_error};
use crate::image::pull::registry_error;
use crate::{Error, ErrorKind, Result, blocking};
use bytes::Bytes;
use hull_image::{Compression, Image};
use hull_registry::Pusher;
use hull_spec::image::{Descriptor, Manifest, media_type as mt};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Push {
    /// Pushes an image's layers and config, and gives its manifest, which is not there yet.
    pub(super) async fn push_image(&self, pusher: &Pusher, image: Image) -> Result<Pushed> {
        let original = self.original(&image).await?;
        let layers = self.push_layers(pusher, &image, original.as_ref()).await?;
        let (descriptor, bytes) = match original {
            Some(own) if own.manifest.layers == layers => (own.descriptor, own.bytes),
            own => make(&image, layers, own.as_ref())?,
        };
        self.push_config(pusher, &image, &bytes).await?;
        self.record(&descriptor, &bytes, Some(&image)).await?;
        Ok(Pushed {
            descriptor,
            bytes,
            instead_of: None,
        })
    }

    /// The manifest that the image came with, if it has one that is understood.
    async fn original(&self, image: &Image) -> Result<Option<Original>> {
        let Some(descriptor) = image.manifest.clone() else {
            return Ok(None);
        };
        let (engine, digest) = (Arc::clone(&self.engine), descriptor.digest.clone());
        let bytes =
            blocking(move || engine.store.read_document(&digest).map_err(store_error)).await?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(ErrorKind::Internal, "the image's manifest cannot be read").caused_by(e)
        })?;
        let fits = manifest.layers.len() == image.layers.len()
            && manifest.config.digest == *image.id.digest();
        Ok(fits.then_some(Original {
            descriptor,
            bytes,
            manifest,
        }))
    }

    async fn push_config(&self, pusher: &Pusher, image: &Image, manifest: &[u8]) -> Result<()> {
        let manifest: Manifest = serde_json::from_slice(manifest).map_err(|e| {
            Error::new(ErrorKind::Internal, "the image's manifest cannot be read").caused_by(e)
        })?;
        let config = &manifest.config;
        let put = async {
            if pusher.has_blob(&config.digest).await? {
                return Ok(());
            }
            let bytes = Bytes::from(image.config_bytes.clone());
            pusher.put_blob(config, bytes).await
        };
        put.await.map_err(|e| registry_error(&e))
    }
}

/// A manifest that an image came with.
pub(super) struct Original {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Manifest,
}

/// Makes a manifest: of the family that the image came in, Docker's for an image that came from no
/// registry, and the OCI's where a layer has a form that Docker's does not know.
fn make(
    image: &Image,
    layers: Vec<Descriptor>,
    original: Option<&Original>,
) -> Result<(Descriptor, Vec<u8>)> {
    let zstd =
        |layer: &Descriptor| Compression::of(&layer.media_type).is_like(Compression::Zstd(0));
    let oci = original.is_some_and(|own| own.descriptor.media_type == mt::OCI_MANIFEST)
        || layers.iter().any(zstd);
    let config = Descriptor {
        media_type: if oci {
            mt::OCI_CONFIG
        } else {
            mt::DOCKER_CONFIG
        }
        .to_owned(),
        digest: image.id.digest().clone(),
        size: image.config_bytes.len() as u64,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
    };
    let media_type = if oci {
        mt::OCI_MANIFEST
    } else {
        mt::DOCKER_MANIFEST
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type.to_owned()),
        config,
        layers: layers.into_iter().map(|layer| named(layer, oci)).collect(),
        annotations: original.map_or_else(BTreeMap::new, |own| own.manifest.annotations.clone()),
    };
    // Indented as dockerd writes it: the same layers then give the same digest.
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    serde::Serialize::serialize(&manifest, &mut writer).map_err(|e| {
        Error::new(ErrorKind::Internal, "the manifest cannot be written").caused_by(e)
    })?;
    let descriptor = Descriptor {
        media_type: media_type.to_owned(),
        digest: hull_spec::Digest::from_sha256(&Sha256::digest(&bytes).into()),
        size: bytes.len() as u64,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
    };
    Ok((descriptor, bytes))
}

/// A layer with the media type that the manifest's family has for its form; foreign layers as they are.
fn named(mut layer: Descriptor, oci: bool) -> Descriptor {
    if layer.urls.is_empty() {
        let form = Compression::of(&layer.media_type);
        layer.media_type = form.media_type(!oci).to_owned();
    }
    layer
}
