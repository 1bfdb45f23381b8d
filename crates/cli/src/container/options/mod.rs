//! From the flags of `run` and `create` to the request.

mod devices;
mod environment;
mod hosts;
mod mounts;
mod network;
mod ports;
#[cfg(test)]
mod recorded;
mod table;

pub(super) use environment::{check_env, environment};
pub(crate) use environment::{check_label, pairs};
pub(crate) use mounts::csv;
pub(crate) use network::check_link;
pub(super) use table::{FLAGS, RUN_FLAGS};

use crate::flags::Matches;
use crate::format::parse_cpus;
use hull_api::container::{
    Config, CreateRequest, Healthcheck, HostConfig, LogConfig, NetworkingConfig, Own,
    RestartPolicy, Words,
};
use serde_json::Value;

/// Builds the request; the first argument is the image, the rest its command.
pub(super) fn request(matches: &Matches) -> Result<CreateRequest, String> {
    let networks = network::networks(matches)?;
    let published = ports::publish(matches.list("publish"))?;
    let exposed = ports::exposed(matches.list("expose"), &published)?;
    let volumes = mounts::volumes(matches.list("volume"))?;
    let mut config = config(matches)?;
    config.exposed_ports = Some(exposed);
    config.volumes = Some(volumes.anonymous);
    let mut host_config = host_config(matches)?;
    limits(matches, &mut host_config)?;
    modes(matches, &mut host_config)?;
    host_config.port_bindings = Some(published);
    host_config.binds = some(&volumes.binds);
    host_config.network_mode = networks.mode;
    if host_config.auto_remove && !matches!(host_config.restart_policy.name.as_str(), "" | "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    if config.open_stdin && config.attach_stdin {
        // Our end of input is the container's.
        config.stdin_once = true;
    }
    Ok(CreateRequest {
        config,
        host_config,
        networking_config: NetworkingConfig {
            endpoints_config: Some(networks.endpoints),
        },
        hull: Own {
            on_unhealthy: matches.text("on-unhealthy").to_owned(),
        },
    })
}

