//! The rest of dockerd's flags and keys: those with an effect of their own, and those that mean nothing
//! here, which are accepted with a warning that says so. What would leave a host less protected than
//! its owner believes is refused instead.

use super::ConfigError;
use super::file::File;
use super::flags::Flags;
use crate::listen::Address;
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Flags that dockerd has besides.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct OtherFlags {
    /// Label of the daemon, as key=value
    #[arg(long = "label", value_name = "LABEL")]
    pub(super) labels: Vec<String>,
    /// Say that experimental features are on [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) experimental: Option<bool>,
    /// Directory with CDI specifications of devices [default: /etc/cdi and /var/run/cdi]
    #[arg(long = "cdi-spec-dir", value_name = "DIRECTORY")]
    pub(super) cdi_spec_dirs: Vec<String>,
    /// Accepted: containers always go on when the daemon ends
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) live_restore: Option<bool>,
    /// Accepted: the daemon's end stops no containers
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(super) shutdown_timeout: Option<i64>,
    /// Accepted: overlay2
    #[arg(short = 's', long, value_name = "NAME")]
    pub(super) storage_driver: Option<String>,
    /// Accepted: overlay2 has no options here
    #[arg(long = "storage-opt", value_name = "OPTION")]
    pub(super) storage_opts: Vec<String>,
    /// Accepted: native.cgroupdriver=cgroupfs
    #[arg(long = "exec-opt", value_name = "OPTION")]
    pub(super) exec_opts: Vec<String>,
    /// Accepted: no feature can be switched
    #[arg(long = "feature", value_name = "FEATURE")]
    pub(super) features: Vec<String>,
    /// Accepted: Hull needs no containerd
    #[arg(long, value_name = "ADDRESS")]
    pub(super) containerd: Option<String>,
    /// Accepted, as --containerd
    #[arg(long, value_name = "NAME")]
    pub(super) containerd_namespace: Option<String>,
    /// Accepted, as --containerd
    #[arg(long, value_name = "NAME")]
    pub(super) containerd_plugins_namespace: Option<String>,
    /// Accepted, as --containerd
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) cri_containerd: Option<bool>,
    /// Accepted: parents of containers get no real-time share
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    pub(super) cpu_rt_period: Option<i64>,
    /// Accepted, as --cpu-rt-period
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    pub(super) cpu_rt_runtime: Option<i64>,
    /// Program that is the init of containers that have one [default: Hull's own]
    #[arg(long, value_name = "FILE")]
    pub(super) init_path: Option<String>,
    /// Serve numbers for Prometheus at this address, as host:port [default: none are served]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) metrics_addr: Option<String>,
    /// Serve a web page at this address of the loopback, as 127.0.0.1:port; the log has its whole address [default: none is
    /// served]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ui: Option<String>,
    /// Accepted: there is no swarm
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub(super) network_control_plane_mtu: Option<i64>,
    /// Accepted: there is no swarm
    #[arg(long = "node-generic-resource", value_name = "RESOURCE")]
    pub(super) node_generic_resources: Vec<String>,
    /// Accepted: there is no swarm
    #[arg(long, value_name = "ADDRESS")]
    pub(super) swarm_default_advertise_addr: Option<String>,
    /// Accepted: logs are never coloured
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) raw_logs: Option<bool>,
    /// Accepted: labels of SELinux are not set
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) selinux_enabled: Option<bool>,
    /// Accepted: such artifacts are always pushed
    #[arg(long = "allow-nondistributable-artifacts", value_name = "LIST")]
    pub(super) allow_nondistributable_artifacts: Vec<String>,
    /// Refused: there are no authorization plugins
    #[arg(long = "authorization-plugin", value_name = "LIST")]
    pub(super) authorization_plugins: Vec<String>,
    /// Refused: the daemon needs the host's root
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) rootless: Option<bool>,
    /// Refused: containers have the host's users
    #[arg(long, value_name = "USER")]
    pub(super) userns_remap: Option<String>,
}

