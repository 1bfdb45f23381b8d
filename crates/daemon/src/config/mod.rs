//! What the daemon is told: dockerd's flags and dockerd's `daemon.json`, put together.

mod accepted;
mod builder;
mod containers;
mod file;
mod flags;
mod network;
mod program;
mod runtimes;
mod tls;
mod transfer;
mod values;

pub(crate) use accepted::Others;
pub(crate) use containers::ContainerDefaults;
pub(crate) use flags::Flags;
pub(crate) use network::Networking;
pub use program::Program;
pub(crate) use runtimes::{DEFAULT_RUNTIME, DOCKERS_RUNTIMES, Runtime};
pub(crate) use tls::Tls;
pub(crate) use transfer::{Transfer, parse_compression};

use crate::listen::{Address, InvalidAddress};
use hull_engine::{InvalidStoreFormat, StoreFormat};
use runtimes::{is_own, runtimes};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tracing::level_filters::LevelFilter;
use values::{disk_budget, log_format, log_level, mirror};

/// What the daemon does, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) hosts: Vec<Address>,
    /// Whether anybody named them; the default gives way to sockets that are passed.
    pub(crate) hosts_said: bool,
    pub(crate) group: Option<String>,
    pub(crate) data_root: PathBuf,
    pub(crate) exec_root: PathBuf,
    pub(crate) pidfile: PathBuf,
    /// Hosts and networks whose registries may be spoken to without TLS.
    pub(crate) insecure_registries: Vec<String>,
    /// URLs that are asked before Docker Hub.
    pub(crate) registry_mirrors: Vec<String>,
    pub(crate) store_format: StoreFormat,
    /// Bytes.
    pub(crate) disk_budget: Option<u64>,
    pub(crate) keep_compressed_layers: bool,
    /// Limits and ways of pulls and pushes.
    pub(crate) transfer: Transfer,
    pub(crate) network: Networking,
    pub(crate) containers: ContainerDefaults,
    pub(crate) others: Others,
    /// For `tcp://` addresses; `None`: unencrypted.
    pub(crate) tls: Option<Tls>,
    /// The trust policy's file, if it is in no usual place.
    pub(crate) policy: Option<PathBuf>,
    /// The audit log; `None` is none.
    pub(crate) audit_log: Option<PathBuf>,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_json: bool,
    pub(crate) default_runtime: String,
    /// The runtimes besides Hull's own.
    pub(crate) runtimes: BTreeMap<String, Runtime>,
}

