//! `import`, and what it has in common with `commit`: a new layer becomes an image.

use super::{archive_error, instructions, wrapped};
use crate::stream::{Incoming, Reader};
use crate::{Engine, Error, ErrorKind, Platform, Reference, Result, blocking};
use hull_image::archive::decompressed;
use hull_image::{Facts, Hold, ImageId, Registration};
use hull_spec::image::{ContainerConfig, History, ImageConfig, Layers};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to make of a file system's archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportRequest {
    /// Repository of the new image, with or without tag; empty for none.
    pub repository: String,
    /// Tag of the new image.
    pub tag: String,
    /// For the history.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// `os/arch[/variant]`; `None`: the host's.
    pub platform: Option<String>,
}

impl ImportRequest {
    /// What can be refused before any byte comes.
    fn check(&self) -> Result<Checked> {
        let name = new_name(&self.repository, &self.tag)?;
        let platform = match self.platform.as_deref().filter(|text| !text.is_empty()) {
            None => {
                let host = Platform::host();
                // Nothing is known of which instructions the programs use: not all of this processor's.
                let variant = host.variant.filter(|_| host.architecture != "amd64");
                Platform {
                    variant,
                    ..Platform::host()
                }
            }
            Some(text) => text.parse().map_err(|e: hull_spec::InvalidPlatform| {
                Error::new(ErrorKind::InvalidInput, e.to_string())
            })?,
        };
        if platform.os != "linux" {
            let text = "operating system is not supported";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let mut config = ContainerConfig::default();
        instructions::apply(&mut config, &self.changes)?;
        Ok(Checked {
            name,
            platform,
            config,
            message: self.message.clone(),
        })
    }
}

struct Checked {
    name: Option<Reference>,
    platform: Platform,
    config: ContainerConfig,
    message: String,
}

/// The name for a new image, if there is to be one.
///
/// # Errors
/// `InvalidInput` in dockerd's words.
pub(crate) fn new_name(repository: &str, tag: &str) -> Result<Option<Reference>> {
    if repository.is_empty() {
        return Ok(None);
    }
    let invalid = |text: String| Error::new(ErrorKind::InvalidInput, text);
    let name: Reference = repository
        .parse()
        .map_err(|e: crate::InvalidReference| invalid(e.to_string()))?;
    if name.digest().is_some() {
        return Err(invalid("cannot import digest reference".to_owned()));
    }
    super::tag::refuse_algorithm(&name)?;
    let name = match tag {
        "" => name,
        tag => name
            .with_tag(tag)
            .map_err(|_| invalid("invalid tag format".to_owned()))?,
    };
    Ok(Some(name.with_default_tag()))
}

impl Engine {
    /// Makes an image of one layer, which may be compressed.
    ///
    /// # Errors
    /// `InvalidInput` for names, platforms and instructions that are none, and for what is no archive.
    pub async fn import(
        self: &Arc<Self>,
        request: ImportRequest,
        input: Incoming,
    ) -> Result<ImageId> {
        let checked = request.check()?;
        let engine = Arc::clone(self);
        let reader = Reader::new(input);
        blocking(move || {
            engine.check_archive(&["tarball"])?;
            let failed =
                |e| Error::new(ErrorKind::Internal, "could not read the archive").caused_by(e);
            let mut input = decompressed(reader).map_err(failed)?;
            let layer = engine.store.import_layer(&mut input, None);
            let layer = layer.map_err(|e| archive_error(e.into()))?;
            engine.finish_import(checked, layer.hold)
        })
        .await
    }

    /// What can be refused of an import before anything is fetched for it.
    ///
    /// # Errors
    /// As [`Engine::import`].
    pub fn check_import(&self, request: &ImportRequest) -> Result<()> {
        request.check().map(drop)
    }

    fn finish_import(&self, checked: Checked, layer: Hold) -> Result<ImageId> {
        let created = Timestamp::now().to_string();
        let image = ImageConfig {
            created: Some(created.clone()),
            architecture: checked.platform.architecture,
            os: checked.platform.os,
            variant: checked.platform.variant,
            config: Some(checked.config),
            rootfs: Layers {
                kind: "layers".to_owned(),
                diff_ids: vec![layer.diff_id().clone()],
            },
            history: vec![History {
                created: Some(created),
                comment: (!checked.message.is_empty()).then(|| checked.message.clone()),
                ..History::default()
            }],
            comment: checked.message,
            ..ImageConfig::default()
        };
        let id = self.new_image(&image, checked.name.as_ref(), vec![layer])?;
        if let Some(name) = &checked.name {
            self.tell_about_image("tag", &id, &name.familiar());
        }
        self.tell_about_image("import", &id, id.as_str());
        Ok(id)
    }

    /// Registers an image made here. What its layers are is let go when that fails.
    pub(crate) fn new_image(
        &self,
        config: &ImageConfig,
        name: Option<&Reference>,
        layers: Vec<Hold>,
    ) -> Result<ImageId> {
        let bytes = serde_json::to_vec(config).map_err(|e| {
            Error::new(ErrorKind::Internal, "could not write the config").caused_by(e)
        })?;
        let new: Vec<_> = layers.iter().map(|hold| hold.diff_id().clone()).collect();
        let registered = self.store.register(&Registration {
            config: &bytes,
            names: name.map(std::slice::from_ref).unwrap_or_default(),
            ..Registration::default()
        });
        drop(layers);
        if registered.is_err()
            && let Err(error) = self.store.discard_layers(&new)
        {
            tracing::warn!(%error, "cannot remove a layer that no image needs");
        }
        registered.map_err(super::store_error)
    }

    /// Tells of something that happened to an image, with its labels.
    pub(crate) fn tell_about_image(&self, action: &str, id: &ImageId, name: &str) {
        let image = self.store.image(id).ok();
        let labels = image.and_then(|image| Facts::of(&image.config).labels);
        let mut attributes: BTreeMap<String, String> = labels.unwrap_or_default();
        attributes.insert("name".to_owned(), name.to_owned());
        self.journal.tell("image", action, id.as_str(), attributes);
    }

    /// Fetches a URL for an import: how long it is, if that is known, and its bytes.
    ///
    /// # Errors
    /// `NotFound` for what the server does not have, `Internal` when it cannot be asked.
    pub async fn fetch_import(&self, url: &str) -> Result<(Option<u64>, Incoming)> {
        let fetched = self.registry().download(url).await;
        let fetched = fetched.map_err(|error| {
            let kind = match error.status() {
                Some(404) => ErrorKind::NotFound,
                Some(400) => ErrorKind::InvalidInput,
                Some(401) => ErrorKind::Unauthorized,
                Some(403) => ErrorKind::Forbidden,
                _ => ErrorKind::Internal,
            };
            wrapped(kind, &error)
        })?;
        Ok((fetched.length, fetched.bytes))
    }
}
