//! Images of several platforms, and images with attestations: manifests, and an index of them that names point at, as
//! BuildKit's image exporter writes them (moby/buildkit `docs/attestations/attestation-storage.md`).

use super::export::{Layer, completed};
use super::tree::pieces;
use crate::{Engine, Error, ErrorKind, Reference, Result};
use hull_build::attest::{Attestation, Built, Wanted, inventory, provenance, statement};
use hull_build::solve::Solution;
use hull_build::world::Tree;
use hull_image::archive::Beside;
use hull_image::{Compression, Facts, ImageId, Registration};
use hull_spec::image::{Descriptor, ImageConfig, Index, Manifest, media_type as mt};
use hull_spec::{Digest, Platform};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The media type of in-toto statements.
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// One of the images of an index.
#[derive(Debug)]
pub struct Part<'a> {
    /// Its files; `None`: none.
    pub files: Option<&'a Solution>,
    /// Its config as the frontend made it.
    pub config: &'a [u8],
    /// What is attested of it.
    pub attestations: Vec<Attestation>,
}

/// An index that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeIndex {
    /// What the names point at.
    pub descriptor: Descriptor,
    /// The images' ids, in the order of the parts.
    pub images: Vec<Digest>,
}

/// A document with its description.
type Document = (Descriptor, Vec<u8>);

/// A part that has its documents.
struct Finished {
    config: Vec<u8>,
    manifest: Document,
    beside: Vec<Vec<u8>>,
    attested: Option<Descriptor>,
    /// Keeps the layers until the image's row does.
    _layers: Vec<Layer>,
}

impl Engine {
    /// Makes images, and an index of them that gets the names. Blocking.
    ///
    /// # Errors
    /// As [`Engine::export_image`]; nothing is registered then.
    pub fn export_index(
        self: &Arc<Self>,
        parts: &[Part<'_>],
        names: &[Reference],
        epoch: Option<i64>,
    ) -> Result<MadeIndex> {
        let mut finished = Vec::with_capacity(parts.len());
        for part in parts {
            finished.push(self.finish_part(part, names, epoch)?);
        }
        let manifests = finished.iter().map(|part| part.manifest.0.clone());
        let attested = finished.iter().filter_map(|part| part.attested.clone());
        let index = Index {
            schema_version: 2,
            media_type: Some(mt::OCI_INDEX.to_owned()),
            manifests: manifests.chain(attested).collect(),
            annotations: BTreeMap::new(),
        };
        let index = document(mt::OCI_INDEX, &index)?;
        let registrations: Vec<Registration<'_>> = finished
            .iter()
            .map(|part| Registration {
                index: Some((&index.0, &index.1)),
                manifest: Some((&part.manifest.0, &part.manifest.1)),
                beside: &part.beside,
                config: &part.config,
                names,
            })
            .collect();
        let ids = self.store.register_all_of(&registrations);
        let ids = ids.map_err(crate::image::store_error)?;
        for name in names {
            let chosen = self.store.resolve(&name.to_string());
            let chosen = chosen.map_err(crate::image::store_error)?;
            self.tell_about_image("tag", &chosen, &name.familiar());
        }
        Ok(MadeIndex {
            descriptor: index.0,
            images: ids.iter().map(|id| ImageId::digest(id).clone()).collect(),
        })
    }

    /// What is attested of an image that was built. Blocking.
    ///
    /// # Errors
    /// `Internal` when its files cannot be read.
    pub fn attestations(
        self: &Arc<Self>,
        wanted: &Wanted,
        built: &Built<'_>,
        files: Option<&Solution>,
    ) -> Result<Vec<Attestation>> {
        let mut all = Vec::new();
        if wanted.sbom {
            let none = Tree::empty();
            let tree = files.map_or(&none, |files| &files.tree);
            let solver = self.solver();
            let found = inventory(&**solver.world(), tree);
            let found = found.map_err(|error| super::export::world_error(&error))?;
            all.push(found.attestation(built.id, built.plan.began));
        }
        let terms = wanted.provenance.as_ref();
        all.extend(terms.map(|terms| provenance(built, terms)));
        Ok(all)
    }

    fn finish_part(
        &self,
        part: &Part<'_>,
        names: &[Reference],
        epoch: Option<i64>,
    ) -> Result<Finished> {
        let layers = match part.files.map(|files| &files.tree) {
            None => Vec::new(),
            Some(tree) => {
                let pieces = pieces(tree).map_err(|error| super::export::world_error(&error))?;
                self.layers_of(pieces, epoch)?
            }
        };
        let time = epoch.map(Timestamp::from_second).transpose();
        let time = time.map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "invalid SOURCE_DATE_EPOCH").caused_by(error)
        })?;
        let config = completed(part.config, &layers, time)?;
        let platform = platform_of(&config)?;
        let mut blobs = Vec::with_capacity(layers.len());
        for layer in &layers {
            let made = self
                .store
                .compress_layer(&layer.diff_id, Compression::default(), false);
            let mut blob = made.map_err(crate::image::store_error)?;
            // What was compressed for one of Docker's manifests is the same bytes.
            blob.media_type = mt::OCI_LAYER_GZIP.to_owned();
            blobs.push(blob);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(mt::OCI_MANIFEST.to_owned()),
            config: described(mt::OCI_CONFIG, &config),
            layers: blobs,
            annotations: BTreeMap::new(),
        };
        let mut manifest = document(mt::OCI_MANIFEST, &manifest)?;
        manifest.0.platform = Some(platform.clone());
        let (attested, beside) = attested(part, (&manifest.0, &platform), names)?;
        Ok(Finished {
            config,
            manifest,
            beside,
            attested,
            _layers: layers,
        })
    }
}

