//! The manifest that is pushed: the one that the image came with, or one made anew.

use super::{Push, Pushed, store_error};
use crate::image::pull::registry_error;
use crate::{Error, ErrorKind, Result, blocking};
use bytes::Bytes;
use hull_image::{Compression, Image, PlatformImage};
use hull_registry::Pusher;
use hull_spec::image::{Descriptor, Manifest, media_type as mt};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Push {
    /// Pushes an image's layers and config, and gives its manifest, which is not there yet.
    pub(super) async fn push_image(&self, pusher: &Pusher, image: Image) -> Result<Pushed> {
        let holds = self.hold(std::slice::from_ref(&image.id))?;
        let original = self.original(&image).await?;
        let layers = self
            .push_layers(pusher, (Some(&image.id), &image.layers), original.as_ref())
            .await?;
        let (descriptor, bytes) = match original {
            Some(own) if own.manifest.layers == layers => (own.descriptor, own.bytes),
            own => make(&image, layers, own.as_ref())?,
        };
        self.push_config(pusher, &image, &bytes).await?;
        Ok(Pushed {
            descriptor,
            bytes,
            instead_of: None,
            image: Some(image),
            _holds: holds,
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

    /// An index names its manifests by their digests: with layers of another form it cannot be pushed,
    /// which is said before anything is uploaded.
    pub(super) async fn refuse_other_form(&self, parts: &[PlatformImage]) -> Result<()> {
        let Some(forced) = self.compression else {
            return Ok(());
        };
        for part in parts {
            let Some(id) = part.image.clone() else {
                continue;
            };
            let engine = Arc::clone(&self.engine);
            let mut image = blocking(move || engine.store.image(&id).map_err(store_error)).await?;
            image.manifest = Some(part.manifest.clone());
            let layers = self.original(&image).await?.map(|own| own.manifest.layers);
            let fits = |layer: &Descriptor| {
                !layer.urls.is_empty() || Compression::of(&layer.media_type).is_like(forced)
            };
            if !layers.is_some_and(|layers| layers.iter().all(fits)) {
                let text = format!(
                    "the layers of the index's manifest {} have another compression, with which the index would no longer name it: push one platform with --platform",
                    part.manifest.digest
                );
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
        }
        Ok(())
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
    let bytes = written(&manifest).map_err(|e| {
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

/// A manifest as dockerd writes it, to the byte: the same layers then have the same digest.
fn written(manifest: &Manifest) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    Written {
        schema_version: manifest.schema_version,
        media_type: manifest.media_type.as_deref(),
        config: Part::of(&manifest.config),
        layers: manifest.layers.iter().map(Part::of).collect(),
        annotations: &manifest.annotations,
    }
    .serialize(&mut writer)?;
    Ok(bytes)
}

/// [`Manifest`] with the members in dockerd's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<&'a str>,
    config: Part<'a>,
    layers: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    urls: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> Part<'a> {
    fn of(part: &'a Descriptor) -> Self {
        Self {
            media_type: &part.media_type,
            size: part.size,
            digest: part.digest.as_str(),
            urls: &part.urls,
            annotations: &part.annotations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_dockerds_to_the_byte() {
        // As dockerd 28.5 pushed it for an image of one layer.
        let text = r#"{
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
   "config": {
      "mediaType": "application/vnd.docker.container.image.v1+json",
      "size": 900,
      "digest": "sha256:43e6544e9b358430507f424d12a963a597be4c90a707cacc387cfb57fa25157f"
   },
   "layers": [
      {
         "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
         "size": 1141410,
         "digest": "sha256:146a0b398e7f06dfe2c1f374d2ac3effca17633e2711bbe0c7f6d5bb53008283"
      }
   ]
}"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        assert_eq!(
            String::from_utf8(written(&manifest).unwrap()).unwrap(),
            text
        );
    }
}
