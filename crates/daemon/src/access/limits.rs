//! What containers, volumes and networks may not have when a scoped socket makes them: whoever could mount the host's files, join its
//! namespaces or add privileges would not be scoped at all.

use super::gate;
use super::grant::Grant;
use crate::error::ApiError;
use hull_api::container::{CreateRequest, HostConfig, Mount};
use hull_api::{exec::ExecCreateRequest, network, volume};
use hull_engine::Engine;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// The members of a host configuration that give nothing away, whatever they say. All others have to be left out or be looked at below:
/// so a new one is refused until it was thought of.
const HARMLESS: &[&str] = &[
    "AutoRemove",
    "BlkioWeight",
    "CapDrop",
    "ConsoleSize",
    "ContainerIDFile",
    "CpuCount",
    "CpuPercent",
    "CpuPeriod",
    "CpuQuota",
    "CpuShares",
    "CpusetCpus",
    "CpusetMems",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Init",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "NanoCpus",
    "PidsLimit",
    "PortBindings",
    "PublishAllPorts",
    "ReadonlyRootfs",
    "RestartPolicy",
    "ShmSize",
    "Tmpfs",
    "Ulimits",
];
/// Members that are looked at.
const CHECKED: &[&str] = &[
    "Binds",
    "CgroupnsMode",
    "IpcMode",
    "LogConfig",
    "MaskedPaths",
    "Mounts",
    "NetworkMode",
    "ReadonlyPaths",
    "SecurityOpt",
];

/// The options of logs that say how much is kept, and what of a container is told.
const LOG_OPTIONS: &[&str] = &[
    "compress",
    "env",
    "labels",
    "max-buffer-size",
    "max-file",
    "max-size",
    "mode",
    "tag",
];

/// Whether a member says nothing: clients send empty ones of every kind.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(says_nothing),
        Value::Object(members) => members.values().all(says_nothing),
    }
}

/// Refuses members that are not in the lists.
fn only(grant: &Grant, what: &impl Serialize, known: &[&[&str]]) -> Result<(), ApiError> {
    let value = serde_json::to_value(what).map_err(|e| ApiError::internal(e.to_string()))?;
    let Value::Object(members) = value else {
        return Ok(());
    };
    let unknown = members.iter().find(|(name, value)| {
        !known.iter().any(|names| names.contains(&name.as_str())) && !says_nothing(value)
    });
    match unknown {
        Some((name, _)) => Err(grant.refusal(&format!("{name} to be set"))),
        None => Ok(()),
    }
}

/// Keeps a new container to the scope, and gives it the grant's labels.
///
/// # Errors
/// 403 that names what is too much, 404 for networks and volumes out of scope.
pub(crate) async fn container(
    grant: &Grant,
    engine: &Arc<Engine>,
    wanted: &mut CreateRequest,
) -> Result<(), ApiError> {
    if !grant.has_image(&wanted.config.image) {
        return Err(grant.refusal(&format!("image {:?}", wanted.config.image)));
    }
    grant.label(wanted.config.labels.get_or_insert_default())?;
    if !wanted.config.mac_address.is_empty() {
        return Err(grant.refusal("MacAddress to be set"));
    }
    if wanted.hull != Default::default() {
        return Err(grant.refusal("Hull to be set"));
    }
    let host = &wanted.host_config;
    only(grant, host, &[HARMLESS, CHECKED])?;
    words(grant, host)?;
    for bind in host.binds.iter().flatten() {
        let source = bind.split_once(':').map_or("", |(source, _)| source);
        storage(grant, engine, source, bind).await?;
    }
    for mount in &host.mounts {
        check_mount(grant, engine, mount).await?;
    }
    place(grant, engine, &host.network_mode).await?;
    let places = wanted.networking_config.endpoints_config.iter().flatten();
    for (name, settings) in places {
        place(grant, engine, name).await?;
        endpoint(grant, settings)?;
    }
    Ok(())
}

/// The words that would join namespaces of others, take protection away or send logs elsewhere.
fn words(grant: &Grant, host: &HostConfig) -> Result<(), ApiError> {
    let refused = |what: &str, word: &str| Err(grant.refusal(&format!("{what} {word:?}")));
    if !matches!(
        host.ipc_mode.as_str(),
        "" | "private" | "none" | "shareable"
    ) {
        return refused("IpcMode", &host.ipc_mode);
    }
    if !matches!(host.cgroupns_mode.as_str(), "" | "private") {
        return refused("CgroupnsMode", &host.cgroupns_mode);
    }
    // No paths at all is less protection than none said.
    if host.masked_paths.is_some() || host.readonly_paths.is_some() {
        return Err(grant.refusal("MaskedPaths or ReadonlyPaths to be set"));
    }
    let driver = host.log_config.driver.as_str();
    if !matches!(driver, "" | "json-file" | "local" | "none") {
        return refused("log driver", driver);
    }
    for option in host
        .log_config
        .config
        .iter()
        .flatten()
        .map(|(name, _)| name)
    {
        // The daemon's own driver may be one that sends, and these would say where.
        if !LOG_OPTIONS.contains(&option.as_str()) {
            return refused("log option", option);
        }
    }
    for option in host.security_opt.iter().flatten() {
        let adds = [
            "no-new-privileges",
            "no-new-privileges:true",
            "no-new-privileges=true",
        ];
        if !adds.contains(&option.as_str()) {
            return refused("SecurityOpt", option);
        }
    }
    Ok(())
}

