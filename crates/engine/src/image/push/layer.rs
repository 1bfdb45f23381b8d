//! One layer of a push: found there, mounted, or uploaded.

use super::manifest::Original;
use super::source::File;
use super::{Push, store_error};
use crate::image::pull::registry_error;
use crate::{Result, blocking};
use futures_util::{StreamExt, TryStreamExt, stream};
use hull_image::{Compression, ImageId};
use hull_registry::{Mount, Pusher, Sent, Source, Upload};
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use std::sync::Arc;
use std::time::Duration;

/// How often a bar moves.
const STEP: Duration = Duration::from_millis(100);
/// Other repositories that are asked for a layer: each that has not got it costs a request.
const MAX_MOUNTS: usize = 3;

/// A layer to push.
struct Layer {
    diff_id: Digest,
    /// What the image's manifest says of it.
    original: Option<Descriptor>,
    /// Whether a new manifest may be of Docker's family.
    docker: bool,
    /// Its compressed forms in the store.
    kept: Vec<Descriptor>,
    /// Repositories on the same registry that are known to have it.
    mounts: Vec<String>,
}

impl Push {
    /// Pushes the layers, the base first in the answer.
    pub(super) async fn push_layers(
        &self,
        pusher: &Pusher,
        (image, layers): (Option<&ImageId>, &[Digest]),
        original: Option<&Original>,
    ) -> Result<Vec<Descriptor>> {
        let layers = self.layers((image, layers), original).await?;
        // dockerd begins at the top.
        for layer in layers.iter().rev() {
            self.tell(layer.diff_id.short(), "Preparing", None);
        }
        stream::iter(layers)
            .map(|layer| self.push_layer(pusher, layer))
            .buffered(usize::MAX)
            .try_collect()
            .await
    }

    async fn layers(
        &self,
        (image, layers): (Option<&ImageId>, &[Digest]),
        original: Option<&Original>,
    ) -> Result<Vec<Layer>> {
        let engine = Arc::clone(&self.engine);
        let (id, diff_ids) = (image.cloned(), layers.to_vec());
        let originals: Vec<Option<Descriptor>> = match original {
            Some(own) => own.manifest.layers.iter().cloned().map(Some).collect(),
            None => vec![None; diff_ids.len()],
        };
        let docker = original.is_none_or(|own| {
            own.descriptor.media_type != hull_spec::image::media_type::OCI_MANIFEST
        });
        let reference = self.reference.clone();
        blocking(move || {
            let summaries = engine.store.summaries();
            let elsewhere = |diff_id: &Digest| {
                // The image's own repositories first: they have the very blob that its manifest names.
                let (own, others): (Vec<_>, Vec<_>) = summaries
                    .iter()
                    .filter(|summary| summary.layers().contains(diff_id))
                    .partition(|summary| Some(&summary.id) == id.as_ref());
                let mut found: Vec<String> = Vec::new();
                let names = own
                    .iter()
                    .chain(&others)
                    .flat_map(|other| &other.repo_digests);
                for name in names.filter(|name| name.domain() == reference.domain()) {
                    let path = name.path();
                    let known = path == reference.path() || found.iter().any(|p| p == path);
                    if !known && found.len() < MAX_MOUNTS {
                        found.push(path.to_owned());
                    }
                }
                found
            };
            let describe = |(diff_id, original): (Digest, Option<Descriptor>)| {
                let mut kept = engine.store.layer_blobs(&diff_id).map_err(store_error)?;
                kept.retain(|blob| engine.store.blob_path(&blob.digest).exists());
                Ok(Layer {
                    mounts: elsewhere(&diff_id),
                    diff_id,
                    original,
                    docker,
                    kept,
                })
            };
            diff_ids.into_iter().zip(originals).map(describe).collect()
        })
        .await
    }

