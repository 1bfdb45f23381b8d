//! Requests about manifests in registries: Hull's own.

use super::{Client, EncodedAuth, Error, Payload, Target};
use crate::json;
use crate::manifest::{IndexPush, PushedIndex, RemoteManifest};
use http::Method;

impl Client {
    /// Fetches a manifest or index from its registry.
    ///
    /// # Errors
    /// 404 when there is none; what the registry says.
    pub async fn remote_manifest(
        &self,
        name: &str,
        auth: EncodedAuth,
    ) -> Result<RemoteManifest, Error> {
        let target = Target::segments(&["hull", "manifests", name]);
        let payload = Payload::default().with_header("x-registry-auth", auth.into_header());
        let response = self.send(Method::GET, &target, payload).await?;
        Ok(json::from_slice(&super::read_body(response).await?)?)
    }

    /// Pushes an index.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn push_index(
        &self,
        name: &str,
        push: &IndexPush,
        auth: EncodedAuth,
    ) -> Result<PushedIndex, Error> {
        let target = Target::segments(&["hull", "manifests", name]);
        let payload = Payload::json(push)?.with_header("x-registry-auth", auth.into_header());
        let response = self.send(Method::PUT, &target, payload).await?;
        Ok(json::from_slice(&super::read_body(response).await?)?)
    }
}