/// The same in the file. What has no effect may have any form that dockerd takes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct OtherFile {
    labels: Option<Vec<String>>,
    experimental: Option<bool>,
    cdi_spec_dirs: Option<Vec<String>>,
    live_restore: Option<bool>,
    shutdown_timeout: Option<i64>,
    storage_driver: Option<String>,
    storage_opts: Option<Vec<String>>,
    exec_opts: Option<Vec<String>>,
    features: Option<BTreeMap<String, bool>>,
    containerd: Option<String>,
    containerd_namespace: Option<String>,
    containerd_plugins_namespace: Option<String>,
    cpu_rt_period: Option<i64>,
    cpu_rt_runtime: Option<i64>,
    init_path: Option<String>,
    metrics_addr: Option<String>,
    ui: Option<String>,
    network_control_plane_mtu: Option<i64>,
    node_generic_resources: Option<Vec<String>>,
    swarm_default_advertise_addr: Option<String>,
    raw_logs: Option<bool>,
    selinux_enabled: Option<bool>,
    allow_nondistributable_artifacts: Option<Vec<String>>,
    authorization_plugins: Option<Vec<String>>,
    userns_remap: Option<String>,
    builder: Option<super::builder::Builder>,
}

/// The keys of [`OtherFile`].
pub(super) const KNOWN: &[&str] = &[
    "labels",
    "experimental",
    "cdi-spec-dirs",
    "live-restore",
    "shutdown-timeout",
    "storage-driver",
    "storage-opts",
    "exec-opts",
    "features",
    "containerd",
    "containerd-namespace",
    "containerd-plugin-namespace",
    "containerd-plugins-namespace",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "init-path",
    "metrics-addr",
    "ui",
    "network-control-plane-mtu",
    "node-generic-resources",
    "swarm-default-advertise-addr",
    "raw-logs",
    "selinux-enabled",
    "allow-nondistributable-artifacts",
    "authorization-plugins",
    "userns-remap",
    "builder",
    "swarm-raft-heartbeat-tick",
    "swarm-raft-election-tick",
    "resolv-conf",
    "network-diagnostic-port",
    "cluster-store",
];

/// What has an effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Others {
    /// `key=value`.
    pub(crate) labels: Vec<String>,
    pub(crate) experimental: bool,
    /// Where documents of devices are; empty for nowhere.
    pub(crate) cdi_spec_dirs: Vec<String>,
    /// The program that is the init of containers; `None`: Hull's own.
    pub(crate) init_path: Option<PathBuf>,
    /// Seconds; only shown.
    pub(crate) shutdown_timeout: i64,
    /// How the build cache is kept small.
    pub(crate) build_collection: hull_engine::build::Collection,
    /// Where metrics are served, if they are: an [`Address::Tcp`].
    pub(crate) metrics: Option<Address>,
    /// Where the web page is served, if it is.
    pub(crate) ui: Option<SocketAddr>,
    /// What is accepted without effect, in words.
    pub(crate) notes: Vec<String>,
}

fn list(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| format!("[{}]", values.join(" ")))
}

impl OtherFlags {
    /// The flags that were given, by the keys that the file has for them.
    pub(super) fn given(&self) -> Vec<(&'static str, Option<String>)> {
        let truth = |value: Option<bool>| value.map(|value| value.to_string());
        let number = |value: Option<i64>| value.map(|value| value.to_string());
        vec![
            ("labels", list(&self.labels)),
            ("experimental", truth(self.experimental)),
            ("cdi-spec-dirs", list(&self.cdi_spec_dirs)),
            ("live-restore", truth(self.live_restore)),
            ("shutdown-timeout", number(self.shutdown_timeout)),
            ("storage-driver", self.storage_driver.clone()),
            ("storage-opts", list(&self.storage_opts)),
            ("exec-opts", list(&self.exec_opts)),
            ("features", list(&self.features)),
            ("containerd", self.containerd.clone()),
            ("containerd-namespace", self.containerd_namespace.clone()),
            (
                "containerd-plugins-namespace",
                self.containerd_plugins_namespace.clone(),
            ),
            ("cpu-rt-period", number(self.cpu_rt_period)),
            ("cpu-rt-runtime", number(self.cpu_rt_runtime)),
            ("init-path", self.init_path.clone()),
            ("metrics-addr", self.metrics_addr.clone()),
            ("ui", self.ui.clone()),
            (
                "network-control-plane-mtu",
                number(self.network_control_plane_mtu),
            ),
            ("node-generic-resources", list(&self.node_generic_resources)),
            (
                "swarm-default-advertise-addr",
                self.swarm_default_advertise_addr.clone(),
            ),
            ("raw-logs", truth(self.raw_logs)),
            ("selinux-enabled", truth(self.selinux_enabled)),
            ("authorization-plugins", list(&self.authorization_plugins)),
            ("userns-remap", self.userns_remap.clone()),
        ]
    }
}

