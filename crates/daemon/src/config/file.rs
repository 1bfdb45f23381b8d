//! `daemon.json`: dockerd's keys, of which unknown ones are an error.

use super::accepted::{self, OtherFile};
use super::containers::{self, ContainerFile};
use super::network::{self, NetworkFile};
use super::tls::{self, TlsFile};
use super::{ConfigError, Flags};
use hull_api::json;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The file, as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) hosts: Option<Vec<String>>,
    pub(super) data_root: Option<PathBuf>,
    pub(super) exec_root: Option<PathBuf>,
    pub(super) pidfile: Option<PathBuf>,
    pub(super) insecure_registries: Option<Vec<String>>,
    pub(super) registry_mirrors: Option<Vec<String>>,
    pub(super) log_level: Option<String>,
    pub(super) log_format: Option<String>,
    pub(super) debug: Option<bool>,
    pub(super) default_runtime: Option<String>,
    pub(super) runtimes: Option<BTreeMap<String, Runtime>>,
    pub(super) group: Option<String>,
    pub(super) max_concurrent_downloads: Option<i64>,
    pub(super) max_concurrent_uploads: Option<i64>,
    pub(super) max_download_attempts: Option<i64>,
    pub(super) push_compression: Option<String>,
    pub(super) proxies: Option<ProxyFile>,
    pub(super) registry_config_dirs: Option<Vec<String>>,
    pub(super) policy: Option<PathBuf>,
    pub(super) store_format: Option<String>,
    pub(super) disk_budget: Option<String>,
    pub(super) keep_compressed_layers: Option<bool>,
    pub(super) audit_log: Option<String>,
    #[serde(skip)]
    pub(super) network: NetworkFile,
    #[serde(skip)]
    pub(super) containers: ContainerFile,
    #[serde(skip)]
    pub(super) others: OtherFile,
    #[serde(skip)]
    pub(super) tls: TlsFile,
    #[serde(skip)]
    keys: BTreeMap<String, Value>,
}

/// The object `proxies`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct ProxyFile {
    pub(super) http_proxy: Option<String>,
    pub(super) https_proxy: Option<String>,
    pub(super) no_proxy: Option<String>,
}

/// One element of `runtimes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Runtime {
    pub(super) path: String,
    pub(super) runtime_args: Option<Vec<String>>,
    pub(super) runtime_type: String,
    pub(super) options: Option<Value>,
}

/// The keys of [`File`].
const KNOWN: &[&str] = &[
    "hosts",
    "data-root",
    "exec-root",
    "audit-log",
    "pidfile",
    "insecure-registries",
    "registry-mirrors",
    "log-level",
    "log-format",
    "debug",
    "default-runtime",
    "runtimes",
    "group",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "push-compression",
    "proxies",
    "registry-config-dirs",
    "policy",
    "store-format",
    "disk-budget",
    "keep-compressed-layers",
];

/// Reads the file at `path`; one that nobody asked for may be missing.
///
/// # Errors
/// [`ConfigError::File`].
pub(super) fn read(path: &Path, asked_for: bool) -> Result<File, ConfigError> {
    let failed = |reason: String| ConfigError::File {
        path: path.to_owned(),
        reason,
    };
    let text = match fs_err::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !asked_for => {
            return Ok(File::default());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(failed(format!(
                "open {}: no such file or directory",
                path.display()
            )));
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    parse(&text).map_err(failed)
}

fn parse(text: &[u8]) -> Result<File, String> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(File::default());
    }
    let value: Value =
        serde_json::from_slice(text).map_err(|error| format!("invalid JSON: {error}"))?;
    let Value::Object(members) = &value else {
        return Err("invalid JSON: the file must hold one object".to_owned());
    };
    let keys: BTreeMap<String, Value> = members.clone().into_iter().collect();
    let strangers = |known: fn(&str) -> bool| {
        let names: Vec<&str> = keys
            .keys()
            .map(String::as_str)
            .filter(|key| known(key))
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = strangers(|key| !known().any(|known| known == key)) {
        let meant = keys.keys().find_map(|key| near(key)).unwrap_or_default();
        return Err(format!(
            "the following directives don't match any configuration option: {names}{meant}"
        ));
    }
    let invalid = |error| format!("invalid JSON: {error}");
    let file: File = json::from_value(value.clone()).map_err(invalid)?;
    let network = json::from_value(value.clone()).map_err(invalid)?;
    let containers = json::from_value(value.clone()).map_err(invalid)?;
    let tls = json::from_value(value.clone()).map_err(invalid)?;
    let others = json::from_value(value).map_err(invalid)?;
    Ok(File {
        keys,
        network,
        containers,
        others,
        tls,
        ..file
    })
}

