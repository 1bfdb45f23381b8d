//! Images in OCI layouts that a build's client has (OCI image specification, `image-layout.md`).

use super::images::content_of;
use crate::{Engine, Platform};
use hull_build::blobs::Blobs;
use hull_build::graph::OciLayoutSource;
use hull_build::world::{
    Fetched, Job, Keep, Piece, ResolvedImage, SourceKey, Tree, WorldError, WorldResult,
};
use hull_spec::Digest;
use hull_spec::image::{Descriptor, Index, Layers, Manifest};
use serde::Deserialize;
use std::io::BufReader;
use std::sync::Arc;

/// An image of a layout, without its layers' bytes.
struct Found {
    blobs: Arc<dyn Blobs>,
    /// Of its manifest or index.
    digest: Digest,
    id: Digest,
    config: Vec<u8>,
    /// The digests of the layers' archives, and their blobs.
    layers: Vec<(Digest, Descriptor)>,
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> WorldError {
    WorldError::caused("invalid image in an OCI layout", error)
}

fn find(source: &OciLayoutSource, platform: &Platform, job: &Job<'_>) -> WorldResult<Found> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: Layers,
    }
    let digest = source.reference.rsplit_once('@').map(|(_, digest)| digest);
    let digest: Digest = digest
        .unwrap_or_default()
        .parse()
        .map_err(|_| WorldError::Invalid(format!("{} has no digest", source.reference)))?;
    let blobs = job.client.layout(source, job)?;
    let manifest = manifest(&*blobs, &digest, platform)?;
    let config = blobs.document(&manifest.config.digest)?;
    let read: Config = serde_json::from_slice(&config).map_err(invalid)?;
    if read.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(invalid("its config has another number of layers"));
    }
    let mut layers: Vec<_> = read
        .rootfs
        .diff_ids
        .into_iter()
        .zip(manifest.layers)
        .collect();
    if source.layer_limit > 0 {
        layers.truncate(source.layer_limit as usize);
    }
    Ok(Found {
        blobs,
        digest,
        id: manifest.config.digest,
        config,
        layers,
    })
}

/// The manifest; of an index, that of the image which serves the platform best.
fn manifest(blobs: &dyn Blobs, digest: &Digest, platform: &Platform) -> WorldResult<Manifest> {
    let bytes = blobs.document(digest)?;
    let Ok(index) = serde_json::from_slice::<Index>(&bytes) else {
        return serde_json::from_slice(&bytes).map_err(invalid);
    };
    let distance = |one: &Descriptor| match &one.platform {
        Some(own) => own.distance(platform),
        // Of an index of one image nobody says for what it is.
        None => Some(0),
    };
    let fitting = index.manifests.iter().filter(|one| distance(one).is_some());
    let found = fitting.min_by_key(|one| distance(one));
    let found = found.ok_or_else(|| {
        WorldError::NotFound(format!(
            "{digest}: no match for platform {platform} in index"
        ))
    })?;
    let bytes = blobs.document(&found.digest)?;
    serde_json::from_slice(&bytes).map_err(invalid)
}

/// What an image says of itself.
pub(super) fn resolve(
    source: &OciLayoutSource,
    platform: &Platform,
    job: &Job<'_>,
) -> WorldResult<ResolvedImage> {
    let found = find(source, platform, job)?;
    let layers: Vec<Digest> = found
        .layers
        .iter()
        .map(|(layer, _)| layer.clone())
        .collect();
    let content = content_of(&layers);
    Ok(ResolvedImage {
        reference: source.reference.clone(),
        digest: Some(found.digest),
        id: found.id,
        config: found.config,
        content: Some(content),
        keep: None,
    })
}

/// What its files are known by: its layers, as of every image.
pub(super) fn key(
    source: &OciLayoutSource,
    platform: &Platform,
    job: &Job<'_>,
) -> WorldResult<SourceKey> {
    let layers = find(source, platform, job)?.layers;
    let layers: Vec<Digest> = layers.into_iter().map(|(layer, _)| layer).collect();
    Ok(SourceKey::known(content_of(&layers)))
}

/// Brings its layers into the store, as far as they are not there. What it is known by says which those are: the client
/// is not asked for anything when they are here.
pub(super) fn fetch(
    engine: &Engine,
    (source, content): (&OciLayoutSource, Option<&str>),
    platform: &Platform,
    job: &Job<'_>,
) -> WorldResult<Fetched> {
    if let Some((layers, holds)) = content.and_then(|content| engine.hold_content(content)) {
        return Ok(Fetched {
            tree: Tree::Pieces(layers.into_iter().map(Piece::Layer).collect()),
            keep: Some(Keep::new(holds)),
        });
    }
    let found = find(source, platform, job)?;
    let (mut pieces, mut holds) = (Vec::new(), Vec::new());
    for (layer, blob) in &found.layers {
        job.cancel.check()?;
        let hold = match engine.store.hold_layer(layer) {
            Some(hold) => hold,
            None => {
                let bytes = found.blobs.read(&blob.digest)?;
                let imported = engine
                    .store
                    .import_layer(&mut BufReader::new(bytes), Some(layer));
                let imported = imported.map_err(|error| {
                    let error = crate::image::archive_error(error.into());
                    WorldError::other(format!("layer {layer}: {}", error.full_message()))
                })?;
                imported.hold
            }
        };
        holds.push(hold);
        pieces.push(Piece::Layer(layer.clone()));
    }
    Ok(Fetched {
        tree: Tree::Pieces(pieces),
        keep: Some(Keep::new(holds)),
    })
}