/// Puts flags and file together.
pub(super) fn merge(flags: &Flags, file: &File) -> Result<Others, ConfigError> {
    let (flags, file) = (&flags.others, &file.others);
    refuse(flags, file)?;
    let exec_opts = either(&flags.exec_opts, &file.exec_opts);
    if let Some(option) = exec_opts.iter().find(|option| !option.contains('=')) {
        return Err(ConfigError::Merged(format!(
            "invalid exec-opt ({option}): must be formatted 'opt=value'"
        )));
    }
    Ok(Others {
        labels: labels(either(&flags.labels, &file.labels))?,
        experimental: flags.experimental.or(file.experimental).unwrap_or(false),
        cdi_spec_dirs: cdi_spec_dirs(either(&flags.cdi_spec_dirs, &file.cdi_spec_dirs)),
        init_path: init_path(flags.init_path.as_ref().or(file.init_path.as_ref()))?,
        shutdown_timeout: flags
            .shutdown_timeout
            .or(file.shutdown_timeout)
            .unwrap_or(15),
        build_collection: file.builder.clone().unwrap_or_default().collection()?,
        metrics: metrics(flags.metrics_addr.as_ref().or(file.metrics_addr.as_ref()))?,
        ui: page(flags.ui.as_ref().or(file.ui.as_ref()))?,
        notes: notes(flags, file, &exec_opts),
    })
}

/// Where metrics are served; an empty text is nowhere.
fn metrics(given: Option<&String>) -> Result<Option<Address>, ConfigError> {
    let Some(text) = given.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let address = text.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { "::" } else { host }.to_owned();
        Some(Address::Tcp { host, port })
    });
    let invalid = || ConfigError::Plain(format!("invalid metrics address ({text}): use host:port"));
    address.map(Some).ok_or_else(invalid)
}

/// Where the web page is served; an empty text is nowhere. Only to this machine: the page is not encrypted, and who has it has
/// root's rights.
fn page(given: Option<&String>) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(text) = given.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let address: Option<SocketAddr> = text.replace("localhost:", "127.0.0.1:").parse().ok();
    match address {
        Some(address) if address.ip().is_loopback() && address.port() != 0 => Ok(Some(address)),
        _ => Err(ConfigError::Plain(format!(
            "invalid ui address ({text}): use 127.0.0.1:port or [::1]:port, and ssh -L to reach it from elsewhere"
        ))),
    }
}

fn either(flags: &[String], file: &Option<Vec<String>>) -> Vec<String> {
    match flags {
        [] => file.clone().unwrap_or_default(),
        flags => flags.to_vec(),
    }
}

/// As in dockerd, one empty name means that there are none.
fn cdi_spec_dirs(given: Vec<String>) -> Vec<String> {
    match given.as_slice() {
        [] => ["/etc/cdi", "/var/run/cdi"].map(str::to_owned).to_vec(),
        [none] if none.is_empty() => Vec::new(),
        _ => given,
    }
}