/// All keys that there are.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    [
        KNOWN,
        network::KNOWN,
        containers::KNOWN,
        accepted::KNOWN,
        tls::KNOWN,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The key that may have been meant by one that is not there.
fn near(key: &str) -> Option<String> {
    if known().any(|known| known == key) {
        return None;
    }
    let alike = |known: &&str| strsim::normalized_damerau_levenshtein(key, known);
    let meant = known().max_by(|one, other| alike(one).total_cmp(&alike(other)))?;
    (alike(&meant) >= 0.7).then(|| format!(" (did you mean {meant}?)"))
}

/// The directives that are both flags and in the file, in dockerd's words.
pub(super) fn conflicts(flags: &Flags, file: &File) -> Option<String> {
    let list = |values: &[String]| (!values.is_empty()).then(|| format!("[{}]", values.join(" ")));
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    // Not `runtimes`: those of both are put together, as in dockerd.
    let given: [(&str, Option<String>); 21] = [
        ("audit-log", flags.audit_log.clone()),
        ("data-root", path(&flags.data_root)),
        ("debug", flags.debug.map(|debug| debug.to_string())),
        ("default-runtime", flags.default_runtime.clone()),
        ("exec-root", path(&flags.exec_root)),
        ("group", flags.group.clone()),
        ("hosts", list(&flags.hosts)),
        ("insecure-registries", list(&flags.insecure_registries)),
        (
            "max-concurrent-downloads",
            number(flags.max_concurrent_downloads),
        ),
        (
            "max-concurrent-uploads",
            number(flags.max_concurrent_uploads),
        ),
        ("max-download-attempts", number(flags.max_download_attempts)),
        ("push-compression", flags.push_compression.clone()),
        ("registry-config-dirs", list(&flags.registry_config_dirs)),
        ("log-format", flags.log_format.clone()),
        ("log-level", flags.log_level.clone()),
        ("pidfile", path(&flags.pidfile)),
        ("policy", path(&flags.policy)),
        ("registry-mirrors", list(&flags.registry_mirrors)),
        ("store-format", flags.store_format.clone()),
        ("disk-budget", flags.disk_budget.clone()),
        (
            "keep-compressed-layers",
            flags.keep_compressed_layers.map(|keep| keep.to_string()),
        ),
    ];
    let mut all: Vec<_> = given
        .into_iter()
        .chain(flags.network.given())
        .chain(flags.containers.given())
        .chain(flags.others.given())
        .chain(flags.tls.given())
        .collect();
    all.sort_by_key(|(name, _)| *name);
    let both: Vec<String> = all
        .iter()
        .filter_map(|(name, flag)| {
            let (flag, file) = (flag.as_ref()?, file.keys.get(*name)?);
            Some(format!(
                "{name}: (from flag: {flag}, from file: {})",
                go_text(file)
            ))
        })
        .collect();
    (!both.is_empty()).then(|| {
        format!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            both.join(", ")
        )
    })
}

/// A value as Go's `%v` prints it.
fn go_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(go_text).collect();
            format!("[{}]", values.join(" "))
        }
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{name}:{}", go_text(value)))
                .collect();
            format!("map[{}]", members.join(" "))
        }
        other => other.to_string(),
    }
}
