//! `state`: what a container is doing, as JSON.

use super::{Context, output};
use crate::arguments::Arguments;
use crate::error::{Error, Step as _};
use crate::state::Container;
use hull_spec::runtime::{ContainerStatus, VERSION};
use serde::Serialize;
use std::collections::BTreeMap;

/// The state as runc prints it: the specification's, and a few fields more.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown<'a> {
    oci_version: &'static str,
    pub(super) id: &'a str,
    pub(super) pid: i32,
    pub(super) status: ContainerStatus,
    pub(super) bundle: String,
    rootfs: String,
    pub(super) created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    pub(super) owner: String,
}

impl<'a> Shown<'a> {
    /// What is shown of a container now.
    pub(super) fn of(container: &'a Container) -> Result<Self, Error> {
        let record = &container.record;
        let status = container.status()?;
        Ok(Self {
            oci_version: VERSION,
            id: &record.id,
            pid: if status == ContainerStatus::Stopped {
                0
            } else {
                record.pid
            },
            status,
            bundle: record.bundle.to_string_lossy().into_owned(),
            rootfs: record.rootfs.to_string_lossy().into_owned(),
            created: &record.created,
            annotations: &record.annotations,
            owner: String::new(),
        })
    }
}

/// Prints it.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Error> {
    let container = context.container("state", arguments)?;
    let text = serde_json::to_string_pretty(&Shown::of(&container)?).step(|| "encode the state")?;
    output(&text)
}
