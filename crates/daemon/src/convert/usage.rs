//! What everything takes on the disk, and volumes.

use super::{details, image};
use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::system::{CacheRecord, DiskUsage};
use hull_api::volume::{UsageData, Volume};
use hull_engine::build::BuildRecord;
use hull_engine::image::ImageSummary;
use hull_engine::usage::VolumeUsage;
use hull_engine::volume::VolumeDetails;
use serde_json::Value;

/// `GET /system/df`.
///
/// # Errors
/// 500 when the reply cannot be encoded.
pub(crate) fn disk_usage(
    usage: hull_engine::usage::DiskUsage,
    build_cache: Option<Vec<BuildRecord>>,
    version: ApiVersion,
) -> Result<DiskUsage<Value>, ApiError> {
    let now = jiff::Timestamp::now();
    let images = usage.images.map(|images| {
        let convert = |(details, shared)| image_usage(&details, shared, version);
        images.into_iter().map(convert).collect()
    });
    let containers = usage.containers.map(|containers| {
        let convert = |container| details::summary(container, now);
        containers.iter().map(convert).collect()
    });
    let volumes = usage.volumes;
    // Summed up for clients of before.
    let summed = |records: &Vec<BuildRecord>| records.iter().map(|record| record.size).sum();
    let sum = build_cache
        .as_ref()
        .filter(|_| !version.since(42))
        .map(summed);
    Ok(DiskUsage {
        layers_size: number(usage.layers_size),
        images: images.transpose()?,
        containers,
        volumes: volumes.map(|volumes| volumes.into_iter().map(volume_usage).collect()),
        builder_size: number(sum.unwrap_or(0)),
        build_cache: build_cache.map(|records| {
            let records = records.into_iter();
            records.map(|record| cached(record, version)).collect()
        }),
    })
}

/// API 1.42 has all parents, the ones before have the first.
fn cached(record: BuildRecord, version: ApiVersion) -> CacheRecord {
    let (parent, parents) = match version.since(42) {
        true => (String::new(), record.parents),
        false => (
            record.parents.into_iter().next().unwrap_or_default(),
            Vec::new(),
        ),
    };
    CacheRecord {
        id: record.id,
        parent,
        parents,
        kind: record.kind.as_str().to_owned(),
        description: record.description,
        in_use: record.in_use,
        // Clients leave what is shared out of their sums; here the image has a copy.
        shared: false,
        size: number(record.size),
        created_at: record.created.to_string(),
        last_used_at: record.last_used.map(|at| at.to_string()),
        usage_count: number(record.uses),
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn image_usage(
    details: &ImageSummary,
    shared: u64,
    version: ApiVersion,
) -> Result<Value, ApiError> {
    let encoded = serde_json::to_value(image::listed(details, version));
    let mut listed =
        encoded.map_err(|e| ApiError::internal(format!("could not encode the reply: {e}")))?;
    listed["SharedSize"] = shared.into();
    // Counted in every version, and unlike in the list of images no names are `null`.
    listed["Containers"] = details.containers.unwrap_or(0).into();
    for names in ["RepoTags", "RepoDigests"] {
        if listed[names].as_array().is_some_and(Vec::is_empty) {
            listed[names] = Value::Null;
        }
    }
    Ok(listed)
}

/// `GET /volumes/{name}`.
pub(crate) fn volume(volume: VolumeDetails) -> Volume {
    let made = volume.created.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ"));
    Volume {
        created_at: made.map(|at| at.to_string()).unwrap_or_default(),
        driver: volume.driver,
        labels: volume.labels,
        mountpoint: volume.mountpoint.display().to_string(),
        name: volume.name,
        options: volume.options,
        scope: volume.scope,
        status: volume.status,
        ..Volume::default()
    }
}

fn volume_usage(usage: VolumeUsage) -> Volume {
    Volume {
        usage_data: Some(UsageData {
            ref_count: number(usage.containers),
            size: number(usage.size),
        }),
        ..volume(usage.volume)
    }
}
