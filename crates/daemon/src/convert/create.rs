//! `POST /containers/create`: the request becomes a configuration.

use super::{defaults, mounts, resources, security, unsupported};
use crate::config::ContainerDefaults;
use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::container::{Config as WireConfig, CreateRequest, HostConfig};
use hull_engine::container::{Config, IpcMode, LogConfig, LogDriver, PidMode, Port, RestartPolicy};
use std::collections::BTreeSet;

/// Converts a request, defaults and all.
///
/// # Errors
/// 400 for what makes no sense, 404 for networks that are not there, 501 for what Hull does not do.
pub(crate) fn config(
    mut request: CreateRequest,
    platform: Option<String>,
    cgroup_v2: bool,
    settings: &ContainerDefaults,
    version: ApiVersion,
) -> Result<Config, ApiError> {
    super::age::renew(&mut request, version)?;
    defaults::fill_in_settings(&mut request.host_config, cgroup_v2, settings);
    defaults::fill_in(&mut request, cgroup_v2);
    refuse_what_is_missing(&request.host_config)?;
    super::ports::check_sharing(&request.config, &request.host_config)?;
    let places = super::ports::places(&mut request, version)?;
    let kept = super::kept::request(&request)?;
    defaults::fill_in_unseen(&mut request.host_config, settings);
    check_names(&request.config)?;
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
        platform,
        request: Some(kept),
        network: places.mode,
        networks: places.networks,
        links: places.links,
        ports: published,
        publish_all: request.host_config.publish_all_ports,
        mac_address: mac_address.filter(|mac| !mac.is_empty()),
        ..process(request.config)?
    };
    isolate(
        surround(meant, &request.host_config, version)?,
        request.host_config,
    )
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
        cgroup_parent: host.cgroup_parent,
        sysctls: host.sysctls,
        privileged: host.privileged,
        cap_add: host.cap_add.map(|words| words.0).unwrap_or_default(),
        cap_drop: host.cap_drop.map(|words| words.0).unwrap_or_default(),
        masked_paths: host.masked_paths,
        readonly_paths: host.readonly_paths,
        devices: resources::devices(host.devices.unwrap_or_default())?,
        device_cgroup_rules: host.device_cgroup_rules.unwrap_or_default(),
        ..meant
    })
}

/// Whether there is anything in an optional list.
fn some<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

fn refuse_what_is_missing(host: &HostConfig) -> Result<(), ApiError> {
    for (asked, what) in [
        (
            some(host.device_requests.as_ref()),
            "device requests such as --gpus",
        ),
        (host.init == Some(true), "--init"),
        (!host.storage_opt.is_empty(), "--storage-opt"),
        (
            !matches!(host.isolation.as_str(), "" | "default"),
            "--isolation",
        ),
        (
            !matches!(host.userns_mode.as_str(), "" | "host"),
            "user namespaces by --userns",
        ),
        (
            !host.cgroup.is_empty(),
            "sharing another container's control group",
        ),
    ] {
        if asked {
            return Err(unsupported(what));
        }
    }
    Ok(())
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
    let name = &config.hostname;
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() > 63 || !name.is_empty() && !name.split('.').all(label) {
        return Err(ApiError::bad_request(format!(
            "invalid hostname format: {name}"
        )));
    }
    let nameless = |variable: &&String| variable.is_empty() || variable.starts_with('=');
    match config.env.iter().flatten().find(nameless) {
        Some(variable) => Err(ApiError::bad_request(format!(
            "invalid environment variable: {variable}"
        ))),
        None => Ok(()),
    }
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

fn restart_policy(host: &HostConfig) -> Result<RestartPolicy, ApiError> {
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

fn log_config(log: hull_api::container::LogConfig) -> Result<LogConfig, ApiError> {
    /// The drivers that dockerd has besides.
    const OTHERS: [&str; 9] = [
        "local", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs",
    ];
    let driver = match log.driver.as_str() {
        "" | "json-file" => LogDriver::JsonFile,
        "none" => LogDriver::None,
        other if OTHERS.contains(&other) => {
            return Err(unsupported(format_args!(
                "the log driver {other}: use json-file or none"
            )));
        }
        other => {
            return Err(ApiError::bad_request(format!(
                "logger: no log driver named '{other}' is registered"
            )));
        }
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
