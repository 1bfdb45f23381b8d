//! `image inspect`, `history`.

use super::{HistoryStep, ImageDetails};
use crate::container::Snapshot;
use crate::{Engine, Platform, Result, blocking};
use hull_image::Image;
use hull_spec::rootfs::RootFs;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// One image, by name, id or beginning of an id.
    ///
    /// # Errors
    /// `NotFound`, also without the platform.
    pub async fn image_inspect(
        self: &Arc<Self>,
        name: &str,
        platform: Option<Platform>,
    ) -> Result<ImageDetails> {
        Ok(self.image_details(self.stored_image(name, platform).await?))
    }

    /// An image's history, newest step first.
    ///
    /// # Errors
    /// `NotFound`, also without the platform.
    pub async fn image_history(
        self: &Arc<Self>,
        name: &str,
        platform: Option<Platform>,
    ) -> Result<Vec<HistoryStep>> {
        let image = self.stored_image(name, platform).await?;
        let mut sizes = image.layer_sizes.iter().copied();
        let step = |history: &hull_spec::image::History| HistoryStep {
            id: "<missing>".to_owned(),
            created: history
                .created
                .as_deref()
                .and_then(|time| time.parse().ok()),
            created_by: history.created_by.clone().unwrap_or_default(),
            comment: history.comment.clone().unwrap_or_default(),
            size: if history.empty_layer {
                0
            } else {
                sizes.next().unwrap_or(0)
            },
            tags: Vec::new(),
        };
        let mut steps: Vec<HistoryStep> = image.config.history.iter().map(step).collect();
        steps.reverse();
        if let Some(first) = steps.first_mut() {
            first.id = image.id.to_string();
            first.tags = image
                .tags
                .iter()
                .map(hull_spec::Reference::familiar)
                .collect();
        }
        Ok(steps)
    }

    async fn stored_image(
        self: &Arc<Self>,
        name: &str,
        platform: Option<Platform>,
    ) -> Result<Image> {
        let (engine, name) = (Arc::clone(self), name.to_owned());
        blocking(move || {
            engine
                .store
                .resolve_for(&name, platform.as_ref())
                .and_then(|id| engine.store.image(&id))
                .map_err(super::store_error)
        })
        .await
    }

    fn image_details(&self, image: Image) -> ImageDetails {
        let directories = self.store.layer_directories(&image.layers);
        let layers: Vec<String> = directories
            .unwrap_or_default()
            .iter()
            .rev()
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        let mut data = BTreeMap::new();
        if let Some((top, below)) = layers.split_first() {
            data.insert("UpperDir".to_owned(), top.clone());
            if !below.is_empty() {
                data.insert("LowerDir".to_owned(), below.join(":"));
            }
        }
        ImageDetails {
            id: image.id.to_string(),
            repo_tags: image
                .tags
                .iter()
                .map(hull_spec::Reference::familiar)
                .collect(),
            repo_digests: image
                .repo_digests
                .iter()
                .map(hull_spec::Reference::familiar)
                .collect(),
            config: Arc::new(image.config),
            size: image.size,
            last_tagged: Timestamp::from_nanosecond(image.tagged_at.into())
                .ok()
                .filter(|_| image.tagged_at != 0),
            snapshot: Snapshot {
                driver: "overlay2".to_owned(),
                data,
            },
        }
    }
}

/// A root file system in the words of Docker's `overlay2`.
pub(crate) fn snapshot_of(root: Option<&RootFs>) -> Snapshot {
    let mut data = BTreeMap::new();
    if let Some(RootFs::Overlay {
        lower, upper, work, ..
    }) = root
    {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        data.insert(
            "LowerDir".to_owned(),
            lower
                .iter()
                .map(|path| text(path))
                .collect::<Vec<_>>()
                .join(":"),
        );
        if let (Some(upper), Some(work)) = (upper, work) {
            data.insert("UpperDir".to_owned(), text(upper));
            data.insert("WorkDir".to_owned(), text(work));
        }
    }
    Snapshot {
        driver: "overlay2".to_owned(),
        data,
    }
}
