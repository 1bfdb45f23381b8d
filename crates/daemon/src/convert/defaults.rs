//! What dockerd writes into a request before it keeps it: inspect shows the result.

use crate::config::ContainerDefaults;
use crate::version::ApiVersion;
use hull_api::container::{CreateRequest, HostConfig, Ulimit};
use hull_engine::container::{MASKED_PATHS, READONLY_PATHS};
use std::collections::BTreeMap;

/// Bytes of `/dev/shm`.
const SHM_SIZE: i64 = 64 << 20;

/// Fills in what the daemon's settings say to that: what inspect shows.
pub(crate) fn fill_in_settings(host: &mut HostConfig, v2: bool, settings: &ContainerDefaults) {
    default_to(&mut host.ipc_mode, &settings.ipc_mode);
    if !(host.privileged && v2) {
        default_to(&mut host.cgroupns_mode, &settings.cgroupns_mode);
    }
    if let (0, Some(size)) = (host.shm_size, settings.shm_size) {
        host.shm_size = size;
    }
    let log = &mut host.log_config;
    default_to(&mut log.driver, &settings.log_driver);
    let default = match settings.log_driver.as_str() {
        "" => "json-file",
        driver => driver,
    };
    if log.driver == default || log.driver.is_empty() {
        let options = log.config.get_or_insert_default();
        for (name, value) in &settings.log_opts {
            let option = options.entry(name.clone());
            option.or_insert_with(|| value.clone());
        }
    }
    // That no copy of a log is kept goes for containers with another driver, too.
    if let Some(disabled) = settings.log_opts.get("cache-disabled") {
        let options = log.config.get_or_insert_default();
        let option = options.entry("cache-disabled".to_owned());
        option.or_insert_with(|| disabled.clone());
    }
    for (name, (soft, hard)) in &settings.ulimits {
        let limits = host.ulimits.get_or_insert_default();
        if !limits.iter().any(|limit| limit.name == *name) {
            limits.push(Ulimit {
                name: name.clone(),
                soft: *soft,
                hard: *hard,
            });
        }
    }
}

/// Fills in what the daemon's settings say and inspect does not show.
pub(crate) fn fill_in_unseen(host: &mut HostConfig, settings: &ContainerDefaults) {
    default_to(&mut host.cgroup_parent, &settings.cgroup_parent);
    if settings.init {
        host.init.get_or_insert(true);
    }
    let named = |name: &str| {
        let options = host.security_opt.iter().flatten();
        let mut names = options.filter_map(|option| option.split(['=', ':']).next());
        names.any(|other| other == name)
    };
    let mut more = Vec::new();
    if settings.no_new_privileges && !named("no-new-privileges") {
        more.push("no-new-privileges".to_owned());
    }
    if let Some(profile) = &settings.seccomp
        && !host.privileged
        && !named("seccomp")
    {
        more.push(format!("seccomp={profile}"));
    }
    if !more.is_empty() {
        host.security_opt.get_or_insert_default().extend(more);
    }
}

/// Takes out limits and orders that the request's version did not have; gives warnings.
pub(crate) fn as_of(request: &mut CreateRequest, version: ApiVersion) -> Vec<String> {
    let host = &mut request.host_config;
    let mut warnings = Vec::new();
    if !version.since(25) {
        // The client removes the container.
        host.auto_remove = false;
    }
    if !version.since(40) {
        host.kernel_memory_tcp = 0;
    }
    if !version.since(42) && host.kernel_memory != 0 {
        warnings.push("Specifying a kernel memory limit is deprecated and will be removed in a future release. Limitation discarded.".to_owned());
    }
    host.kernel_memory = 0;
    warnings
}

/// Fills in what the client left open; some of it differs between versions 1 and 2 of control groups.
pub(crate) fn fill_in(request: &mut CreateRequest, v2: bool) {
    let config = &mut request.config;
    config.labels.get_or_insert_default();
    let host = &mut request.host_config;
    if matches!(host.network_mode.as_str(), "" | "default") {
        "bridge".clone_into(&mut host.network_mode);
    }
    default_to(&mut host.restart_policy.name, "no");
    default_to(&mut host.ipc_mode, "private");
    let private = v2 && !host.privileged;
    default_to(
        &mut host.cgroupns_mode,
        if private { "private" } else { "host" },
    );
    default_to(&mut host.log_config.driver, "json-file");
    host.log_config.config.get_or_insert_default();
    if host.shm_size == 0 {
        host.shm_size = SHM_SIZE;
    }
    fill_in_resources(host, v2);
    if host.privileged {
        host.security_opt
            .get_or_insert_with(|| vec!["label=disable".to_owned()]);
    } else {
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        host.masked_paths
            .get_or_insert_with(|| owned(&MASKED_PATHS));
        host.readonly_paths
            .get_or_insert_with(|| owned(&READONLY_PATHS));
    }
    let endpoints = request
        .networking_config
        .endpoints_config
        .get_or_insert_with(BTreeMap::new);
    if let Some(endpoint) = endpoints.remove("default") {
        endpoints
            .entry(host.network_mode.clone())
            .or_insert(endpoint);
    }
}

fn fill_in_resources(host: &mut HostConfig, v2: bool) {
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    // -1 leaves it to the kernel, which is what nothing means too.
    host.memory_swappiness = host.memory_swappiness.filter(|value| *value != -1);
    host.pids_limit = host.pids_limit.filter(|limit| *limit > 0);
    if !v2 {
        host.oom_kill_disable.get_or_insert(false);
    } else {
        host.oom_kill_disable = None;
    }
}

fn default_to(text: &mut String, default: &str) {
    if text.is_empty() {
        default.clone_into(text);
    }
}