impl Part<'_> {
    /// What goes with its manifest, where something is attested of it.
    pub(super) fn beside(
        &self,
        manifest: &Descriptor,
        names: &[Reference],
    ) -> Result<Option<Beside>> {
        let platform = match &manifest.platform {
            Some(platform) => platform.clone(),
            None => platform_of(self.config)?,
        };
        let (descriptor, documents) = attested(self, (manifest, &platform), names)?;
        Ok(descriptor.map(|descriptor| Beside {
            descriptor,
            documents,
        }))
    }
}

fn platform_of(config: &[u8]) -> Result<Platform> {
    let read: ImageConfig = serde_json::from_slice(config).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, "failed to parse image config").caused_by(error)
    })?;
    Ok(Facts::of(&read).platform())
}

/// The manifest of what is attested of an image, as the index describes it, and all its documents.
fn attested(
    part: &Part<'_>,
    (image, platform): (&Descriptor, &Platform),
    names: &[Reference],
) -> Result<(Option<Descriptor>, Vec<Vec<u8>>)> {
    if part.attestations.is_empty() {
        return Ok((None, Vec::new()));
    }
    let mut beside = Vec::new();
    let mut layers = Vec::new();
    for attestation in &part.attestations {
        let bytes = statement(attestation, (&image.digest, platform), names);
        let mut layer = described(IN_TOTO, &bytes);
        let kind = attestation.predicate_type.clone();
        layer
            .annotations
            .insert("in-toto.io/predicate-type".to_owned(), kind);
        layers.push(layer);
        beside.push(bytes);
    }
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let config = serde_json::json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(mt::OCI_MANIFEST.to_owned()),
        config: described(mt::OCI_CONFIG, &config),
        layers,
        annotations: BTreeMap::new(),
    };
    let (mut descriptor, bytes) = document(mt::OCI_MANIFEST, &manifest)?;
    let digest = image.digest.to_string();
    let annotations = [
        ("vnd.docker.reference.digest", digest.as_str()),
        ("vnd.docker.reference.type", "attestation-manifest"),
    ];
    for (key, value) in annotations {
        descriptor
            .annotations
            .insert(key.to_owned(), value.to_owned());
    }
    descriptor.platform = Some(Platform {
        os: "unknown".to_owned(),
        architecture: "unknown".to_owned(),
        os_version: None,
        variant: None,
    });
    beside.extend([config, bytes]);
    Ok((Some(descriptor), beside))
}

/// A document as BuildKit writes it, and what describes it.
fn document(media_type: &str, value: &impl Serialize) -> Result<Document> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "could not write a manifest").caused_by(error)
    })?;
    Ok((described(media_type, &bytes), bytes))
}

pub(super) fn described(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::from_sha256(&Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
    }
}