/// The network that a container is to have.
async fn place(grant: &Grant, engine: &Arc<Engine>, name: &str) -> Result<(), ApiError> {
    // Its namespace may be the host's.
    if name.starts_with("container:") {
        return Err(grant.refusal(&format!("network {name:?}")));
    }
    match name {
        "" | "default" | "bridge" | "none" => Ok(()),
        "host" => Err(grant.refusal("network \"host\"")),
        // Its id names it, too.
        name => match gate::network(grant, engine, name).await?.driver.as_str() {
            "host" => Err(grant.refusal("network \"host\"")),
            _ => Ok(()),
        },
    }
}

/// Keeps a place in a network to addresses of the daemon's choice.
///
/// # Errors
/// 403 that names what is too much.
pub(crate) fn endpoint(grant: &Grant, wanted: &network::EndpointSettings) -> Result<(), ApiError> {
    only(
        grant,
        wanted,
        &[&["Aliases", "DNSNames", "EndpointID", "NetworkID"]],
    )
}

/// A volume that a container is to have: its own, or one of the scope.
async fn storage(
    grant: &Grant,
    engine: &Arc<Engine>,
    source: &str,
    said: &str,
) -> Result<(), ApiError> {
    if source.is_empty() {
        return Ok(());
    }
    if source.contains('/') || source.starts_with('.') {
        return Err(grant.refusal(&format!("mounts of the host's files ({said})")));
    }
    match gate::volume(grant, engine, source).await {
        // One that is made by the way would not have the labels.
        Err(error) if error.status == http::StatusCode::NOT_FOUND && !grant.is_whole() => {
            let hint = format!(
                "volume {source:?}, which is not there: make it first (docker volume create)"
            );
            Err(grant.refusal(&hint))
        }
        Err(error) if error.status == http::StatusCode::NOT_FOUND => Ok(()),
        other => other,
    }
}

async fn check_mount(grant: &Grant, engine: &Arc<Engine>, mount: &Mount) -> Result<(), ApiError> {
    match mount.kind.as_str() {
        "tmpfs" => Ok(()),
        "volume" => {
            let options = mount.volume_options.as_ref();
            if options.is_some_and(|options| options.driver_config.is_some()) {
                return Err(grant.refusal("volumes with driver options"));
            }
            storage(grant, engine, &mount.source, &mount.source).await
        }
        kind => Err(grant.refusal(&format!("mounts of type {kind:?}"))),
    }
}

/// Keeps a change of a container to resources.
///
/// # Errors
/// 403 that names what is too much.
pub(crate) fn update(grant: &Grant, wanted: &HostConfig) -> Result<(), ApiError> {
    only(grant, wanted, &[HARMLESS])
}

/// Keeps a process in a container to the container's privileges.
///
/// # Errors
/// 403.
pub(crate) fn exec(grant: &Grant, wanted: &ExecCreateRequest) -> Result<(), ApiError> {
    match wanted.privileged {
        true => Err(grant.refusal("privileged processes")),
        false => Ok(()),
    }
}

/// Keeps a new volume to plain directories, and gives it the grant's labels.
///
/// # Errors
/// 403 that names what is too much.
pub(crate) fn volume(grant: &Grant, wanted: &mut volume::CreateRequest) -> Result<(), ApiError> {
    grant.label(wanted.labels.get_or_insert_default())?;
    if wanted.driver == "local" {
        wanted.driver.clear();
    }
    only(grant, wanted, &[&["Name", "Labels"]])
}

/// Keeps a new network to bridges with addresses of the daemon's choice, and gives it the grant's labels.
///
/// # Errors
/// 403 that names what is too much.
pub(crate) fn network(grant: &Grant, wanted: &mut network::CreateRequest) -> Result<(), ApiError> {
    const PLAIN: &[&str] = &[
        "Name",
        "Labels",
        "Internal",
        "Attachable",
        "EnableIPv4",
        "EnableIPv6",
    ];
    grant.label(wanted.labels.get_or_insert_default())?;
    let mut shown = wanted.clone();
    if shown.driver == "bridge" {
        shown.driver.clear();
    }
    if shown.scope == "local" {
        shown.scope.clear();
    }
    if let Some(ipam) = &mut shown.ipam
        && ipam.driver == "default"
    {
        ipam.driver.clear();
    }
    only(grant, &shown, &[PLAIN])
}