fn some(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn config(matches: &Matches) -> Result<Config, String> {
    let attach: Vec<String> = matches
        .list("attach")
        .iter()
        .map(|stream| stream.to_lowercase())
        .collect();
    let attached = |name: &str| attach.iter().any(|stream| stream == name);
    let env = environment(matches.list("env-file"), matches.list("env"))?;
    let labels = environment::labels(matches.list("label-file"), matches.list("label"))?;
    let entrypoint = matches
        .changed("entrypoint")
        // An empty one takes the image's away, which the API says with one empty word.
        .then(|| Words(vec![matches.text("entrypoint").to_owned()]));
    let (image, command) = matches
        .args
        .split_first()
        .map_or(("", &[] as &[String]), |(image, rest)| {
            (image.as_str(), rest)
        });
    Ok(Config {
        hostname: matches.text("hostname").to_owned(),
        domainname: matches.text("domainname").to_owned(),
        user: matches.text("user").to_owned(),
        attach_stdin: attached("stdin") || matches.bool("interactive"),
        attach_stdout: attach.is_empty() || attached("stdout"),
        attach_stderr: attach.is_empty() || attached("stderr"),
        tty: matches.bool("tty"),
        open_stdin: matches.bool("interactive"),
        env: some(&env),
        cmd: some(command).map(Words),
        healthcheck: healthcheck(matches)?,
        image: image.to_owned(),
        working_dir: matches.text("workdir").to_owned(),
        entrypoint,
        labels: Some(labels),
        stop_signal: matches.text("stop-signal").to_owned(),
        stop_timeout: matches.int("stop-timeout"),
        ..Config::default()
    })
}

fn healthcheck(matches: &Matches) -> Result<Option<Healthcheck>, String> {
    let check = Healthcheck {
        test: match matches.text("health-cmd") {
            "" => Vec::new(),
            command => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        interval: matches.nanoseconds("health-interval"),
        timeout: matches.nanoseconds("health-timeout"),
        start_period: matches.nanoseconds("health-start-period"),
        start_interval: matches.nanoseconds("health-start-interval"),
        retries: matches.int("health-retries").unwrap_or_default(),
    };
    if matches.bool("no-healthcheck") {
        if check != Healthcheck::default() {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        return Ok(Some(Healthcheck {
            test: vec!["NONE".to_owned()],
            ..Healthcheck::default()
        }));
    }
    for (value, flag) in [
        (check.interval, "health-interval"),
        (check.timeout, "health-timeout"),
        (check.retries, "health-retries"),
        (check.start_period, "health-start-period"),
        (check.start_interval, "health-start-interval"),
    ] {
        if value < 0 {
            return Err(format!("--{flag} cannot be negative"));
        }
    }
    Ok((check != Healthcheck::default()).then_some(check))
}

fn host_config(matches: &Matches) -> Result<HostConfig, String> {
    let list = |flag: &str| some(matches.list(flag));
    let security = security(matches)?;
    let hosts: Vec<String> = matches
        .list("add-host")
        .iter()
        .map(|text| hosts::host(text))
        .collect();
    let mounts = each(matches.list("mount"), mounts::mount)?;
    if matches.text("log-driver") == "none" && matches.changed("log-opt") {
        return Err("invalid logging opts for driver none".to_owned());
    }
    if !matches
        .list("storage-opt")
        .iter()
        .all(|text| text.contains('='))
    {
        return Err("invalid storage option".to_owned());
    }
    Ok(HostConfig {
        container_id_file: matches.text("cidfile").to_owned(),
        log_config: LogConfig {
            driver: matches.text("log-driver").to_owned(),
            config: Some(environment::pairs(matches.list("log-opt"))),
        },
        restart_policy: restart_policy(matches.text("restart"))?,
        auto_remove: matches.bool("rm"),
        volume_driver: matches.text("volume-driver").to_owned(),
        volumes_from: list("volumes-from"),
        annotations: environment::pairs(matches.list("annotation")),
        cap_add: list("cap-add").map(Words),
        cap_drop: list("cap-drop").map(Words),
        dns: Some(matches.list("dns").iter().map(|ip| hosts::ip(ip)).collect()),
        dns_options: Some(matches.list("dns-option").to_vec()),
        dns_search: Some(
            matches
                .list("dns-search")
                .iter()
                .map(|domain| domain.trim().to_owned())
                .collect(),
        ),
        extra_hosts: some(&hosts),
        group_add: list("group-add"),
        ipc_mode: matches.text("ipc").to_owned(),
        links: list("link"),
        privileged: matches.bool("privileged"),
        publish_all_ports: matches.bool("publish-all"),
        readonly_rootfs: matches.bool("read-only"),
        security_opt: some(&security.options),
        masked_paths: security.unmasked.then(Vec::new),
        readonly_paths: security.unmasked.then(Vec::new),
        storage_opt: environment::pairs(matches.list("storage-opt")),
        tmpfs: mounts::tmpfs_map(matches.list("tmpfs")),
        shm_size: matches.bytes("shm-size"),
        sysctls: environment::pairs(matches.list("sysctl")),
        runtime: matches.text("runtime").to_owned(),
        isolation: matches.text("isolation").to_owned(),
        mounts,
        init: matches.changed("init").then(|| matches.bool("init")),
        ..HostConfig::default()
    })
}

/// Limits of resources.
fn limits(matches: &Matches, host: &mut HostConfig) -> Result<(), String> {
    let number = |flag: &str| matches.int(flag).unwrap_or_default();
    let swappiness = matches.int("memory-swappiness").unwrap_or(-1);
    if !(-1..=100).contains(&swappiness) {
        return Err(format!(
            "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
        ));
    }
    host.oom_score_adj = number("oom-score-adj");
    host.cpu_shares = number("cpu-shares");
    host.memory = matches.bytes("memory");
    host.nano_cpus = parse_cpus(matches.text("cpus")).unwrap_or_default();
    host.cgroup_parent = matches.text("cgroup-parent").to_owned();
    host.blkio_weight = matches.text("blkio-weight").parse().unwrap_or_default();
    host.blkio_weight_device = Some(each(matches.list("blkio-weight-device"), devices::weight)?);
    host.blkio_device_read_bps = Some(each(matches.list("device-read-bps"), devices::bps)?);
    host.blkio_device_write_bps = Some(each(matches.list("device-write-bps"), devices::bps)?);
    host.blkio_device_read_iops = Some(each(matches.list("device-read-iops"), devices::iops)?);
    host.blkio_device_write_iops = Some(each(matches.list("device-write-iops"), devices::iops)?);
    host.cpu_period = number("cpu-period");
    host.cpu_quota = number("cpu-quota");
    host.cpu_realtime_period = number("cpu-rt-period");
    host.cpu_realtime_runtime = number("cpu-rt-runtime");
    host.cpuset_cpus = matches.text("cpuset-cpus").to_owned();
    host.cpuset_mems = matches.text("cpuset-mems").to_owned();
    host.kernel_memory = matches.bytes("kernel-memory");
    host.memory_reservation = matches.bytes("memory-reservation");
    host.memory_swap = matches.bytes("memory-swap");
    host.memory_swappiness = Some(swappiness);
    host.oom_kill_disable = Some(matches.bool("oom-kill-disable"));
    host.pids_limit = Some(number("pids-limit"));
    host.ulimits = Some(each(matches.list("ulimit"), devices::ulimit)?);
    host.cpu_count = number("cpu-count");
    host.cpu_percent = number("cpu-percent");
    host.io_maximum_iops = number("io-maxiops").unsigned_abs();
    host.io_maximum_bandwidth = matches.bytes("io-maxbandwidth").unsigned_abs();
    let (named, plain): (Vec<&String>, Vec<&String>) = matches
        .list("device")
        .iter()
        .partition(|device| devices::is_cdi(device));
    host.devices = Some(
        plain
            .into_iter()
            .map(|text| devices::device(text))
            .collect::<Result<_, _>>()?,
    );
    host.device_cgroup_rules = some(matches.list("device-cgroup-rule"));
    let mut requests = each(matches.list("gpus"), devices::gpus)?;
    if !named.is_empty() {
        requests.push(hull_api::container::DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: Some(named.into_iter().cloned().collect()),
            ..Default::default()
        });
    }
    host.device_requests = (!requests.is_empty()).then_some(requests);
    Ok(())
}

fn each<T>(texts: &[String], read: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    texts.iter().map(|text| read(text)).collect()
}

/// The namespaces that may be somebody else's.
fn modes(matches: &Matches, host: &mut HostConfig) -> Result<(), String> {
    let choose = |flag: &str, allowed: &[&str], error: &str| {
        let mode = matches.text(flag);
        let other = allowed.contains(&"container:")
            && mode
                .strip_prefix("container:")
                .is_some_and(|name| !name.is_empty());
        if mode.is_empty() || other || (mode != "container:" && allowed.contains(&mode)) {
            Ok(mode.to_owned())
        } else {
            Err(format!("--{flag}: invalid {error} mode"))
        }
    };
    host.pid_mode = choose("pid", &["host", "container:"], "PID")?;
    host.uts_mode = choose("uts", &["host"], "UTS")?;
    host.userns_mode = choose("userns", &["host"], "USER")?;
    host.cgroupns_mode = choose("cgroupns", &["host", "private"], "CGROUP")?;
    Ok(())
}

/// `--restart policy[:count]`.
pub(super) fn restart_policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    if name.is_empty() && count.is_some() {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let maximum_retry_count = match count {
        None => 0,
        Some(count) => count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(RestartPolicy {
        name: if text.is_empty() { "no" } else { name }.to_owned(),
        maximum_retry_count,
    })
}

struct Security {
    options: Vec<String>,
    /// `systempaths=unconfined`: nothing of /proc and /sys is hidden.
    unmasked: bool,
}

/// Reads profiles, which are files here and text for the daemon.
fn security(matches: &Matches) -> Result<Security, String> {
    let mut security = Security {
        options: Vec::new(),
        unmasked: false,
    };
    for text in matches.list("security-opt") {
        let split = text.split_once('=').or_else(|| text.split_once(':'));
        match split {
            None if text != "no-new-privileges" && text != "writable-cgroups" => {
                return Err(format!("invalid --security-opt: \"{text}\""));
            }
            Some(("systempaths", "unconfined")) => security.unmasked = true,
            Some(("seccomp", path)) if !matches!(path, "unconfined" | "builtin") => {
                let profile = fs_err::read(path).map_err(|error| {
                    let why = environment::go_words(&error);
                    format!("opening seccomp profile ({path}) failed: open {path}: {why}")
                })?;
                let profile: Value = serde_json::from_slice(&profile).map_err(|error| {
                    format!("compacting json for seccomp profile ({path}) failed: {error}")
                })?;
                security.options.push(format!("seccomp={profile}"));
            }
            _ => security.options.push(text.clone()),
        }
    }
    Ok(security)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::parse;

    fn typed(text: &str) -> Result<CreateRequest, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        request(&parse(&[FLAGS, RUN_FLAGS], &words, false).unwrap())
    }

    #[test]
    fn a_plain_run_asks_for_dockers_defaults() {
        let request = typed("busybox sh -c true").unwrap();
        let json = serde_json::to_value(&request).unwrap();
        assert_eq!(json["Image"], "busybox");
        assert_eq!(json["Cmd"], serde_json::json!(["sh", "-c", "true"]));
        assert_eq!(
            (&json["AttachStdin"], &json["AttachStdout"]),
            (&false.into(), &true.into())
        );
        assert_eq!(json["HostConfig"]["NetworkMode"], "default");
        assert_eq!(json["HostConfig"]["MemorySwappiness"], -1);
        assert_eq!(json["HostConfig"]["RestartPolicy"]["Name"], "no");
        assert_eq!(json["Entrypoint"], serde_json::Value::Null);
    }

    #[test]
    fn flags_reach_their_members() {
        let request = typed(
            "-it --rm -m 64m --cpus 1.5 -p 8080:80 -v /a:/b -e A=1 -l x=y --entrypoint= -w /w -u 1:2 \
             --hostname h --pid host --init --health-cmd true --health-interval 5s --gpus all i",
        )
        .unwrap();
        let (config, host) = (&request.config, &request.host_config);
        assert!(config.tty && config.open_stdin && config.stdin_once && host.auto_remove);
        assert_eq!((host.memory, host.nano_cpus), (64 << 20, 1_500_000_000));
        assert_eq!(config.entrypoint, Some(Words(vec![String::new()])));
        assert_eq!(host.binds.as_deref(), Some(&["/a:/b".to_owned()][..]));
        assert_eq!(host.init, Some(true));
        assert_eq!(config.healthcheck.as_ref().unwrap().interval, 5_000_000_000);
        assert!(
            config
                .exposed_ports
                .as_ref()
                .unwrap()
                .contains_key("80/tcp")
        );
        assert_eq!(host.device_requests.as_ref().unwrap().len(), 1);
    }

    #[test]
    fn conflicts_are_told_in_dockers_words() {
        for (text, error) in [
            (
                "--rm --restart always i",
                "conflicting options: cannot specify both --restart and --rm",
            ),
            ("--pid foo i", "--pid: invalid PID mode"),
            ("--userns foo i", "--userns: invalid USER mode"),
            (
                "--restart on-failure:x i",
                "invalid restart policy format: maximum retry count must be an integer",
            ),
            (
                "--no-healthcheck --health-cmd x i",
                "--no-healthcheck conflicts with --health-* options",
            ),
            (
                "--memory-swappiness 101 i",
                "invalid value: 101. Valid memory swappiness range is 0-100",
            ),
            ("--security-opt foo i", "invalid --security-opt: \"foo\""),
        ] {
            assert_eq!(typed(text).unwrap_err(), error);
        }
    }
}
