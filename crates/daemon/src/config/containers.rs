//! What containers get that say nothing themselves: dockerd's `--default-…` flags and their kin.

use super::ConfigError;
use super::file::File;
use super::flags::Flags;
use clap::Args;
use hull_engine::container::{LogConfig, LogDriver, check_log as check_log_options};
use hull_engine::{Thousand, check_ulimit, parse_size, parse_ulimit};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Flags about all containers.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ContainerFlags {
    /// Control group below which containers are, unless they name one
    #[arg(long, value_name = "GROUP")]
    pub(super) cgroup_parent: Option<String>,
    /// Cgroup namespace of containers that name none: host or private [default: host on cgroup v1, else private]
    #[arg(long, value_name = "MODE")]
    pub(super) default_cgroupns_mode: Option<String>,
    /// IPC namespace of containers that name none: shareable or private [default: private]
    #[arg(long, value_name = "MODE")]
    pub(super) default_ipc_mode: Option<String>,
    /// Size of /dev/shm of containers that name none [default: 64MiB]
    #[arg(long, value_name = "BYTES")]
    pub(super) default_shm_size: Option<String>,
    /// Limit that containers have which do not set it, as `name=soft[:hard]`
    #[arg(long = "default-ulimit", value_name = "LIMIT")]
    pub(super) default_ulimits: Vec<String>,
    /// Run an init in containers that forwards signals and reaps processes [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) init: Option<bool>,
    /// Log driver of containers that name none [default: json-file]
    #[arg(long, value_name = "DRIVER")]
    pub(super) log_driver: Option<String>,
    /// Option of the default log driver, as name=value
    #[arg(long = "log-opt", value_name = "OPTION")]
    pub(super) log_opts: Vec<String>,
    /// Let no container gain privileges unless it says so itself [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) no_new_privileges: Option<bool>,
    /// Seccomp profile of containers that name none: a file, builtin or unconfined [default: builtin]
    #[arg(long, value_name = "FILE")]
    pub(super) seccomp_profile: Option<String>,
}

/// The same in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct ContainerFile {
    cgroup_parent: Option<String>,
    default_cgroupns_mode: Option<String>,
    default_ipc_mode: Option<String>,
    default_shm_size: Option<Size>,
    default_ulimits: Option<BTreeMap<String, UlimitFile>>,
    init: Option<bool>,
    log_driver: Option<String>,
    log_opts: Option<BTreeMap<String, String>>,
    no_new_privileges: Option<bool>,
    seccomp_profile: Option<String>,
}

/// A size, with or without a unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Size {
    Number(i64),
    Text(String),
}

/// One member of `default-ulimits`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct UlimitFile {
    soft: i64,
    hard: i64,
}

/// The keys of [`ContainerFile`].
pub(super) const KNOWN: &[&str] = &[
    "cgroup-parent",
    "default-cgroupns-mode",
    "default-ipc-mode",
    "default-shm-size",
    "default-ulimits",
    "init",
    "log-driver",
    "log-opts",
    "no-new-privileges",
    "seccomp-profile",
];

/// What containers get that say nothing themselves. Empty texts and `None` are the usual defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContainerDefaults {
    pub(crate) cgroup_parent: String,
    /// `host` or `private`.
    pub(crate) cgroupns_mode: String,
    /// `shareable` or `private`.
    pub(crate) ipc_mode: String,
    /// Bytes.
    pub(crate) shm_size: Option<i64>,
    /// Soft and hard limit by name; -1 is none.
    pub(crate) ulimits: BTreeMap<String, (i64, i64)>,
    pub(crate) init: bool,
    pub(crate) log_driver: String,
    pub(crate) log_opts: BTreeMap<String, String>,
    pub(crate) no_new_privileges: bool,
    /// A profile as the option `seccomp=` has it: `unconfined` or a document.
    pub(crate) seccomp: Option<String>,
    /// Where the document came from.
    pub(crate) seccomp_path: String,
}

impl ContainerFlags {
    /// The flags that were given, by the keys that the file has for them.
    pub(super) fn given(&self) -> Vec<(&'static str, Option<String>)> {
        let truth = |value: Option<bool>| value.map(|value| value.to_string());
        let list =
            |values: &[String]| (!values.is_empty()).then(|| format!("[{}]", values.join(" ")));
        let map = |values: &[String]| {
            let pairs = values.iter().map(|value| value.replacen('=', ":", 1));
            (!values.is_empty()).then(|| format!("map[{}]", pairs.collect::<Vec<_>>().join(" ")))
        };
        vec![
            ("cgroup-parent", self.cgroup_parent.clone()),
            ("default-cgroupns-mode", self.default_cgroupns_mode.clone()),
            ("default-ipc-mode", self.default_ipc_mode.clone()),
            ("default-shm-size", self.default_shm_size.clone()),
            ("default-ulimits", list(&self.default_ulimits)),
            ("init", truth(self.init)),
            ("log-driver", self.log_driver.clone()),
            ("log-opts", map(&self.log_opts)),
            ("no-new-privileges", truth(self.no_new_privileges)),
            ("seccomp-profile", self.seccomp_profile.clone()),
        ]
    }
}

