//! `POST /containers/create`: the request becomes a configuration.

use super::{defaults, mounts, resources, security, unsupported};
use crate::config::ContainerDefaults;
use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::container::{Config as WireConfig, CreateRequest, HostConfig};
use hull_engine::container::{Config, IpcMode, LogConfig, LogDriver, PidMode, Port, RestartPolicy};
use std::collections::BTreeSet;

/// What the host and the daemon's settings decide where a request does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host<'a> {
    /// Whether control groups are version 2.
    pub(crate) cgroup_v2: bool,
    /// The daemon's settings for containers.
    pub(crate) settings: &'a ContainerDefaults,
}

/// A request, understood.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What was asked for.
    pub(crate) config: Config,
    /// What of it has no effect.
    pub(crate) warnings: Vec<String>,
}

/// Converts a request, defaults and all.
///
/// # Errors
/// 400 for what makes no sense, 404 for networks that are not there, 501 for what Hull does not do.
pub(crate) fn config(
    mut request: CreateRequest,
    platform: Option<String>,
    host: Host<'_>,
    version: ApiVersion,
) -> Result<Asked, ApiError> {
    super::age::renew(&mut request, version)?;
    let mut warnings = defaults::as_of(&mut request, version);
    warnings.extend(resources::discard_foreign(&mut request.host_config));
    check_storage(&request.host_config)?;
    defaults::fill_in_settings(&mut request.host_config, host.cgroup_v2, host.settings);
    defaults::fill_in(&mut request, host.cgroup_v2);
    refuse_what_is_missing(&request.host_config)?;
    super::ports::check_sharing(&request.config, &request.host_config)?;
    let places = super::ports::places(&mut request, version)?;
    let kept = super::kept::request(&request)?;
    defaults::fill_in_unseen(&mut request.host_config, host.settings);
    check_names(&request.config)?;
    check_modes(&request.config, &request.host_config)?;
    let mac_address = Some(request.config.mac_address.clone());
    super::ports::check_names(&request.host_config)?;
    let published = super::ports::bindings(&request.host_config)?;
    super::ports::check_hosts(
        request
            .host_config
            .extra_hosts
            .as_deref()
            .unwrap_or_default(),
    )?;
    let check = request.config.healthcheck.take();
    let meant = Config {
        health_check: check
            .map(|check| super::health::check(check, version))
            .transpose()?,
        on_unhealthy: super::health::on_unhealthy(&request.hull.on_unhealthy)?,
        platform: platform.filter(|_| version.since(41)),
        request: Some(kept),
        network: places.mode,
        networks: places.networks,
        links: places.links,
        ports: published,
        publish_all: request.host_config.publish_all_ports,
        mac_address: mac_address.filter(|mac| !mac.is_empty()),
        ..process(request.config)?
    };
    let meant = surround(meant, &request.host_config, version)?;
    let config = isolate(meant, request.host_config)?;
    Ok(Asked { config, warnings })
}

/// What runs.
fn process(config: WireConfig) -> Result<Config, ApiError> {
    Ok(Config {
        image: config.image,
        entrypoint: config.entrypoint.map(|words| words.0),
        cmd: config.cmd.map(|words| words.0),
        env: config.env.unwrap_or_default(),
        working_dir: config.working_dir,
        user: config.user,
        hostname: Some(config.hostname).filter(|name| !name.is_empty()),
        domainname: config.domainname,
        labels: config.labels.unwrap_or_default(),
        stop_signal: Some(config.stop_signal).filter(|signal| !signal.is_empty()),
        stop_timeout: config.stop_timeout,
        shell: config.shell.map(|words| words.0),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        volumes: mounts::anonymous(config.volumes.iter().flatten().map(|(path, _)| path))?,
        exposed_ports: ports(config.exposed_ports.unwrap_or_default().into_keys())?,
        ..Config::default()
    })
}

/// Adds what surrounds it: files, names, log, and what happens when it ends.
fn surround(meant: Config, host: &HostConfig, version: ApiVersion) -> Result<Config, ApiError> {
    Ok(Config {
        groups: host.group_add.clone().unwrap_or_default(),
        annotations: host.annotations.clone(),
        console_size: console_size(host.console_size)?,
        mounts: mounts::mounts(host, version)?,
        volume_driver: host.volume_driver.clone(),
        volumes_from: host.volumes_from.clone().unwrap_or_default(),
        read_only: host.readonly_rootfs,
        shm_size: u64::try_from(host.shm_size)
            .map_err(|_| ApiError::bad_request("SHM size can not be less than 0"))?,
        dns: host.dns.clone().unwrap_or_default(),
        dns_search: host.dns_search.clone().unwrap_or_default(),
        dns_options: host.dns_options.clone().unwrap_or_default(),
        extra_hosts: host.extra_hosts.clone().unwrap_or_default(),
        log: log_config(host.log_config.clone())?,
        restart: restart_policy(host)?,
        auto_remove: host.auto_remove,
        runtime: Some(host.runtime.clone()).filter(|name| !name.is_empty()),
        ..meant
    })
}

