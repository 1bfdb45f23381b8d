//! Manifests and indexes in registries, for those who put indexes together by hand: `manifest`.

use super::pull::{auth, registry_error};
use super::{Credentials, wrapped};
use crate::{Engine, Error, ErrorKind, Reference, Result};
use hull_registry::{Credentials as Auth, Mount, Pusher};
use hull_spec::image::{Descriptor, Index, Manifest, media_type};
use serde::{Deserialize, Serialize};

/// A manifest or index as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteManifest {
    /// The reference in full.
    pub reference: String,
    /// Its media type.
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// The document itself.
    pub bytes: Vec<u8>,
    /// What the image's config says that it is for; `None` for indexes and for what is no image.
    pub platform: Option<ImagePlatform>,
}

/// What an image is for, as configs and descriptors of indexes write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImagePlatform {
    /// Go's GOARCH.
    pub architecture: String,
    /// Go's GOOS.
    pub os: String,
    /// Windows images only.
    #[serde(rename = "os.version")]
    pub os_version: String,
    /// Windows images only.
    #[serde(rename = "os.features")]
    pub os_features: Vec<String>,
    /// The processor's variant.
    pub variant: String,
}

/// An index to push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexPush {
    /// Where to, with its tag.
    pub reference: String,
    /// The media type of the index.
    pub media_type: String,
    /// The index itself.
    pub bytes: Vec<u8>,
    /// Manifests of it that lie in other repositories of the same registry, as `repository@digest`.
    pub sources: Vec<String>,
    /// Who pushes.
    pub credentials: Credentials,
}

/// What a push of an index did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedIndex {
    /// The manifests that came from other repositories, as `repository@digest` of the new place.
    pub manifests: Vec<String>,
    /// The digest of the index.
    pub digest: String,
}

fn parse_reference(text: &str) -> Result<Reference> {
    let parsed: std::result::Result<Reference, _> = text.parse();
    parsed
        .map(Reference::with_default_tag)
        .map_err(|e| Error::new(ErrorKind::InvalidInput, e.to_string()))
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, format!("{what} cannot be read")).caused_by(e)
    })
}

impl Engine {
    /// Fetches the manifest or index of a reference, and the platform of an image from its config.
    ///
    /// # Errors
    /// `InvalidInput` for what is no reference, and what the registry says.
    pub async fn remote_manifest(
        &self,
        name: &str,
        credentials: Credentials,
    ) -> Result<RemoteManifest> {
        let reference = parse_reference(name)?;
        let auth = auth(credentials);
        let resolved = self.registry().resolve(&reference, &auth).await;
        let resolved = resolved.map_err(|e| registry_error(&e))?;
        let kind = resolved.descriptor.media_type.as_str();
        let mut platform = None;
        if matches!(kind, media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) {
            let manifest: Manifest = parse("the manifest", &resolved.bytes)?;
            let config = self
                .registry()
                .fetch_document(&reference, &manifest.config, &auth)
                .await
                .map_err(|e| registry_error(&e))?;
            platform = serde_json::from_slice::<ImagePlatform>(&config)
                .ok()
                .filter(|platform| !platform.os.is_empty());
        }
        Ok(RemoteManifest {
            reference: reference.to_string(),
            media_type: resolved.descriptor.media_type,
            digest: resolved.descriptor.digest.to_string(),
            bytes: resolved.bytes.to_vec(),
            platform,
        })
    }