/// Puts flags and file together.
pub(super) fn merge(flags: &Flags, file: &File) -> Result<ContainerDefaults, ConfigError> {
    let (flags, program, file) = (&flags.containers, flags.program, &file.containers);
    let text = |flag: &Option<String>, file: &Option<String>| {
        flag.clone().or_else(|| file.clone()).unwrap_or_default()
    };
    let truth = |flag: Option<bool>, file: Option<bool>| flag.or(file).unwrap_or(false);
    let parent = text(&flags.cgroup_parent, &file.cgroup_parent);
    let profile = text(&flags.seccomp_profile, &file.seccomp_profile);
    let (seccomp, seccomp_path) = seccomp(profile)?;
    let log_driver = text(&flags.log_driver, &file.log_driver);
    let log_opts = log_opts(&flags.log_opts, file);
    check_log(&log_driver, &log_opts)?;
    Ok(ContainerDefaults {
        cgroup_parent: match parent.as_str() {
            "" => program.cgroup_parent().to_owned(),
            _ => parent,
        },
        cgroupns_mode: cgroupns_mode(text(
            &flags.default_cgroupns_mode,
            &file.default_cgroupns_mode,
        ))?,
        ipc_mode: ipc_mode(text(&flags.default_ipc_mode, &file.default_ipc_mode))?,
        shm_size: shm_size(flags.default_shm_size.as_deref(), file)?,
        ulimits: ulimits(&flags.default_ulimits, file)?,
        init: truth(flags.init, file.init),
        log_driver,
        log_opts,
        no_new_privileges: truth(flags.no_new_privileges, file.no_new_privileges),
        seccomp,
        seccomp_path,
    })
}

fn refused(text: String) -> ConfigError {
    ConfigError::Merged(text)
}

fn cgroupns_mode(mode: String) -> Result<String, ConfigError> {
    match mode.as_str() {
        "" | "host" | "private" => Ok(mode),
        _ => Err(refused(format!(
            "invalid default cgroup namespace ({mode}): use \"host\" or \"private\""
        ))),
    }
}

fn ipc_mode(mode: String) -> Result<String, ConfigError> {
    match mode.as_str() {
        "" | "shareable" | "private" => Ok(mode),
        "host" | "none" => Err(refused(format!(
            "IPC mode \"{mode}\" is not supported as default value; use \"shareable\" or \"private\""
        ))),
        _ => Err(refused(format!(
            "default IPC mode setting ({mode}) is invalid; use \"shareable\" or \"private\""
        ))),
    }
}

fn shm_size(flag: Option<&str>, file: &ContainerFile) -> Result<Option<i64>, ConfigError> {
    let size = match (flag, &file.default_shm_size) {
        (None, None) => return Ok(None),
        (Some(text), _) => parse_size(text, Thousand::Binary).map_err(|why| {
            ConfigError::Network(format!(
                "invalid argument \"{text}\" for \"--default-shm-size\" flag: {why}"
            ))
        })?,
        (None, Some(Size::Number(number))) => *number,
        (None, Some(Size::Text(text))) => parse_size(text, Thousand::Binary)
            .map_err(|why| ConfigError::Network(format!("invalid JSON: {why}")))?,
    };
    match size {
        1.. => Ok(Some(size)),
        _ => Err(refused(format!("invalid default-shm-size: {size}"))),
    }
}

fn ulimits(
    flags: &[String],
    file: &ContainerFile,
) -> Result<BTreeMap<String, (i64, i64)>, ConfigError> {
    let mut limits: BTreeMap<String, (i64, i64)> = file
        .default_ulimits
        .iter()
        .flatten()
        .map(|(name, limit)| (name.clone(), (limit.soft, limit.hard)))
        .collect();
    for (name, (soft, hard)) in &limits {
        check_ulimit(name, *soft, *hard).map_err(|why| refused(why.to_string()))?;
    }
    for flag in flags {
        let (name, soft, hard) = parse_ulimit(flag).map_err(|why| {
            ConfigError::Network(format!(
                "invalid argument {flag:?} for \"--default-ulimit\" flag: {why}"
            ))
        })?;
        limits.insert(name.to_owned(), (soft, hard));
    }
    Ok(limits)
}

fn log_opts(flags: &[String], file: &ContainerFile) -> BTreeMap<String, String> {
    if flags.is_empty() {
        return file.log_opts.clone().unwrap_or_default();
    }
    let pair = |flag: &String| {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        (name.to_owned(), value.to_owned())
    };
    flags.iter().map(pair).collect()
}

/// As dockerd does: only where there are options.
fn check_log(driver: &str, options: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    if options.is_empty() {
        return Ok(());
    }
    let wrong = |why: &str| ConfigError::Plain(format!("failed to set log opts: {why}"));
    let name = if driver.is_empty() {
        "json-file"
    } else {
        driver
    };
    let driver = LogDriver::named(name).ok_or_else(|| {
        wrong(&format!(
            "logger: no log driver named '{name}' is registered"
        ))
    })?;
    let log = LogConfig {
        driver,
        options: options.clone(),
    };
    check_log_options(&log).map_err(|error| wrong(error.message()))
}

/// The profile and where it came from.
fn seccomp(profile: String) -> Result<(Option<String>, String), ConfigError> {
    match profile.as_str() {
        "" | "builtin" => Ok((None, "builtin".to_owned())),
        "unconfined" => Ok((Some(profile.clone()), profile)),
        path => {
            let text = fs_err::read_to_string(PathBuf::from(path)).map_err(|error| {
                ConfigError::Plain(format!("opening seccomp profile ({path}) failed: {error}"))
            })?;
            Ok((Some(text), profile))
        }
    }
}
