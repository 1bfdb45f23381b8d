//! Signatures of an image, where sigstore's tools leave them in its repository:
//!
//! ```text
//! sha256:<hex>  ◄─ tag `sha256-<hex>.sig` ──────────► manifest ─► layers: payload, signature as annotation
//!               ◄─ subject of an artifact (OCI 1.1) ─► the same manifest
//! ```

use super::evaluate::Signature;
use crate::Result;
use crate::image::registry_error;
use hull_registry::{Client, Credentials, Kind};
use hull_spec::image::{Descriptor, Manifest};
use hull_spec::{Digest, Reference};

/// The media type of a signed payload.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature, on the payload's descriptor.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The type of signatures that are attached as referrers.
const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// More signatures of one manifest than this are not looked at.
const MAX_SIGNATURES: usize = 64;
/// A payload longer than this is none: real ones have some hundred bytes.
const MAX_PAYLOAD: u64 = 64 << 10;

/// All signatures of these manifests.
pub(super) async fn signatures(
    registry: &Client,
    reference: &Reference,
    digests: &[Digest],
    auth: &Credentials,
) -> Result<Vec<Signature>> {
    let mut found: Vec<Signature> = Vec::new();
    for digest in digests {
        for manifest in manifests(registry, reference, digest, auth).await? {
            let layers = manifest.layers.iter().take(MAX_SIGNATURES);
            for layer in layers {
                if let Some(signature) = signature(registry, reference, layer, auth).await?
                    && !found.contains(&signature)
                {
                    found.push(signature);
                }
            }
        }
    }
    Ok(found)
}

async fn manifests(
    registry: &Client,
    reference: &Reference,
    digest: &Digest,
    auth: &Credentials,
) -> Result<Vec<Manifest>> {
    let mut documents = Vec::new();
    if let Ok(tagged) = reference.with_tag(&format!("sha256-{}.sig", digest.hex())) {
        match registry.resolve(&tagged, auth).await {
            Ok(resolved) => documents.push(resolved.bytes),
            Err(error) if matches!(error.kind(), Kind::NotFound) => {}
            Err(error) => return Err(registry_error(&error)),
        }
    }
    let referrers = registry
        .referrers(reference, digest, Some(ARTIFACT), auth)
        .await
        .map_err(|error| registry_error(&error))?;
    for descriptor in referrers
        .iter()
        .map(|found| &found.descriptor)
        .take(MAX_SIGNATURES)
    {
        let fetched = registry.fetch_document(reference, descriptor, auth).await;
        documents.push(fetched.map_err(|error| registry_error(&error))?);
    }
    // What is no manifest holds no signature, and then none is found.
    Ok(documents
        .iter()
        .filter_map(|bytes| serde_json::from_slice(bytes).ok())
        .collect())
}

async fn signature(
    registry: &Client,
    reference: &Reference,
    layer: &Descriptor,
    auth: &Credentials,
) -> Result<Option<Signature>> {
    let Some(signature) = layer.annotations.get(SIGNATURE) else {
        return Ok(None);
    };
    if layer.media_type != PAYLOAD || layer.size > MAX_PAYLOAD {
        return Ok(None);
    }
    let payload = registry
        .fetch_document(reference, layer, auth)
        .await
        .map_err(|error| registry_error(&error))?;
    Ok(String::from_utf8(payload.to_vec())
        .ok()
        .map(|payload| Signature {
            payload,
            signature: signature.clone(),
        }))
}