    async fn push_layer(&self, pusher: &Pusher, layer: Layer) -> Result<Descriptor> {
        let short = layer.diff_id.short();
        if let Some(foreign) = layer.original.as_ref().filter(|own| !own.urls.is_empty()) {
            self.tell(short, "Skipped foreign layer", None);
            return Ok(foreign.clone());
        }
        // Closed never: the semaphore lives as long as the engine.
        let uploads = self.engine.pushes.uploads();
        let _permit = match uploads.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                self.tell(short, "Waiting", None);
                uploads.acquire().await
            }
        };
        let mut begun = None;
        for blob in self.candidates(&layer) {
            if self.is_there(pusher, &layer, blob, &mut begun).await? {
                cancel(pusher, begun).await;
                return Ok(blob.clone());
            }
        }
        let blob = self.form(&layer).await?;
        let forms: Vec<&Descriptor> = self.candidates(&layer).collect();
        if !forms.iter().any(|known| known.digest == blob.digest)
            && self.is_there(pusher, &layer, &blob, &mut begun).await?
        {
            cancel(pusher, begun).await;
            return Ok(blob);
        }
        self.upload(pusher, &layer, &blob, begun).await?;
        self.tell(short, "Pushed", None);
        Ok(blob)
    }

    /// The forms of a layer that would do, the one that keeps the manifest's digest first.
    fn candidates<'a>(&self, layer: &'a Layer) -> impl Iterator<Item = &'a Descriptor> + use<'a> {
        let forced = self.compression;
        let original = layer.original.iter();
        let others = layer.kept.iter().filter(|blob| {
            layer
                .original
                .as_ref()
                .is_none_or(|own| own.digest != blob.digest)
        });
        original.chain(others).filter(move |blob| {
            let form = Compression::of(&blob.media_type);
            match forced {
                Some(forced) => form.is_like(forced),
                // A plain archive is what compression is for.
                None => !form.is_like(Compression::None),
            }
        })
    }

    async fn is_there(
        &self,
        pusher: &Pusher,
        layer: &Layer,
        blob: &Descriptor,
        begun: &mut Option<Upload>,
    ) -> Result<bool> {
        let short = layer.diff_id.short();
        let there = pusher.has_blob(&blob.digest).await;
        if there.map_err(|e| registry_error(&e))? {
            self.tell(short, "Layer already exists", None);
            return Ok(true);
        }
        for from in &layer.mounts {
            match pusher.mount(&blob.digest, from).await {
                Ok(Mount::Mounted) => {
                    self.tell(short, &format!("Mounted from {from}"), None);
                    return Ok(true);
                }
                // Another repository may have it; one upload is enough.
                Ok(Mount::Begun(upload)) => {
                    if let Some(earlier) = begun.replace(upload) {
                        pusher.cancel(earlier).await;
                    }
                }
                // No right to read there, for one: it is uploaded then.
                Err(error) => tracing::debug!(%error, from, "a layer cannot be mounted"),
            }
        }
        Ok(false)
    }

    /// The form that is uploaded: one that is kept, or else one that is made now.
    async fn form(&self, layer: &Layer) -> Result<Descriptor> {
        let wanted = self.compression.unwrap_or(self.engine.pushes.compression);
        let kept = |blob: &&Descriptor| layer.kept.iter().any(|k| k.digest == blob.digest);
        if let Some(blob) = self.candidates(layer).find(kept) {
            return Ok(blob.clone());
        }
        let turn = Arc::clone(&self.engine.pushes.compressing)
            .lock_owned()
            .await;
        self.tell(layer.diff_id.short(), "Compressing", None);
        let (engine, diff_id) = (Arc::clone(&self.engine), layer.diff_id.clone());
        let docker = layer.docker;
        blocking(move || {
            // A push that is cancelled does not end this: the next one waits for it.
            let _turn = turn;
            let made = engine.store.compress_layer(&diff_id, wanted, docker);
            made.map_err(store_error)
        })
        .await
    }

    async fn upload(
        &self,
        pusher: &Pusher,
        layer: &Layer,
        blob: &Descriptor,
        begun: Option<Upload>,
    ) -> Result<()> {
        let short = layer.diff_id.short();
        let path = self.engine.store.blob_path(&blob.digest);
        let source: Arc<dyn Source> = Arc::new(File(path));
        let sent = Arc::new(Sent::default());
        let upload = pusher.upload(blob, &source, begun, &sent);
        tokio::pin!(upload);
        let mut tick = tokio::time::interval(STEP);
        loop {
            tokio::select! {
                done = &mut upload => return done.map_err(|e| registry_error(&e)),
                _ = tick.tick() => {
                    if sent.bytes() > 0 {
                        self.tell(short, "Pushing", Some((sent.bytes(), blob.size)));
                    }
                }
            }
        }
    }
}

/// Takes back an upload that a failed mount began and that is not needed.
async fn cancel(pusher: &Pusher, begun: Option<Upload>) {
    if let Some(upload) = begun {
        pusher.cancel(upload).await;
    }
}
