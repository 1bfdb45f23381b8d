//! `state`: what a container is doing, as JSON.

use super::{Command, Context, output};
use crate::arguments::{Arguments, Order};
use crate::error::{Error, Step as _};
use crate::report::html_safe;
use crate::state::Container;
use hull_spec::runtime::{ContainerStatus, VERSION};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "state",
    summary: "tell what a container is doing",
    arguments: "<container-id>\n\nThe id names the container.",
    description: "Prints the state as JSON.",
    flags: &[],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

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
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let container = context.container(arguments)?;
    let text = serde_json::to_string_pretty(&Shown::of(&container)?).step(|| "encode the state")?;
    output(&html_safe(&text))?;
    Ok(ExitCode::SUCCESS)
}
