//! `push`.
//!
//! ```text
//! name ─► index, if all of it is here or there ─► its manifests, one after the other
//!    └──► manifest ─► layers: there already? mounted? uploaded, compressed first if need be
//!                       │
//!                       ├─ all as the manifest says ─► the manifest as it came: its digest stays
//!                       └─ otherwise ───────────────► a manifest made of what the layers became
//! config ─► manifest ─► index ─► the repository digest is recorded
//! ```

mod beside;
mod layer;
mod manifest;
mod source;

use super::tell::{Teller, telling};
use super::{Credentials, Progress, store_error};
use crate::image::pull::{auth, registry_error};
use crate::stream::{Task, told_by};
use crate::{Engine, Error, ErrorKind, Platform, Reference, Result, blocking};
use futures_util::stream::BoxStream;
pub use hull_image::Compression;
use hull_image::{Hold, Image, ImageId, PlatformImage, Registration};
use hull_registry::Pusher;
use hull_spec::Digest;
use hull_spec::image::{Descriptor, media_type as mt};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Mutex, Semaphore};

/// What to push.
#[derive(Clone, Debug, Default)]
pub struct PushRequest {
    /// A repository, with a tag or with all that it has here.
    pub reference: String,
    /// Only this platform of it, without the index that it is in.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Credentials,
    /// The form that layers must have, whatever form they are kept in.
    pub compression: Option<Compression>,
}

/// One thing that a push tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushStep {
    /// A line.
    Progress(Progress),
    /// A tag is there now.
    Pushed {
        /// The tag.
        tag: String,
        /// What it stands for.
        digest: String,
        /// Bytes of the manifest or index.
        size: u64,
    },
    /// One platform was pushed and not the index that has it, because the others are not here.
    InsteadOfIndex {
        /// The index.
        index: Box<Descriptor>,
        /// The manifest.
        manifest: Box<Descriptor>,
    },
}

/// What all pushes share.
#[derive(Debug)]
pub(crate) struct Pushes {
    /// Layers on their way at once.
    uploads: RwLock<Arc<Semaphore>>,
    /// Compression takes all processors: one layer at a time.
    compressing: Arc<Mutex<()>>,
    /// How layers are compressed of which no compressed form is kept.
    compression: Compression,
}

impl Pushes {
    pub(crate) fn new(uploads: usize, compression: Compression) -> Self {
        Self {
            uploads: RwLock::new(Arc::new(Semaphore::new(uploads))),
            compressing: Arc::default(),
            compression,
        }
    }