/// Adds what keeps it apart from the host: namespaces, limits, privileges.
fn isolate(meant: Config, host: HostConfig) -> Result<Config, ApiError> {
    let security = security::options(&host)?;
    Ok(Config {
        pid: pid_mode(&host.pid_mode)?,
        ipc: ipc_mode(&host.ipc_mode)?,
        host_uts: flag_mode("UTS", &host.uts_mode)?,
        host_cgroup_namespace: cgroup_namespace(&host.cgroupns_mode)?,
        resources: resources::limits(&host)?,
        ulimits: resources::ulimits(&host)?,
        oom_score_adj: oom_score_adj(host.oom_score_adj)?,
        no_new_privileges: security.no_new_privileges,
        seccomp: security.seccomp,
        apparmor: security.apparmor,
        selinux: security.labels,
        writable_cgroups: security.writable_cgroups,
        init: host.init,
        cgroup_parent: host.cgroup_parent,
        sysctls: host.sysctls,
        privileged: host.privileged,
        cap_add: host.cap_add.map(|words| words.0).unwrap_or_default(),
        cap_drop: host.cap_drop.map(|words| words.0).unwrap_or_default(),
        masked_paths: host.masked_paths,
        readonly_paths: host.readonly_paths,
        devices: resources::devices(host.devices.unwrap_or_default())?,
        device_cgroup_rules: host.device_cgroup_rules.unwrap_or_default(),
        device_requests: resources::device_requests(host.device_requests.unwrap_or_default()),
        ..meant
    })
}

fn refuse_what_is_missing(host: &HostConfig) -> Result<(), ApiError> {
    if host.cgroup.is_empty() {
        return Ok(());
    }
    Err(unsupported("sharing another container's control group"))
}

