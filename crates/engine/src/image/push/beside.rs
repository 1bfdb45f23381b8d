//! What an index has beside images: attestations, whose layers are documents.

use super::{Push, store_error};
use crate::image::pull::registry_error;
use crate::{Error, ErrorKind, Result, blocking};
use bytes::Bytes;
use hull_registry::Pusher;
use hull_spec::Digest;
use hull_spec::image::{Descriptor, Manifest};
use std::sync::Arc;

impl Push {
    /// Pushes a manifest of documents, and them.
    pub(super) async fn push_beside(&self, pusher: &Pusher, manifest: &Descriptor) -> Result<()> {
        let bytes = self.document(&manifest.digest).await?;
        let read: Manifest = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(
                ErrorKind::Internal,
                "an attestation's manifest cannot be read",
            )
            .caused_by(e)
        })?;
        for part in read.layers.iter().chain([&read.config]) {
            let there = pusher.has_blob(&part.digest).await;
            if !there.map_err(|e| registry_error(&e))? {
                let bytes = self.document(&part.digest).await?;
                let put = pusher.put_blob(part, Bytes::from(bytes)).await;
                put.map_err(|e| registry_error(&e))?;
            }
        }
        let put = pusher.put_manifest(None, &manifest.media_type, bytes.into());
        put.await.map_err(|e| registry_error(&e)).map(drop)
    }

    async fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let (engine, digest) = (Arc::clone(&self.engine), digest.clone());
        blocking(move || engine.store.read_document(&digest).map_err(store_error)).await
    }
}
