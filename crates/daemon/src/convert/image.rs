//! Images as the API shows them, and what older versions of it showed besides.

use super::{Versioned, time};
use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::container::{Config as WireConfig, Empty, Healthcheck, Words};
use hull_api::image::{DeleteItem, HistoryItem, ImageConfig, Inspect, Metadata, RootFs, Summary};
use hull_api::system::GraphDriver;
use hull_engine::image::{HistoryStep, ImageDetails, Removed};
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

fn created_seconds(created: Option<&str>) -> i64 {
    created
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map_or(0, jiff::Timestamp::as_second)
}

/// An element of `GET /images/json`.
pub(crate) struct ListedImage {
    summary: Summary,
    version: ApiVersion,
}

impl Serialize for ListedImage {
    /// The members that older versions had go where dockerd puts them: at the end.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Older<'a> {
            #[serde(flatten)]
            summary: &'a Summary,
            #[serde(rename = "VirtualSize")]
            virtual_size: i64,
        }
        if self.version.since(44) {
            return self.summary.serialize(serializer);
        }
        Older {
            summary: &self.summary,
            virtual_size: self.summary.size,
        }
        .serialize(serializer)
    }
}

/// An element of `GET /images/json`.
pub(crate) fn listed(image: &ImageDetails, version: ApiVersion) -> ListedImage {
    let summary = Summary {
        containers: image.containers.map_or(-1, number),
        created: created_seconds(image.config.created.as_deref()),
        id: image.id.clone(),
        labels: hull_engine::image::labels(&image.config).cloned(),
        parent_id: String::new(),
        descriptor: None,
        manifests: None,
        repo_digests: image.repo_digests.clone(),
        repo_tags: image.repo_tags.clone(),
        shared_size: -1,
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
    version: ApiVersion,
) -> Result<Versioned<Inspect>, ApiError> {
    let document = &image.config;
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
        descriptor: None,
        manifests: None,
        config: Some(config(image)),
    };
    if version.since(50) {
        return Ok(Versioned::Newest(inspect));
    }
    let mut inspect = value(&inspect)?;
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
    Ok(Versioned::Older(inspect))
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