fn check_names(config: &WireConfig) -> Result<(), ApiError> {
    if config.image.is_empty() && config.cmd.is_none() && config.entrypoint.is_none() {
        return Err(ApiError::bad_request(
            "config cannot be empty in order to create a container",
        ));
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(ApiError::bad_request(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    // dockerd takes any; the kernel takes 64 bytes, and files of names cannot have more than one line.
    for (name, what) in [
        (&config.hostname, "hostname"),
        (&config.domainname, "domainname"),
    ] {
        if name.len() > 64 || name.contains(|letter: char| letter == '/' || letter < ' ') {
            return Err(ApiError::bad_request(format!(
                "invalid {what} format: {name}"
            )));
        }
    }
    let nameless = |variable: &&String| variable.is_empty() || variable.starts_with('=');
    match config.env.iter().flatten().find(nameless) {
        Some(variable) => Err(ApiError::bad_request(format!(
            "invalid environment variable: {variable}"
        ))),
        None => Ok(()),
    }
}

/// Modes that are no configuration's: those that only other systems have, and those that exclude each other.
fn check_modes(config: &WireConfig, host: &HostConfig) -> Result<(), ApiError> {
    let why = match () {
        () if !matches!(host.isolation.to_ascii_lowercase().as_str(), "" | "default") => format!(
            "invalid isolation ({}): linux only supports 'default'",
            host.isolation
        ),
        () if !matches!(host.userns_mode.as_str(), "" | "host") => {
            format!("invalid user namespace mode: {}", host.userns_mode)
        }
        () if host.uts_mode == "host" && !config.hostname.is_empty() => {
            "conflicting options: hostname and the UTS mode".to_owned()
        }
        () if host.annotations.contains_key("") => {
            "invalid Annotations: the empty string is not permitted as an annotation key".to_owned()
        }
        () => return Ok(()),
    };
    Err(ApiError::bad_request(why))
}

/// Limits of the writable layer: dockerd has one, on file systems that Hull does not drive in that way.
fn check_storage(host: &HostConfig) -> Result<(), ApiError> {
    let Some(option) = host.storage_opt.keys().next() else {
        return Ok(());
    };
    // The status is dockerd's, too.
    Err(ApiError::internal(if option.eq_ignore_ascii_case("size") {
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option".to_owned()
    } else {
        format!("Unknown option {option}")
    }))
}

fn pid_mode(mode: &str) -> Result<PidMode, ApiError> {
    Ok(match (mode, mode.strip_prefix("container:")) {
        ("", _) => PidMode::Private,
        ("host", _) => PidMode::Host,
        (_, Some(name)) if !name.is_empty() => PidMode::Container(name.to_owned()),
        _ => return Err(ApiError::bad_request(format!("invalid PID mode: {mode}"))),
    })
}

fn ipc_mode(mode: &str) -> Result<IpcMode, ApiError> {
    Ok(match (mode, mode.strip_prefix("container:")) {
        ("" | "private", _) => IpcMode::Private,
        ("shareable", _) => IpcMode::Shareable,
        ("none", _) => IpcMode::None,
        ("host", _) => IpcMode::Host,
        (_, Some(name)) if !name.is_empty() => IpcMode::Container(name.to_owned()),
        _ => return Err(ApiError::bad_request(format!("invalid IPC mode: {mode}"))),
    })
}

fn flag_mode(what: &str, mode: &str) -> Result<bool, ApiError> {
    match mode {
        "" => Ok(false),
        "host" => Ok(true),
        _ => Err(ApiError::bad_request(format!(
            "invalid {what} mode: {mode}"
        ))),
    }
}

fn cgroup_namespace(mode: &str) -> Result<Option<bool>, ApiError> {
    match mode {
        "" => Ok(None),
        "host" => Ok(Some(true)),
        "private" => Ok(Some(false)),
        _ => Err(ApiError::bad_request(format!(
            "invalid cgroup namespace mode: {mode}"
        ))),
    }
}

fn console_size([rows, columns]: [u32; 2]) -> Result<Option<(u16, u16)>, ApiError> {
    if (rows, columns) == (0, 0) {
        return Ok(None);
    }
    match (u16::try_from(rows), u16::try_from(columns)) {
        (Ok(rows), Ok(columns)) => Ok(Some((rows, columns))),
        _ => Err(ApiError::bad_request(format!(
            "invalid console size: {rows} rows, {columns} columns"
        ))),
    }
}

fn oom_score_adj(value: i64) -> Result<Option<i32>, ApiError> {
    match i32::try_from(value) {
        Ok(0) => Ok(None),
        Ok(value @ -1000..=1000) => Ok(Some(value)),
        _ => Err(ApiError::bad_request(format!(
            "Invalid value {value}, range for oom score adj is [-1000, 1000]"
        ))),
    }
}

/// The restart policy.
///
/// # Errors
/// 400 in dockerd's words.
pub(crate) fn restart_policy(host: &HostConfig) -> Result<RestartPolicy, ApiError> {
    let policy = &host.restart_policy;
    let refused = |why: String| {
        Err(ApiError::bad_request(format!(
            "invalid restart policy: {why}"
        )))
    };
    let count = policy.maximum_retry_count;
    let parsed = match policy.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => match u32::try_from(count) {
            Ok(max_retries) => RestartPolicy::OnFailure { max_retries },
            Err(_) => return refused("maximum retry count cannot be negative".to_owned()),
        },
        other => {
            return refused(format!(
                "unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    };
    if count != 0 && !matches!(parsed, RestartPolicy::OnFailure { .. }) {
        return refused("maximum retry count can only be used with 'on-failure'".to_owned());
    }
    if host.auto_remove && parsed != RestartPolicy::No {
        return Err(ApiError::bad_request(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    Ok(parsed)
}

/// Shows in a kept request the restart policy there is now.
pub(crate) fn reflect_restart(host: &mut HostConfig, policy: RestartPolicy) {
    let (name, count) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max_retries } => ("on-failure", max_retries.into()),
    };
    name.clone_into(&mut host.restart_policy.name);
    host.restart_policy.maximum_retry_count = count;
}

fn log_config(log: hull_api::container::LogConfig) -> Result<LogConfig, ApiError> {
    let driver = match log.driver.as_str() {
        "" => LogDriver::JsonFile,
        // dockerd has it, and it is not refused by its name there.
        "awslogs" => {
            return Err(unsupported("the log driver awslogs: use another one"));
        }
        other => LogDriver::named(other).ok_or_else(|| {
            ApiError::bad_request(format!(
                "error looking up logging plugin {other}: plugin \"{other}\" not found"
            ))
        })?,
    };
    Ok(LogConfig {
        driver,
        options: log.config.unwrap_or_default(),
    })
}

fn ports(texts: impl Iterator<Item = String>) -> Result<BTreeSet<Port>, ApiError> {
    texts.map(|text| port(&text)).collect()
}

/// A port as `number[/protocol]`.
///
/// # Errors
/// 400 in dockerd's words.
pub(crate) fn port(text: &str) -> Result<Port, ApiError> {
    let lower = text.to_ascii_lowercase();
    let (number, protocol) = lower.split_once('/').unwrap_or((&lower, "tcp"));
    let number = number.parse().ok().filter(|number| *number != 0);
    match (number, protocol) {
        (Some(number), "tcp" | "udp" | "sctp") => Ok(Port {
            number,
            protocol: protocol.to_owned(),
        }),
        _ => Err(ApiError::bad_request(format!(
            "invalid port specification: {text:?}"
        ))),
    }
}