/// Where the program is: a name without a directory is looked for by PATH.
fn init_path(given: Option<&String>) -> Result<Option<PathBuf>, ConfigError> {
    let Some(name) = given.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if Path::new(name).is_absolute() {
        return Ok(Some(name.into()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(name));
    match places.find(|place| place.is_absolute() && place.is_file()) {
        Some(found) => Ok(Some(found)),
        None => Err(ConfigError::Plain(format!(
            "invalid init-path: exec: {name:?}: executable file not found in $PATH"
        ))),
    }
}

/// What would be believed to protect the host and does not exist.
fn refuse(flags: &OtherFlags, file: &OtherFile) -> Result<(), ConfigError> {
    let plugins = either(&flags.authorization_plugins, &file.authorization_plugins);
    let remap = flags.userns_remap.as_ref().or(file.userns_remap.as_ref());
    for (asked, text) in [
        (
            !plugins.is_empty(),
            "authorization plugins are not supported: without them everybody who reaches the socket may do everything",
        ),
        (
            remap.is_some_and(|user| !user.is_empty()),
            "userns-remap is not supported: containers would have the host's users",
        ),
        (
            flags.rootless == Some(true),
            "rootless mode is not supported: the daemon needs the host's root",
        ),
    ] {
        if asked {
            return Err(ConfigError::Plain(text.to_owned()));
        }
    }
    Ok(())
}

/// Checks labels, and leaves out repetitions.
fn labels(given: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let mut labels: Vec<String> = Vec::new();
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for label in given {
        let Some((key, value)) = label.split_once('=') else {
            return Err(ConfigError::Merged(format!(
                "bad attribute format: {label}"
            )));
        };
        let reserved = ["com.docker.", "io.docker.", "org.dockerproject."];
        if reserved.iter().any(|prefix| key.starts_with(prefix)) {
            return Err(ConfigError::Merged(format!(
                "label {label} is not allowed: the namespaces com.docker.*, io.docker.*, and org.dockerproject.* are reserved for internal use"
            )));
        }
        match values.insert(key.to_owned(), value.to_owned()) {
            Some(other) if other != value => {
                return Err(ConfigError::Plain(format!(
                    "conflict labels for {label} and {key}={other}"
                )));
            }
            Some(_) => {}
            None => labels.push(label),
        }
    }
    Ok(labels)
}

/// What was asked for and means nothing here.
fn notes(flags: &OtherFlags, file: &OtherFile, exec_opts: &[String]) -> Vec<String> {
    let text = |flag: &Option<String>, file: &Option<String>| {
        let text = flag.as_ref().or(file.as_ref());
        text.cloned().unwrap_or_default()
    };
    let given = |flag: &Option<String>, file: &Option<String>| !text(flag, file).is_empty();
    let on = |flag: Option<bool>, file: Option<bool>| flag.or(file) == Some(true);
    let driver = text(&flags.storage_driver, &file.storage_driver);
    let other_driver = !matches!(driver.as_str(), "" | "overlay2");
    let systemd = |option: &String| option.as_str() != "native.cgroupdriver=cgroupfs";
    let swarm = !flags.node_generic_resources.is_empty()
        || file.node_generic_resources.is_some()
        || flags.network_control_plane_mtu.is_some()
        || file.network_control_plane_mtu.is_some()
        || given(
            &flags.swarm_default_advertise_addr,
            &file.swarm_default_advertise_addr,
        );
    let realtime = [
        flags.cpu_rt_period,
        file.cpu_rt_period,
        flags.cpu_rt_runtime,
        file.cpu_rt_runtime,
    ];
    let containerd = given(&flags.containerd, &file.containerd)
        || given(&flags.containerd_namespace, &file.containerd_namespace)
        || given(
            &flags.containerd_plugins_namespace,
            &file.containerd_plugins_namespace,
        )
        || flags.cri_containerd == Some(true);
    let timeout = flags.shutdown_timeout.or(file.shutdown_timeout);
    let artifacts = file.allow_nondistributable_artifacts.is_some()
        || !flags.allow_nondistributable_artifacts.is_empty();
    let features =
        !flags.features.is_empty() || file.features.as_ref().is_some_and(|all| !all.is_empty());
    let options = !either(&flags.storage_opts, &file.storage_opts).is_empty();
    [
        (flags.live_restore.or(file.live_restore) == Some(false), "live-restore=false: containers go on all the same when the daemon ends"),
        (timeout.is_some_and(|seconds| seconds != 15), "shutdown-timeout: the daemon's end stops no containers"),
        (other_driver, "storage-driver: the driver is overlay2 whatever is asked for"),
        (options, "storage-opts: the storage driver has no options"),
        (exec_opts.iter().any(systemd), "exec-opts: control groups are made by Hull itself (cgroupfs)"),
        (features, "features: none can be switched"),
        (containerd, "containerd: Hull needs none and uses none"),
        (realtime.iter().flatten().any(|value| *value != 0), "cpu-rt-period, cpu-rt-runtime: the parents of containers get no real-time share"),
        (swarm, "node-generic-resources, network-control-plane-mtu, swarm-default-advertise-addr: there is no swarm"),
        (on(flags.raw_logs, file.raw_logs), "raw-logs: logs are never coloured"),
        (on(flags.selinux_enabled, file.selinux_enabled), "selinux-enabled: labels of SELinux are not set"),
        (artifacts, "allow-nondistributable-artifacts: they are always pushed"),
        (file.builder.as_ref().is_some_and(super::builder::Builder::has_others), "builder: entitlements and history have no limits"),
    ]
    .into_iter()
    .filter(|(asked, _)| *asked)
    .map(|(_, text)| format!("accepted without effect: {text}"))
    .collect()
}