    /// Pushes an index. Its manifests of other repositories are put beside it, with their blobs mounted.
    ///
    /// # Errors
    /// `InvalidInput` for what is no index, and for manifests in another registry; what the registry says.
    pub async fn push_index(&self, push: IndexPush) -> Result<PushedIndex> {
        let target = parse_reference(&push.reference)?;
        let Some(tag) = target.tag() else {
            let text = "an index is pushed to a tag, not to a digest";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        };
        let known = [media_type::OCI_INDEX, media_type::DOCKER_LIST];
        if !known.contains(&push.media_type.as_str()) {
            let text = format!("{:?} is no media type of an index", push.media_type);
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let index: Index = parse("the index", &push.bytes)?;
        let mut sources = Vec::new();
        for text in &push.sources {
            sources.push(source(text, &target, &index)?);
        }
        let auth = auth(push.credentials);
        let pusher = self.registry().pusher(&target, &auth).await;
        let pusher = pusher.map_err(|e| registry_error(&e))?;
        let mut manifests = Vec::new();
        for source in &sources {
            let copied = self.copy_manifest(source, &pusher, &auth).await?;
            manifests.push(target.with_digest(&copied).familiar());
        }
        let digest = pusher
            .put_manifest(Some(tag), &push.media_type, push.bytes.into())
            .await
            .map_err(|e| registry_error(&e))?;
        Ok(PushedIndex {
            manifests,
            digest: digest.to_string(),
        })
    }

    /// Puts a manifest and its blobs into another repository of the same registry.
    async fn copy_manifest(
        &self,
        source: &Reference,
        pusher: &Pusher,
        auth: &Auth,
    ) -> Result<hull_spec::Digest> {
        let resolved = self.registry().resolve(source, auth).await;
        let resolved = resolved.map_err(|e| registry_error(&e))?;
        let manifest: Manifest = parse("a manifest", &resolved.bytes)?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            // Foreign layers lie elsewhere.
            if blob.urls.is_empty() {
                mount(pusher, blob, source).await?;
            }
        }
        let kind = resolved.descriptor.media_type;
        let put = pusher.put_manifest(None, &kind, resolved.bytes).await;
        put.map_err(|e| registry_error(&e))
    }
}

/// A manifest of the index that lies in another repository of the target's registry.
fn source(text: &str, target: &Reference, index: &Index) -> Result<Reference> {
    let invalid = |text: String| Error::new(ErrorKind::InvalidInput, text);
    let source: Reference = text
        .parse()
        .map_err(|_| invalid(format!("{text:?} is no manifest")))?;
    let known = index.manifests.iter().map(|manifest| &manifest.digest);
    if !source
        .digest()
        .is_some_and(|digest| known.into_iter().any(|known| known == digest))
    {
        return Err(invalid(format!("{source} is no manifest of the index")));
    }
    if source.domain() != target.domain() {
        return Err(invalid(format!(
            "cannot use source images from a different registry than the target image: {} != {}",
            source.domain(),
            target.domain()
        )));
    }
    Ok(source)
}

async fn mount(pusher: &Pusher, blob: &Descriptor, source: &Reference) -> Result<()> {
    let there = pusher.has_blob(&blob.digest).await;
    if there.map_err(|e| registry_error(&e))? {
        return Ok(());
    }
    match pusher.mount(&blob.digest, source.path()).await {
        Ok(Mount::Mounted) => Ok(()),
        Ok(Mount::Begun(_)) => {
            let text = format!(
                "the registry does not mount {} from {}",
                blob.digest,
                source.path()
            );
            Err(Error::new(ErrorKind::Internal, text))
        }
        Err(error) => Err(wrapped(ErrorKind::Internal, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_manifests_of_the_index_in_the_same_registry() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"x","digest":"{digest}","size":1}}]}}"#
        );
        let index: Index = serde_json::from_str(&text).unwrap();
        let target: Reference = "reg.lan/list:1".parse().unwrap();
        assert!(source(&format!("reg.lan/app@{digest}"), &target, &index).is_ok());
        for bad in [
            format!("reg.org/app@{digest}"),
            format!("reg.lan/app@sha256:{}", "2".repeat(64)),
            "reg.lan/app:1".to_owned(),
            "!".to_owned(),
        ] {
            assert!(source(&bad, &target, &index).is_err(), "{bad}");
        }
    }
}
