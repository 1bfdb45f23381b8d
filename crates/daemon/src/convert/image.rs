//! Images as the API shows them, and what older versions of it showed besides.

use super::{Versioned, time};
use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::container::{Config as WireConfig, Empty, Healthcheck, Words};
use hull_api::image::{
    AttestationData, DeleteItem, Descriptor as WireDescriptor, HistoryItem, ImageConfig, ImageData,
    Inspect, ManifestSize, ManifestSummary as WireManifest, Metadata, Platform, RootFs, Summary,
    UnpackedSize,
};
use hull_api::system::GraphDriver;
use hull_engine::image::{
    Descriptor, HistoryStep, ImageDetails, ImageSummary, ManifestKind, ManifestSummary, Platforms,
    Removed,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn value<T: Serialize>(value: &T) -> Result<Value, ApiError> {
    serde_json::to_value(value)
        .map_err(|error| ApiError::internal(format!("could not encode the reply: {error}")))
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An element of `GET /images/json`.
pub(crate) struct ListedImage {
    summary: Summary,
    version: ApiVersion,
}

impl Serialize for ListedImage {
    /// The members that older versions had go where dockerd puts them: at the end.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.version.since(44) {
            return self.summary.serialize(serializer);
        }
        let failed = serde::ser::Error::custom;
        let mut older = serde_json::to_value(&self.summary).map_err(failed)?;
        older["VirtualSize"] = self.summary.size.into();
        if !self.version.since(43) {
            // Without names these were `null`.
            for names in ["RepoTags", "RepoDigests"] {
                if older[names].as_array().is_some_and(Vec::is_empty) {
                    older[names] = Value::Null;
                }
            }
        }
        older.serialize(serializer)
    }
}

/// An element of `GET /images/json`.
pub(crate) fn listed(image: &ImageSummary, version: ApiVersion) -> ListedImage {
    let (descriptor, manifests) = image.manifests.as_ref().map_or((None, None), manifests);
    let summary = Summary {
        containers: image.containers.map_or(-1, number),
        created: image.created.map_or(0, jiff::Timestamp::as_second),
        id: image.id.clone(),
        labels: image.labels.clone(),
        parent_id: String::new(),
        descriptor: descriptor.filter(|_| version.since(48)),
        manifests,
        repo_digests: image.repo_digests.clone(),
        repo_tags: image.repo_tags.clone(),
        shared_size: image.shared.map_or(-1, number),
        size: number(image.size),
    };
    ListedImage { summary, version }
}

/// `GET /images/{name}/json`.
///
/// # Errors
/// 500 when the reply cannot be encoded.
pub(crate) fn inspect(
    image: &ImageDetails,
    platforms: Option<Platforms>,
    version: ApiVersion,
) -> Result<Versioned<Inspect>, ApiError> {
    let document = &image.config;
    let (descriptor, manifests) = platforms.as_ref().map_or((None, None), manifests);
    let layers = document
        .rootfs
        .diff_ids
        .iter()
        .map(ToString::to_string)
        .collect();
    let inspect = Inspect {
        id: image.id.clone(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        parent: String::new(),
        comment: comment(image),
        created: document.created.clone(),
        docker_version: document.docker_version.clone(),
        author: document.author.clone().unwrap_or_default(),
        architecture: document.architecture.clone(),
        variant: document.variant.clone().unwrap_or_default(),
        os: document.os.clone(),
        os_version: String::new(),
        size: number(image.size),
        virtual_size: (!version.since(44)).then(|| number(image.size)),
        graph_driver: Some(GraphDriver {
            data: Some(image.snapshot.data.clone()),
            name: image.snapshot.driver.clone(),
        }),
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers,
        },
        metadata: Metadata {
            last_tag_time: time::text(image.last_tagged),
        },
        descriptor,
        manifests,
        config: Some(config(image)),
    };
    match version.since(50) {
        true => Ok(Versioned::Newest(inspect)),
        false => Ok(Versioned::Older(older(&inspect, version)?)),
    }
}