/// What is wrong with flags or file. The texts are dockerd's where dockerd has one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error("unable to configure the daemon with file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    /// `-H` or `hosts`.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// `--log-level`.
    #[error("invalid logging level: {0}")]
    LogLevel(String),
    /// `--log-format`.
    #[error("invalid log format: {0}")]
    LogFormat(String),
    /// `--registry-mirror`.
    #[error("invalid mirror: {0}")]
    Mirror(String),
    /// `--disk-budget`.
    #[error("invalid disk budget: {0}: use a size such as 50GB")]
    DiskBudget(String),
    /// `--store-format`.
    #[error(transparent)]
    StoreFormat(#[from] InvalidStoreFormat),
    /// A limit that is none; dockerd's words.
    #[error("invalid max {what}: {number}")]
    Limit { what: &'static str, number: i64 },
    /// `--push-compression`.
    #[error("invalid push compression: {0}: use gzip[:0-9], zstd[:1-19] or none")]
    PushCompression(String),
    /// `--add-runtime`.
    #[error("invalid runtime specification: {0}: use name=path")]
    Runtime(String),
    /// `--default-runtime`.
    #[error("specified default runtime '{0}' does not exist")]
    DefaultRuntime(String),
    /// A name given twice.
    #[error("runtime '{0}' was already defined")]
    RuntimeTwice(String),
    /// Anything about networks.
    #[error("{0}")]
    Network(String),
    /// What dockerd finds out once flags and file are put together.
    #[error("merged configuration validation from file and command line flags failed: {0}")]
    Merged(String),
    /// Anything else.
    #[error("{0}")]
    Plain(String),
    /// A path that is not absolute.
    #[error("{what} must be an absolute path: {}", path.display())]
    Relative { what: &'static str, path: PathBuf },
}

impl Settings {
    /// Puts flags and file together.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub(crate) fn new(flags: Flags) -> Result<Self, ConfigError> {
        let path = flags
            .config_file
            .as_deref()
            .unwrap_or(flags.program.config_file());
        let file = file::read(path, flags.config_file.is_some())?;
        if let Some(reason) = file::conflicts(&flags, &file) {
            return Err(ConfigError::File {
                path: path.to_owned(),
                reason,
            });
        }
        let path = path.to_owned();
        Self::merge(flags, file).map_err(|error| match error {
            ConfigError::Network(reason) => ConfigError::File { path, reason },
            error @ ConfigError::Merged(_) => ConfigError::File {
                path,
                reason: error.to_string(),
            },
            error => error,
        })
    }

    fn merge(flags: Flags, file: file::File) -> Result<Self, ConfigError> {
        let transfer = Transfer::new(&flags, &file)?;
        let program = flags.program;
        let mut network = network::merge(&flags.network, &file.network)?;
        program.bridge().clone_into(&mut network.config.bridge.made);
        let containers = containers::merge(&flags, &file)?;
        let others = accepted::merge(&flags, &file)?;
        let tls = tls::merge(&flags, &file)?;
        let debug = flags.debug.or(file.debug).unwrap_or(false);
        let level = flags.log_level.or(file.log_level);
        let data_root = flags.data_root.or(file.data_root);
        let data_root = data_root.unwrap_or_else(|| program.data_root());
        let exec_root = flags.exec_root.or(file.exec_root);
        let exec_root = exec_root.unwrap_or_else(|| program.exec_root());
        absolute("--data-root", &data_root)?;
        absolute("--exec-root", &exec_root)?;
        let pidfile = flags.pidfile.or(file.pidfile);
        let policy = policy(flags.policy.or(file.policy))?;
        let audit_log = audit_log(flags.audit_log.or(file.audit_log), &data_root)?;
        let hosts = given(flags.hosts, file.hosts);
        let mirrors = given(flags.registry_mirrors, file.registry_mirrors);
        let insecure = given(flags.insecure_registries, file.insecure_registries);
        let budget = flags.disk_budget.or(file.disk_budget);
        let store_format = flags.store_format.or(file.store_format);
        let keep_compressed = flags.keep_compressed_layers.or(file.keep_compressed_layers);
        let default_runtime = flags.default_runtime.or(file.default_runtime);
        let settings = Self {
            transfer,
            network,
            containers,
            others,
            hosts_said: hosts.is_some(),
            hosts: addresses(hosts, program, tls.is_some())?,
            tls,
            group: flags.group.or(file.group).filter(|group| !group.is_empty()),
            pidfile: pidfile.unwrap_or_else(|| program.pidfile(&exec_root)),
            data_root,
            exec_root,
            insecure_registries: insecure.unwrap_or_default(),
            registry_mirrors: mirrors
                .into_iter()
                .flatten()
                .map(|url| mirror(&url))
                .collect::<Result<_, _>>()?,
            disk_budget: budget.as_deref().map_or(Ok(None), disk_budget)?,
            store_format: store_format.as_deref().unwrap_or("auto").parse()?,
            keep_compressed_layers: keep_compressed.unwrap_or(true),
            policy,
            audit_log,
            log_level: log_level(level.as_deref(), debug)?,
            log_json: log_format(flags.log_format.or(file.log_format).as_deref())?,
            default_runtime: default_runtime.unwrap_or_else(|| program.runtime().to_owned()),
            runtimes: runtimes(&flags.add_runtimes, file.runtimes)?,
        };
        let default = &settings.default_runtime;
        if !is_own(default) && !settings.runtimes.contains_key(default) {
            return Err(ConfigError::DefaultRuntime(default.clone()));
        }
        Ok(settings)
    }
}

fn policy(said: Option<PathBuf>) -> Result<Option<PathBuf>, ConfigError> {
    if let Some(path) = &said {
        absolute("--policy", path)?;
    }
    Ok(said)
}

/// The audit log's file: one in the data root when nothing is said.
fn audit_log(said: Option<String>, data_root: &Path) -> Result<Option<PathBuf>, ConfigError> {
    let path = match said.as_deref() {
        None | Some("") => data_root.join("audit.log"),
        Some("none") => return Ok(None),
        Some(path) => PathBuf::from(path),
    };
    absolute("--audit-log", &path)?;
    Ok(Some(path))
}

/// Where to listen.
fn addresses(
    hosts: Option<Vec<String>>,
    program: Program,
    tls: bool,
) -> Result<Vec<Address>, InvalidAddress> {
    let hosts = hosts.unwrap_or_else(|| vec![program.host().to_owned()]);
    hosts.iter().map(|host| Address::parse(host, tls)).collect()
}

fn given(flags: Vec<String>, file: Option<Vec<String>>) -> Option<Vec<String>> {
    if flags.is_empty() { file } else { Some(flags) }
}

fn absolute(what: &'static str, path: &Path) -> Result<(), ConfigError> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(ConfigError::Relative {
        what,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests;
