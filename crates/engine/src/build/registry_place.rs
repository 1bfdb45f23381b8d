//! Caches in registries.

use super::elsewhere::{CachePlace, failed};
use crate::Engine;
use hull_build::world::{WorldError, WorldResult};
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use std::io::{self, Read};
use std::sync::Arc;

/// A cache in a repository of a registry's.
pub struct RegistryPlace {
    engine: Arc<Engine>,
    reference: crate::Reference,
    credentials: crate::image::Credentials,
    runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for RegistryPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryPlace")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

impl RegistryPlace {
    /// The tag or digest `reference`.
    #[must_use]
    pub fn new(
        engine: &Arc<Engine>,
        reference: crate::Reference,
        credentials: crate::image::Credentials,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            reference,
            credentials,
            runtime,
        }
    }
}

fn told(error: &hull_registry::Error) -> WorldError {
    let error = crate::image::registry_error(error);
    match error.kind() {
        crate::ErrorKind::NotFound => WorldError::NotFound(error.full_message()),
        _ => failed(&error),
    }
}

impl CachePlace for RegistryPlace {
    fn manifest(&self) -> WorldResult<Vec<u8>> {
        let auth = crate::image::auth(self.credentials.clone());
        let registry = self.engine.registry();
        let found = registry.resolve(&self.reference, &auth);
        let found = self.runtime.block_on(found).map_err(|error| told(&error))?;
        Ok(found.bytes.to_vec())
    }

    fn document(&self, blob: &Descriptor) -> WorldResult<Vec<u8>> {
        let auth = crate::image::auth(self.credentials.clone());
        let registry = self.engine.registry();
        let found = registry.fetch_document(&self.reference, blob, &auth);
        let found = self.runtime.block_on(found).map_err(|error| told(&error))?;
        Ok(found.to_vec())
    }

    fn blob(&self, blob: &Descriptor) -> WorldResult<Box<dyn Read + Send>> {
        use futures_util::StreamExt as _;
        let auth = crate::image::auth(self.credentials.clone());
        let registry = self.engine.registry();
        let found = registry.fetch_blob(&self.reference, blob, 0, &auth);
        let found = self.runtime.block_on(found).map_err(|error| told(&error))?;
        let pieces = found.map(|piece| piece.map_err(io::Error::other)).boxed();
        let _runtime = self.runtime.enter();
        Ok(Box::new(crate::stream::Reader::new(pieces)))
    }

    fn put_layers(&self, layers: &[Digest]) -> WorldResult<Vec<Descriptor>> {
        let credentials = self.credentials.clone();
        let pushed = self
            .engine
            .push_layers(&self.reference, credentials, layers.to_vec());
        self.runtime
            .block_on(pushed)
            .map_err(|error| failed(&error))
    }

    fn put_document(&self, blob: &Descriptor, bytes: &[u8]) -> WorldResult<()> {
        let bytes = bytes.to_vec().into();
        let put = async {
            let auth = crate::image::auth(self.credentials.clone());
            let pusher = self
                .engine
                .registry()
                .pusher(&self.reference, &auth)
                .await?;
            match pusher.has_blob(&blob.digest).await? {
                true => Ok(()),
                false => pusher.put_blob(blob, bytes).await,
            }
        };
        self.runtime.block_on(put).map_err(|error| told(&error))
    }

    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> WorldResult<()> {
        let put = async {
            let auth = crate::image::auth(self.credentials.clone());
            let pusher = self
                .engine
                .registry()
                .pusher(&self.reference, &auth)
                .await?;
            let bytes = bytes.to_vec().into();
            let tag = self.reference.tag();
            pusher.put_manifest(tag, &manifest.media_type, bytes).await
        };
        let put = self.runtime.block_on(put);
        put.map(drop).map_err(|error| told(&error))
    }
}