/// What clients before API 1.50 get: members of the configuration that images of today do not have.
fn older(inspect: &Inspect, version: ApiVersion) -> Result<Value, ApiError> {
    let mut inspect = value(inspect)?;
    if !version.since(45) {
        // The configuration of the container the image was committed from; images of today have none.
        inspect["ContainerConfig"] = value(&WireConfig::default())?;
    }
    for (name, zero) in [
        ("AttachStderr", json!(false)),
        ("AttachStdin", json!(false)),
        ("AttachStdout", json!(false)),
        ("Domainname", json!("")),
        ("Hostname", json!("")),
        ("Image", json!("")),
        ("OpenStdin", json!(false)),
        ("StdinOnce", json!(false)),
        ("Tty", json!(false)),
    ] {
        inspect["Config"][name] = zero;
    }
    Ok(inspect)
}

fn manifests(
    (target, manifests): &Platforms,
) -> (Option<WireDescriptor>, Option<Vec<WireManifest>>) {
    let target = target.as_ref().map(descriptor);
    (target, Some(manifests.iter().map(manifest).collect()))
}

fn wire_platform(platform: &hull_engine::Platform) -> Platform {
    Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
    }
}

fn descriptor(descriptor: &Descriptor) -> WireDescriptor {
    WireDescriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: number(descriptor.size),
        urls: descriptor.urls.clone(),
        annotations: descriptor.annotations.clone(),
        platform: descriptor.platform.as_ref().map(wire_platform),
    }
}

fn manifest(manifest: &ManifestSummary) -> WireManifest {
    let mut wire = WireManifest {
        id: manifest.descriptor.digest.to_string(),
        descriptor: descriptor(&manifest.descriptor),
        available: manifest.available,
        size: ManifestSize {
            content: number(manifest.content),
            total: number(manifest.content + manifest.unpacked),
        },
        ..WireManifest::default()
    };
    match &manifest.kind {
        ManifestKind::Image(platform) => {
            "image".clone_into(&mut wire.kind);
            wire.image_data = Some(ImageData {
                platform: wire_platform(platform),
                size: UnpackedSize {
                    unpacked: number(manifest.unpacked),
                },
                containers: manifest.containers.clone(),
            });
        }
        ManifestKind::Attestation(of) => {
            "attestation".clone_into(&mut wire.kind);
            wire.attestation_data = Some(AttestationData { of: of.clone() });
        }
        ManifestKind::Unknown => "unknown".clone_into(&mut wire.kind),
    }
    wire
}

/// The image's own comment, or that of its newest step.
fn comment(image: &ImageDetails) -> String {
    if !image.config.comment.is_empty() {
        return image.config.comment.clone();
    }
    let newest = image.config.history.last();
    newest
        .and_then(|step| step.comment.clone())
        .unwrap_or_default()
}

fn config(image: &ImageDetails) -> ImageConfig {
    let Some(config) = image.config.config.clone() else {
        return ImageConfig::default();
    };
    let empty =
        |names: BTreeMap<String, _>| names.into_keys().map(|name| (name, Empty {})).collect();
    ImageConfig {
        args_escaped: config.args_escaped,
        cmd: config.cmd.map(Words),
        entrypoint: config.entrypoint.map(Words),
        env: config.env,
        exposed_ports: config.exposed_ports.map(empty),
        healthcheck: config.healthcheck.map(|check| Healthcheck {
            test: check.test.unwrap_or_default(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        labels: config.labels,
        on_build: config.on_build,
        shell: config.shell.map(Words),
        stop_signal: config.stop_signal.unwrap_or_default(),
        user: config.user,
        volumes: config
            .volumes
            .map(|names| names.into_keys().map(|name| (name, Empty {})).collect()),
        working_dir: config.working_dir,
    }
}

/// `GET /images/{name}/history`.
pub(crate) fn history(step: HistoryStep) -> HistoryItem {
    HistoryItem {
        comment: step.comment,
        created: step.created.map_or(0, jiff::Timestamp::as_second),
        created_by: step.created_by,
        id: if step.id.is_empty() {
            "<missing>".to_owned()
        } else {
            step.id
        },
        size: number(step.size),
        tags: (!step.tags.is_empty()).then_some(step.tags),
    }
}

/// `DELETE /images/{name}`.
pub(crate) fn removed(removed: Removed) -> DeleteItem {
    match removed {
        Removed::Untagged(untagged) => DeleteItem {
            untagged,
            ..DeleteItem::default()
        },
        Removed::Deleted(deleted) => DeleteItem {
            deleted,
            ..DeleteItem::default()
        },
    }
}
