//! `system df`: what everything takes on the disk, as `du` says it.
//!
//! Docker adds up what files would hold; here every number is of allocated blocks, so that they are
//! what the disk has less of:
//!
//! | field | is |
//! |---|---|
//! | `LayersSize` | layers, compressed blobs, documents and partial downloads |
//! | an image's `Size`, `SharedSize` | what it consists of, and the part that other images have too |
//! | a container's `SizeRw` | what it wrote, its log and its other files |
//! | a volume's `UsageData.Size` | its directory |

use crate::container::{Details, ListOptions, Sizes};
use crate::image::{ImageListOptions, ImageSummary};
use crate::volume::VolumeDetails;
use crate::{Engine, Result, blocking};
use hull_image::{ImageId, taken};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Images and their layers.
    pub images: bool,
    /// Containers.
    pub containers: bool,
    /// Volumes.
    pub volumes: bool,
}

impl Kinds {
    /// Everything.
    pub const ALL: Self = Self {
        images: true,
        containers: true,
        volumes: true,
    };
}

/// What everything takes. What was not asked for is `None`.
#[derive(Clone, Debug, Default)]
pub struct DiskUsage {
    /// Bytes of all that belongs to images.
    pub layers_size: u64,
    /// Each image with its bytes on the disk as its size, and those that other images have too.
    pub images: Option<Vec<(ImageSummary, u64)>>,
    /// The containers; [`Details::sizes`] is there.
    pub containers: Option<Vec<Details>>,
    /// The volumes.
    pub volumes: Option<Vec<VolumeUsage>>,
}

/// What a volume takes.
#[derive(Clone, Debug)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: VolumeDetails,
    /// How many containers have it mounted, running or not.
    pub containers: u64,
    /// Bytes.
    pub size: u64,
}

impl Engine {
    /// Measures what everything takes on the disk.
    ///
    /// # Errors
    /// What reading the store gives.
    pub async fn disk_usage(self: &Arc<Self>, kinds: Kinds) -> Result<DiskUsage> {
        let mut usage = DiskUsage::default();
        let mut sizes = BTreeMap::new();
        if kinds.images || kinds.containers {
            let engine = Arc::clone(self);
            let measure = move || engine.store.disk_usage().map_err(crate::image::store_error);
            let store = blocking(measure).await?;
            sizes = store.images;
            usage.layers_size = if kinds.images { store.total } else { 0 };
        }
        let of = |image: &str| {
            let id = image.parse::<ImageId>().ok();
            id.and_then(|id| sizes.get(&id).copied())
                .unwrap_or_default()
        };
        if kinds.images {
            let mut images = Vec::new();
            let options = ImageListOptions {
                beside: true,
                containers: true,
                ..ImageListOptions::default()
            };
            for mut image in self.images(options).await? {
                let size = of(&image.id);
                image.size = size.size;
                images.push((image, size.shared));
            }
            usage.images = Some(images);
        }
        if kinds.containers {
            let everything = ListOptions {
                all: true,
                ..ListOptions::default()
            };
            let mut containers = self.list(everything).await?;
            for container in &mut containers {
                let (engine, id) = (Arc::clone(self), container.id.clone());
                let writable = blocking(move || engine.container_taken(&id)).await?;
                container.sizes = Some(Sizes {
                    writable,
                    root: writable + of(&container.image_id).size,
                });
            }
            usage.containers = Some(containers);
        }
        if kinds.volumes {
            usage.volumes = Some(self.volume_usage().await?);
        }
        Ok(usage)
    }

    /// The bytes of what a container wrote and of its own files.
    pub(crate) fn container_taken(&self, id: &str) -> Result<u64> {
        let snapshot = self.store.snapshot_taken(id);
        let snapshot = snapshot.map_err(crate::image::store_error)?;
        // It may be on its way out.
        Ok(snapshot + taken(&self.container_dir(id)).unwrap_or(0))
    }

    async fn volume_usage(self: &Arc<Self>) -> Result<Vec<VolumeUsage>> {
        // Those of other drivers are on no disk of ours, and those with options somewhere else.
        let local =
            crate::Filters::from([("driver".to_owned(), vec![crate::volume::LOCAL.to_owned()])]);
        let (mut volumes, _) = self.volumes(local).await?;
        volumes.retain(|volume| volume.options.as_ref().is_none_or(BTreeMap::is_empty));
        let engine = Arc::clone(self);
        blocking(move || {
            let measure = |volume: VolumeDetails| {
                let directory = volume.mountpoint.parent();
                VolumeUsage {
                    containers: engine.volumes.users(&volume.name).len() as u64,
                    // It may be on its way out.
                    size: directory.and_then(|dir| taken(dir).ok()).unwrap_or(0),
                    volume,
                }
            };
            Ok(volumes.into_iter().map(measure).collect())
        })
        .await
    }
}
