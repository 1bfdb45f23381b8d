//! What a registry says of an image, without pulling it.

use super::{Credentials, parse_document};
use crate::image::pull::{auth, registry_error};
use crate::{Engine, Error, ErrorKind, Platform, Reference, Result};
use hull_registry::Error as Registry;
use hull_spec::image::{Descriptor, ImageConfig, Index, Manifest, media_type as mt};

/// An image at its registry.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// What it can run on.
    pub platforms: Vec<Platform>,
}

impl Engine {
    /// Asks the registry for an image.
    ///
    /// # Errors
    /// `InvalidInput` for what is not a reference, and what the registry says.
    pub async fn distribution(&self, name: &str, credentials: Credentials) -> Result<Distribution> {
        let reference: Reference = name.parse().map_err(|e: crate::InvalidReference| {
            Error::new(ErrorKind::InvalidInput, e.to_string())
        })?;
        let auth = auth(credentials);
        let resolved = self.registry().resolve(&reference, &auth).await;
        let resolved = resolved.map_err(|e| refusal(&e))?;
        let descriptor = resolved.descriptor;
        let platforms = match descriptor.media_type.as_str() {
            mt::OCI_INDEX | mt::DOCKER_LIST => {
                let index: Index = parse_document("image index", &resolved.bytes)?;
                let all = index.manifests.into_iter();
                // One without a platform has an empty one in dockerd's answer.
                let platform = |manifest: Descriptor| manifest.platform.unwrap_or_else(unnamed);
                all.map(platform).collect()
            }
            _ => {
                let manifest: Manifest = parse_document("image manifest", &resolved.bytes)?;
                let registry = self.registry();
                let config = registry.fetch_document(&reference, &manifest.config, &auth);
                let config = config.await.map_err(|e| refusal(&e))?;
                // An artifact's config is no image's: it runs on nothing.
                let config = serde_json::from_slice::<ImageConfig>(&config).ok();
                let platform = config.map(platform);
                let named = |of: &Platform| !of.os.is_empty() || !of.architecture.is_empty();
                platform.filter(named).into_iter().collect()
            }
        };
        Ok(Distribution {
            descriptor,
            platforms,
        })
    }
}

fn unnamed() -> Platform {
    Platform {
        architecture: String::new(),
        os: String::new(),
        os_version: None,
        variant: None,
    }
}

fn platform(config: ImageConfig) -> Platform {
    Platform {
        architecture: config.architecture,
        os: config.os,
        os_version: None,
        variant: config.variant.filter(|variant| !variant.is_empty()),
    }
}

/// dockerd gives the registry's own words here, without the reference.
fn refusal(error: &Registry) -> Error {
    let (kind, detail) = match error {
        Registry::ManifestUnknown { detail, .. } | Registry::RepositoryUnknown { detail, .. } => {
            (ErrorKind::NotFound, detail)
        }
        Registry::Denied { detail, .. } => (ErrorKind::Forbidden, detail),
        Registry::Unauthorized(detail) => (ErrorKind::Unauthorized, detail),
        other => return registry_error(other),
    };
    Error::new(kind, detail.clone())
}