    /// Where layers wait for their turn.
    fn uploads(&self) -> Arc<Semaphore> {
        Arc::clone(&self.uploads.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets so many layers go at once from now on, besides those that are on their way.
    pub(crate) fn allow(&self, uploads: usize) {
        let new = Arc::new(Semaphore::new(uploads));
        *self.uploads.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

/// One push.
#[derive(Clone)]
struct Push {
    engine: Arc<Engine>,
    reference: Reference,
    platform: Option<Platform>,
    compression: Option<Compression>,
    auth: hull_registry::Credentials,
    told: Teller<Result<PushStep>>,
}

impl Engine {
    /// Pushes one tag of a repository or all of them. The stream ends with the push; an error is its
    /// last element. Dropping it cancels the push.
    ///
    /// # Errors
    /// `InvalidInput` for what is not a reference, `NotFound` when the image is not for the platform.
    pub async fn push(
        self: &Arc<Self>,
        request: PushRequest,
    ) -> Result<BoxStream<'static, Result<PushStep>>> {
        let invalid =
            |e: crate::InvalidReference| Error::new(ErrorKind::InvalidInput, e.to_string());
        let reference: Reference = request.reference.parse().map_err(invalid)?;
        if let Some(platform) = request.platform.clone() {
            let (engine, name) = (Arc::clone(self), reference.familiar());
            let found = move || engine.store.resolve_for(&name, Some(&platform));
            blocking(move || found().map_err(store_error)).await?;
        }
        let (told, progress) = telling();
        let push = Push {
            engine: Arc::clone(self),
            reference,
            platform: request.platform,
            compression: request.compression,
            auth: auth(request.credentials),
            told: told.clone(),
        };
        let task = tokio::spawn(async move {
            if let Err(error) = push.run().await {
                told.line(Err(error));
            }
        });
        Ok(told_by(progress, Task(task).ended()))
    }
}

impl Engine {
    /// Brings layers into a repository, compressed if need be; gives their blobs, in the same order.
    pub(crate) async fn push_layers(
        self: &Arc<Self>,
        reference: &Reference,
        credentials: Credentials,
        layers: Vec<Digest>,
    ) -> Result<Vec<Descriptor>> {
        // Nobody listens.
        let (told, _) = telling();
        let push = Push {
            engine: Arc::clone(self),
            reference: reference.clone(),
            platform: None,
            compression: None,
            auth: auth(credentials),
            told,
        };
        let registry = self.registry();
        let pusher = registry.pusher(&push.reference, &push.auth);
        let pusher = pusher.await.map_err(|e| registry_error(&e))?;
        push.push_layers(&pusher, (None, &layers), None).await
    }

    /// A layer's archive, compressed as pushes have it: the blob, and its file. Blocking.
    ///
    /// # Errors
    /// `NotFound` for a layer that is not there, `Internal` for what cannot be read or written.
    pub fn layer_blob(&self, layer: &Digest) -> Result<(Descriptor, std::path::PathBuf)> {
        let how = self.pushes.compression;
        let blob = self.store.compress_layer(layer, how, false);
        let blob = blob.map_err(store_error)?;
        let path = self.store.blob_path(&blob.digest);
        Ok((blob, path))
    }
}

fn refused(text: String) -> Error {
    Error::new(ErrorKind::NotFound, text)
}

/// What was pushed under a tag.
struct Pushed {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    /// The index that it stands in for.
    instead_of: Option<Descriptor>,
    /// Whose manifest it is, if it is not an index.
    image: Option<Image>,
    /// They keep the layers until it is recorded.
    _holds: Vec<Hold>,
}

impl Push {
    async fn run(&self) -> Result<()> {
        let repository = self.reference.name();
        self.tell(
            "",
            &format!("The push refers to repository [{repository}]"),
            None,
        );
        let tags = self.tags()?;
        let registry = self.engine.registry();
        let pusher = registry.pusher(&self.reference, &self.auth);
        let pusher = pusher.await.map_err(|e| registry_error(&e))?;
        for tag in tags {
            self.push_tag(&pusher, &tag).await?;
        }
        self.engine.tell_image(
            "push",
            &self.reference.familiar(),
            &self.reference.familiar_name(),
        );
        Ok(())
    }

    /// What is to be pushed, with dockerd's words for what is not there.
    fn tags(&self) -> Result<Vec<Reference>> {
        let wanted = &self.reference;
        let (name, mut tags, mut known) = (wanted.name(), Vec::new(), false);
        for summary in self.engine.store.summaries() {
            for other in summary.tags.iter().chain(&summary.repo_digests) {
                known |= other.name() == name;
            }
            tags.extend(summary.tags.into_iter().filter(|tag| tag.name() == name));
        }
        if !known {
            let name = wanted.familiar_name();
            return Err(refused(format!(
                "An image does not exist locally with the tag: {name}"
            )));
        }
        if wanted.digest().is_some() {
            let text = "cannot push a digest reference";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        if let Some(tag) = wanted.tag() {
            tags.retain(|other| other.tag() == Some(tag));
            tags.truncate(1);
            if tags.is_empty() {
                let text = format!("tag does not exist: {}", wanted.familiar());
                return Err(refused(text));
            }
        }
        if tags.is_empty() {
            let name = wanted.familiar_name();
            return Err(refused(format!("no tags to push for {name}")));
        }
        tags.sort_by(|a, b| a.tag().cmp(&b.tag()));
        tags.dedup();
        Ok(tags)
    }

    async fn push_tag(&self, pusher: &Pusher, name: &Reference) -> Result<()> {
        let (engine, wanted) = (Arc::clone(&self.engine), name.clone());
        let target = blocking(move || engine.store.target(&wanted).map_err(store_error)).await?;
        let index = target.filter(|target| is_index(target) && self.platform.is_none());
        let pushed = match index {
            Some(index) => self.push_index(pusher, name, index).await?,
            None => self.push_image(pusher, self.image(name).await?).await?,
        };
        let tag = name.tag().unwrap_or_default();
        let descriptor = &pushed.descriptor;
        self.put_manifest(pusher, Some(tag), &pushed).await?;
        if let Some(index) = pushed.instead_of {
            let (index, manifest) = (Box::new(index), Box::new(descriptor.clone()));
            self.told
                .line(Ok(PushStep::InsteadOfIndex { index, manifest }));
        }
        let (digest, size) = (descriptor.digest.to_string(), descriptor.size);
        let text = format!("{tag}: digest: {digest} size: {size}");
        self.tell("", &text, None);
        let tag = tag.to_owned();
        self.told.line(Ok(PushStep::Pushed { tag, digest, size }));
        Ok(())
    }

    /// The image that a name stands for, on the platform that was asked for.
    async fn image(&self, name: &Reference) -> Result<Image> {
        let (engine, platform) = (Arc::clone(&self.engine), self.platform.clone());
        let name = name.familiar();
        blocking(move || {
            let id = engine.store.resolve_for(&name, platform.as_ref());
            let image = id.and_then(|id| engine.store.image(&id));
            image.map_err(store_error)
        })
        .await
    }

    /// Pushes an index whole, if every part of it is here or in the repository; else the one
    /// platform of it that the name stands for.
    async fn push_index(
        &self,
        pusher: &Pusher,
        name: &Reference,
        index: Descriptor,
    ) -> Result<Pushed> {
        let (engine, digest) = (Arc::clone(&self.engine), index.digest.clone());
        let (bytes, parts) = blocking(move || {
            let bytes = engine.store.read_document(&digest).map_err(store_error)?;
            let parts = engine.store.platforms(&digest).map_err(store_error)?;
            Ok((bytes, parts))
        })
        .await?;
        let here: Vec<ImageId> = parts.iter().filter_map(|part| part.image.clone()).collect();
        let holds = self.hold(&here)?;
        for part in parts.iter().filter(|part| part.image.is_none()) {
            if self.engine.store.is_beside(&part.manifest.digest) {
                continue;
            }
            let there = pusher.has_manifest(&part.manifest.digest).await;
            if !there.map_err(|e| registry_error(&e))? {
                let image = self.image(name).await?;
                let mut pushed = self.push_image(pusher, image).await?;
                pushed.instead_of = Some(index);
                return Ok(pushed);
            }
        }
        self.refuse_other_form(&parts).await?;
        for part in parts {
            self.push_part(pusher, part).await?;
        }
        Ok(Pushed {
            descriptor: index,
            bytes,
            instead_of: None,
            image: None,
            _holds: holds,
        })
    }

    /// Keeps the layers of images that are being pushed.
    fn hold(&self, images: &[ImageId]) -> Result<Vec<Hold>> {
        let mut holds = Vec::new();
        for id in images {
            holds.extend(self.engine.store.hold_image(id).map_err(store_error)?);
        }
        Ok(holds)
    }

    async fn push_part(&self, pusher: &Pusher, part: PlatformImage) -> Result<()> {
        let Some(id) = part.image else {
            return match self.engine.store.is_beside(&part.manifest.digest) {
                true => self.push_beside(pusher, &part.manifest).await,
                false => Ok(()),
            };
        };
        let engine = Arc::clone(&self.engine);
        let mut image = blocking(move || engine.store.image(&id).map_err(store_error)).await?;
        let wanted = part.manifest.digest.clone();
        image.manifest = Some(part.manifest);
        let pushed = self.push_image(pusher, image).await?;
        if pushed.descriptor.digest != wanted {
            let text = format!(
                "the image of the index's manifest {wanted} can no longer be pushed as it came: its compressed layers are not kept; push one platform with --platform"
            );
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        self.put_manifest(pusher, None, &pushed).await
    }

    /// Stores the manifest or index, and records it only then: a repository digest says that the
    /// repository has it, and the trust policy believes that.
    async fn put_manifest(
        &self,
        pusher: &Pusher,
        tag: Option<&str>,
        pushed: &Pushed,
    ) -> Result<()> {
        let media_type = &pushed.descriptor.media_type;
        let put = pusher.put_manifest(tag, media_type, pushed.bytes.clone().into());
        put.await.map_err(|e| registry_error(&e))?;
        self.record(pushed).await
    }

    /// Keeps what was pushed as the image's repository digest.
    async fn record(&self, pushed: &Pushed) -> Result<()> {
        let (descriptor, bytes) = (&pushed.descriptor, &pushed.bytes);
        let name = self.reference.with_digest(&descriptor.digest);
        let engine = Arc::clone(&self.engine);
        let (descriptor, bytes) = (descriptor.clone(), bytes.clone());
        let image = pushed.image.as_ref();
        let image = image.map(|image| (image.id.clone(), image.config_bytes.clone()));
        blocking(move || {
            let registered = match image {
                // Removed meanwhile, it does not come back.
                Some((id, _)) if engine.store.hold_image(&id).is_err() => return Ok(()),
                Some((_, config)) => engine.store.register(&Registration {
                    index: None,
                    manifest: Some((&descriptor, &bytes)),
                    config: &config,
                    names: &[name],
                    ..Registration::default()
                }),
                // The index is here already, with all its images: one more name for it.
                None => record_index(&engine, &name, &descriptor.digest),
            };
            registered.map(|_| ()).map_err(store_error)
        })
        .await
    }

    fn tell(&self, id: &str, status: &str, bytes: Option<(u64, u64)>) {
        let step = PushStep::Progress(Progress {
            id: id.to_owned(),
            status: status.to_owned(),
            bytes,
        });
        if bytes.is_some() {
            self.told.bar(Ok(step));
        } else {
            self.told.line(Ok(step));
        }
    }
}

fn record_index(
    engine: &Engine,
    name: &Reference,
    index: &Digest,
) -> Result<ImageId, hull_image::Error> {
    let source = engine.store.summaries().into_iter().find_map(|summary| {
        let names = summary.tags.iter().chain(&summary.repo_digests);
        let mut of_index = names.filter(|name| {
            let target = engine.store.target(name).ok().flatten();
            target.is_some_and(|target| target.digest == *index)
        });
        of_index.next().map(Reference::to_string)
    });
    let source = source.ok_or_else(|| hull_image::Error::NoSuchDocument(index.clone()))?;
    engine.store.tag_as(name, &source)
}

fn is_index(descriptor: &Descriptor) -> bool {
    matches!(
        descriptor.media_type.as_str(),
        mt::OCI_INDEX | mt::DOCKER_LIST
    )
}
