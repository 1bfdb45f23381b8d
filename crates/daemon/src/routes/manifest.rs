//! `/hull/manifests/{name}`: manifests and indexes in registries.

use super::pull::who;
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_api::manifest::{Descriptor, IndexPush, Platform, PushedIndex, RemoteManifest};
use hull_engine::image::ImagePlatform;

/// Fetches one.
pub(crate) async fn get(request: Request) -> Result<Outcome, ApiError> {
    let auth = who(&request.headers);
    let engine = &request.app.engine;
    let found = engine.remote_manifest(&request.name, auth).await?;
    reply::ok(&RemoteManifest {
        reference: found.reference,
        raw: STANDARD.encode(&found.bytes),
        descriptor: Descriptor {
            media_type: found.media_type,
            digest: found.digest,
            size: i64::try_from(found.bytes.len()).unwrap_or(i64::MAX),
            platform: found.platform.map(platform),
        },
    })
}

fn platform(of: ImagePlatform) -> Platform {
    Platform {
        architecture: of.architecture,
        os: of.os,
        os_version: of.os_version,
        os_features: of.os_features,
        variant: of.variant,
    }
}

/// Pushes an index.
pub(crate) async fn put(mut request: Request) -> Result<Outcome, ApiError> {
    let credentials = who(&request.headers);
    let push: IndexPush = request.json().await?;
    let bytes = STANDARD
        .decode(&push.raw)
        .map_err(|error| ApiError::bad_request(format!("the index is not base64: {error}")))?;
    let push = hull_engine::image::IndexPush {
        reference: request.name.clone(),
        media_type: push.media_type,
        bytes,
        sources: push.sources,
        credentials,
    };
    let pushed = request.app.engine.push_index(push).await?;
    reply::ok(&PushedIndex {
        manifests: pushed.manifests,
        digest: pushed.digest,
    })
}
