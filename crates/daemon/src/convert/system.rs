//! `/version` and `/info`.

use super::Versioned;
use crate::app::Live;
use crate::config::ContainerDefaults;
use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::system::{
    Component, FirewallBackend, IndexConfig, Info as WireInfo, PlatformName, Plugins,
    RegistryConfig, Runtime, Swarm, Version,
};
use hull_engine::system::Info;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const HULL: &str = env!("CARGO_PKG_VERSION");
/// What Hull calls its engine's version: that of the dockerd whose behaviour it has, and its own as what semantic versioning calls
/// build metadata. Tools take this number for Docker's and refuse what is too old (minikube wants 18.09 of it, for one).
pub(crate) const ENGINE: &str = concat!("28.5.2+hull.", env!("CARGO_PKG_VERSION"));
/// The `Server` header.
pub(crate) const SERVER: &str =
    concat!("Docker/28.5.2+hull.", env!("CARGO_PKG_VERSION"), " (linux)");

/// An architecture in Go's words, as `/version` has it.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn kernel() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// `GET /version`.
pub(crate) fn version(experimental: bool) -> Version {
    let details: BTreeMap<String, String> = [
        ("ApiVersion", hull_api::API_VERSION.to_owned()),
        ("Arch", go_arch().to_owned()),
        ("Experimental", experimental.to_string()),
        ("GitCommit", String::new()),
        ("KernelVersion", kernel()),
        ("MinAPIVersion", hull_api::MIN_API_VERSION.to_owned()),
        ("Os", "linux".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let component = |name: &str, version: &str, details| Component {
        name: name.to_owned(),
        version: version.to_owned(),
        details,
    };
    Version {
        platform: Some(PlatformName {
            name: "Hull".to_owned(),
        }),
        components: vec![
            component("Engine", ENGINE, details),
            component("hull-runtime", HULL, BTreeMap::new()),
            component("hull-shim", HULL, BTreeMap::new()),
        ],
        version: ENGINE.to_owned(),
        api_version: hull_api::API_VERSION.to_owned(),
        min_api_version: hull_api::MIN_API_VERSION.to_owned(),
        os: "linux".to_owned(),
        arch: go_arch().to_owned(),
        kernel_version: kernel(),
        ..Version::default()
    }
}

/// `GET /info`.
///
/// # Errors
/// 500 when the reply cannot be encoded.
pub(crate) fn info(
    info: Info,
    live: &Live,
    version: ApiVersion,
) -> Result<Versioned<WireInfo>, ApiError> {
    let memory_limit = info.limits.memory;
    let wire = wire(info, live);
    if version.since(50) {
        return Ok(Versioned::Newest(wire));
    }
    let mut value = serde_json::to_value(&wire)
        .map_err(|error| ApiError::internal(format!("could not encode the reply: {error}")))?;
    older(&mut value, memory_limit, version);
    Ok(Versioned::Older(value))
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn wire(mut info: Info, live: &Live) -> WireInfo {
    let insecure = std::mem::take(&mut info.insecure_registries);
    let mirrors = std::mem::take(&mut info.registry_mirrors);
    let runtimes = std::mem::take(&mut info.runtimes);
    let warnings = std::mem::take(&mut info.warnings);
    WireInfo {
        plugins: plugins(),
        debug: live.debug,
        experimental_build: live.others.experimental,
        system_time: jiff::Timestamp::now().to_string(),
        logging_driver: match live.containers.log_driver.as_str() {
            "" => "json-file".to_owned(),
            driver => driver.to_owned(),
        },
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: info.cgroup_version.to_string(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: Some(registries(insecure, mirrors)),
        labels: Some(live.others.labels.clone()),
        server_version: ENGINE.to_owned(),
        runtimes: runtimes
            .into_iter()
            .map(|(name, path)| (name, runtime(&path)))
            .collect(),
        swarm: Swarm {
            local_node_state: "inactive".to_owned(),
            ..Swarm::default()
        },
        // Always so: containers never depend on the daemon.
        live_restore_enabled: true,
        security_options: security_options(&info, &live.containers),
        firewall_backend: Some(FirewallBackend {
            driver: "nftables".to_owned(),
            info: Vec::new(),
        }),
        cdi_spec_dirs: Some(live.others.cdi_spec_dirs.clone()),
        init_binary: live
            .others
            .init_path
            .as_deref()
            .map_or(String::new(), |path| path.display().to_string()),
        warnings: (!warnings.is_empty()).then_some(warnings),
        ..host(info)
    }
}

/// What the engine and its host tell of themselves.
fn host(info: Info) -> WireInfo {
    let limits = info.limits;
    let status = info
        .driver_status
        .into_iter()
        .map(|(name, value)| [name, value]);
    WireInfo {
        id: info.id,
        containers: number(info.running + info.paused + info.stopped),
        containers_running: number(info.running),
        containers_paused: number(info.paused),
        containers_stopped: number(info.stopped),
        images: number(info.images),
        driver: info.driver,
        driver_status: Some(status.collect()),
        memory_limit: limits.memory,
        swap_limit: limits.swap,
        cpu_cfs_period: limits.cpu_quota,
        cpu_cfs_quota: limits.cpu_quota,
        cpu_shares: limits.cpu_shares,
        cpu_set: limits.cpuset,
        pids_limit: limits.pids,
        oom_kill_disable: limits.oom_kill_disable,
        ipv4_forwarding: info.ipv4_forwarding,
        n_fd: number(info.open_files),
        n_events_listener: number(info.event_listeners),
        kernel_version: info.kernel_version,
        operating_system: info.operating_system,
        os_version: info.os_version,
        os_type: "linux".to_owned(),
        architecture: info.architecture,
        n_cpu: number(info.cpus),
        mem_total: number(info.memory),
        docker_root_dir: info.data_root.display().to_string(),
        name: info.hostname,
        default_runtime: info.default_runtime,
        ..WireInfo::default()
    }
}

fn plugins() -> Plugins {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    Plugins {
        volume: words(&["local"]),
        network: words(&["bridge", "host", "ipvlan", "macvlan", "null"]),
        authorization: None,
        log: words(&[
            "fluentd",
            "gelf",
            "journald",
            "json-file",
            "local",
            "splunk",
            "syslog",
        ]),
    }
}

fn security_options(info: &Info, defaults: &ContainerDefaults) -> Vec<String> {
    let mut options = Vec::new();
    if info.seccomp {
        let profile = match defaults.seccomp_path.as_str() {
            "" => "builtin",
            path => path,
        };
        options.push(format!("name=seccomp,profile={profile}"));
    }
    if info.cgroup_version == 2 {
        options.push("name=cgroupns".to_owned());
    }
    if defaults.no_new_privileges {
        options.push("name=no-new-privileges".to_owned());
    }
    options
}

fn runtime(path: &std::path::Path) -> Runtime {
    Runtime {
        path: path.display().to_string(),
        ..Runtime::default()
    }
}

fn registries(insecure: Vec<String>, mirrors: Vec<String>) -> RegistryConfig {
    let (networks, hosts): (Vec<_>, Vec<_>) =
        insecure.into_iter().partition(|entry| entry.contains('/'));
    let hub = IndexConfig {
        mirrors: Some(mirrors.clone()),
        name: "docker.io".to_owned(),
        official: true,
        secure: true,
    };
    let host = |name: String| {
        let config = IndexConfig {
            mirrors: Some(Vec::new()),
            name: name.clone(),
            official: false,
            secure: false,
        };
        (name, config)
    };
    let mut index_configs: BTreeMap<_, _> = hosts.into_iter().map(host).collect();
    index_configs.insert("docker.io".to_owned(), hub);
    let mut cidrs = vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()];
    for network in networks {
        if !cidrs.contains(&network) {
            cidrs.push(network);
        }
    }
    RegistryConfig {
        index_configs,
        insecure_registry_cidrs: cidrs,
        mirrors: (!mirrors.is_empty()).then_some(mirrors),
    }
}

/// Puts in what older versions of the API had, and takes out what they had not.
fn older(info: &mut Value, memory_limit: bool, version: ApiVersion) {
    if !version.since(25) {
        // Names alone: `name=seccomp,profile=builtin` was `seccomp`.
        for option in info["SecurityOptions"].as_array_mut().into_iter().flatten() {
            let name = option.as_str().unwrap_or_default();
            let name = name.split(',').next().unwrap_or_default();
            *option = name.trim_start_matches("name=").into();
        }
    }
    if !version.since(42) {
        info["KernelMemory"] = json!(memory_limit);
    }
    if !version.since(47) {
        info["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] = Value::Null;
        info["RegistryConfig"]["AllowNondistributableArtifactsHostnames"] = Value::Null;
    }
    if !version.since(49) {
        for name in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
            let id = info[name]["ID"].clone();
            if id != "" {
                info[name]["Expected"] = id;
            }
        }
        if let Some(members) = info.as_object_mut() {
            members.remove("FirewallBackend");
        }
    }
    info["BridgeNfIptables"] = json!(false);
    info["BridgeNfIp6tables"] = json!(false);
}
