//! What refers to a manifest: signatures and other artifacts (distribution-spec 1.1, "Listing Referrers").

use crate::document::MAX_DOCUMENT;
use crate::{Client, Credentials, Error, Kind};
use hull_spec::image::Descriptor;
use hull_spec::{Digest, Reference};
use serde::Deserialize;

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Referrer>,
}

#[derive(Deserialize)]
struct Referrer {
    #[serde(rename = "artifactType", default)]
    artifact_type: String,
    #[serde(flatten)]
    descriptor: Descriptor,
}

impl Client {
    /// The manifests that name `digest` as their subject and have this artifact type. Registries from
    /// before the referrers API are asked for the tag that clients keep in its place.
    ///
    /// # Errors
    /// [`Error`]; nothing that refers is no error.
    pub async fn referrers(
        &self,
        reference: &Reference,
        digest: &Digest,
        artifact_type: &str,
        credentials: &Credentials,
    ) -> Result<Vec<Descriptor>, Error> {
        let paths = [
            format!("{}/referrers/{digest}", reference.path()),
            format!("{}/manifests/sha256-{}", reference.path(), digest.hex()),
        ];
        for path in &paths {
            let asked = self.over_places(reference, |endpoint| {
                let mut call = self.call(&endpoint, reference, credentials, path);
                call.accept = Some(ACCEPT);
                async move { self.document(&call, None, MAX_DOCUMENT).await }
            });
            let document = match asked.await {
                Ok(document) => document,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            let index: Index = serde_json::from_slice(&document.bytes).map_err(|error| {
                Error::Malformed(format!("referrers of {digest} are not valid: {error}"))
            })?;
            return Ok(index
                .manifests
                .into_iter()
                .filter(|referrer| referrer.artifact_type == artifact_type)
                .map(|referrer| referrer.descriptor)
                .collect());
        }
        Ok(Vec::new())
    }
}

/// Registries without the API answer all sorts of things to a path that they do not know.
fn is_absent(error: &Error) -> bool {
    error.kind() == Kind::NotFound
        || matches!(error, Error::Registry { status, .. } if matches!(status, 400 | 404 | 405))
}
