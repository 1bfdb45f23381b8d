//! What the daemon is told: dockerd's flags and dockerd's `daemon.json`, put together.

mod accepted;
mod containers;
mod file;
mod flags;
mod network;
mod program;
mod tls;
mod transfer;

pub(crate) use accepted::Others;
pub(crate) use containers::ContainerDefaults;
pub(crate) use flags::Flags;
pub(crate) use network::Networking;
pub use program::Program;
pub(crate) use tls::Tls;
pub(crate) use transfer::{Transfer, parse_compression};

use crate::listen::{Address, InvalidAddress};
use hull_engine::{InvalidStoreFormat, StoreFormat};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tracing::level_filters::LevelFilter;

/// The runtime that containers get unless they name another.
pub(crate) const DEFAULT_RUNTIME: &str = "hull-runtime";
/// Names that Docker's users have for "the usual runtime"; here they are Hull's too.
pub(crate) const DOCKERS_RUNTIMES: [&str; 2] = ["runc", "io.containerd.runc.v2"];

/// An OCI runtime by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runtime {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
}

/// What the daemon does, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) hosts: Vec<Address>,
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
        let policy = flags.policy.or(file.policy);
        policy
            .iter()
            .try_for_each(|path| absolute("--policy", path))?;
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

/// A size in powers of 1000, or of 1024 with an `i`; nothing and 0 are no limit.
fn disk_budget(text: &str) -> Result<Option<u64>, ConfigError> {
    let invalid = || ConfigError::DiskBudget(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    if text.is_empty() {
        return Ok(None);
    }
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) if !letter.is_empty() => (letter, 1024_u64),
        _ => (unit, 1000),
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(invalid()),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let bytes = number.checked_mul(base.pow(power)).ok_or_else(invalid)?;
    Ok((bytes > 0).then_some(bytes))
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

fn log_level(level: Option<&str>, debug: bool) -> Result<LevelFilter, ConfigError> {
    let level = match level.unwrap_or("info") {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        // Rust's logging knows nothing worse than an error.
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        other => return Err(ConfigError::LogLevel(other.to_owned())),
    };
    Ok(if debug {
        level.max(LevelFilter::DEBUG)
    } else {
        level
    })
}

fn log_format(format: Option<&str>) -> Result<bool, ConfigError> {
    match format {
        None | Some("" | "text") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(ConfigError::LogFormat(other.to_owned())),
    }
}

/// A mirror's URL without path, query, fragment and user: anything else would be dropped silently.
fn mirror(text: &str) -> Result<String, ConfigError> {
    let refused = |why: &str| ConfigError::Mirror(format!("{why} for {text:?}"));
    if !text.contains("://") {
        let why =
            format!("no scheme specified for {text:?}: must use either 'https://' or 'http://'");
        return Err(ConfigError::Mirror(why));
    }
    let url = url::Url::parse(text)
        .map_err(|error| ConfigError::Mirror(format!("{text:?} is not a valid URI: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        let why = format!(
            "unsupported scheme {:?} in {text:?}: must use either 'https://' or 'http://'",
            url.scheme()
        );
        return Err(ConfigError::Mirror(why));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("unsupported query or fragment"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("username/password not allowed in URI"));
    }
    Ok(url.to_string())
}

fn runtimes(
    flags: &[String],
    file: Option<BTreeMap<String, file::Runtime>>,
) -> Result<BTreeMap<String, Runtime>, ConfigError> {
    let mut runtimes = BTreeMap::new();
    for flag in flags {
        let spec = || ConfigError::Runtime(flag.clone());
        let (name, path) = flag.split_once('=').ok_or_else(spec)?;
        if name.is_empty() || path.is_empty() {
            return Err(spec());
        }
        add_runtime(&mut runtimes, name.to_owned(), path.into(), Vec::new())?;
    }
    for (name, runtime) in file.unwrap_or_default() {
        if !runtime.runtime_type.is_empty() || runtime.options.is_some() {
            return Err(ConfigError::Plain(format!(
                "runtime '{name}': runtimeType and options are containerd's; name the program by its path"
            )));
        }
        let args = runtime.runtime_args.unwrap_or_default();
        add_runtime(&mut runtimes, name, runtime.path.into(), args)?;
    }
    Ok(runtimes)
}

/// Whether a name stands for Hull's own runtime.
fn is_own(name: &str) -> bool {
    name == DEFAULT_RUNTIME || DOCKERS_RUNTIMES.contains(&name)
}

fn add_runtime(
    runtimes: &mut BTreeMap<String, Runtime>,
    name: String,
    path: PathBuf,
    args: Vec<String>,
) -> Result<(), ConfigError> {
    if DOCKERS_RUNTIMES.contains(&name.as_str()) {
        return Err(ConfigError::Plain(format!(
            "runtime name '{name}' is reserved"
        )));
    }
    if runtimes.contains_key(&name) || name == DEFAULT_RUNTIME {
        return Err(ConfigError::RuntimeTwice(name));
    }
    runtimes.insert(name, Runtime { path, args });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settings(args: &[&str], file: Option<&str>) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.json");
        let mut all = vec!["hull daemon".to_owned()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        if let Some(file) = file {
            fs_err::write(&path, file).unwrap();
            all.push(format!("--config-file={}", path.display()));
        }
        let flags = Flags::try_parse_from(all).map_err(|error| error.to_string())?;
        Settings::new(flags)
            .map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"))
    }

    #[test]
    fn everything_has_a_default() {
        let settings = settings(&[], Some("{}")).unwrap();
        assert_eq!(settings.hosts[0].to_string(), "unix:///run/hull/hull.sock");
        assert_eq!(settings.data_root, Path::new("/var/lib/hull"));
        assert_eq!(settings.pidfile, Path::new("/run/hull/hull.pid"));
        assert_eq!(settings.log_level, LevelFilter::INFO);
        assert_eq!(settings.default_runtime, "hull-runtime");
        assert_eq!(settings.transfer.limits.downloads, 6);
        assert_eq!(settings.transfer.config_dirs.len(), 2);
    }

    #[test]
    fn transfers_have_limits_and_proxies() {
        let text = r#"{"max-concurrent-downloads":3,"max-concurrent-uploads":0,"max-download-attempts":2,
            "push-compression":"zstd:5","registry-config-dirs":["/c"],
            "proxies":{"http-proxy":"http://p:1","no-proxy":"a,b"}}"#;
        let transfer = settings(&["--https-proxy=http://q:2"], Some(text))
            .unwrap()
            .transfer;
        let limits = transfer.limits;
        assert_eq!(
            (limits.downloads, limits.uploads, limits.attempts),
            (3, 6, 2)
        );
        assert_eq!(
            transfer.compression,
            hull_engine::image::Compression::Zstd(5)
        );
        assert_eq!(transfer.config_dirs, [Path::new("/c")]);
        assert_eq!(transfer.proxies.http.as_deref(), Some("http://p:1"));
        assert_eq!(transfer.proxies.https.as_deref(), Some("http://q:2"));
    }

    #[test]
    fn flags_are_dockerds() {
        let settings = settings(
            &[
                "-H",
                "unix:///a",
                "--host=tcp://127.0.0.1:1",
                "--data-root",
                "/d",
                "--exec-root=/e",
                "-p",
                "/p",
                "--insecure-registry",
                "10.0.0.0/8",
                "--registry-mirror=http://m:5000",
                "-l",
                "warn",
                "--default-runtime=crun",
                "--add-runtime",
                "crun=/usr/bin/crun",
                "-G",
                "wheel",
                "--store-format=directory",
                "--keep-compressed-layers=false",
            ],
            None,
        )
        .unwrap();
        assert_eq!(settings.hosts.len(), 2);
        assert_ne!(settings.store_format, StoreFormat::Auto);
        assert!(!settings.keep_compressed_layers);
        assert_eq!(settings.registry_mirrors, ["http://m:5000/"]);
        assert_eq!(settings.runtimes["crun"].path, Path::new("/usr/bin/crun"));
        assert_eq!(
            (settings.group.as_deref(), settings.log_level),
            (Some("wheel"), LevelFilter::WARN)
        );
    }

    #[test]
    fn the_file_has_dockerds_keys() {
        let settings = settings(
            &["-D"],
            Some(
                r#"{"hosts":["unix:///a"],"data-root":"/d","exec-root":"/e","pidfile":"/p","insecure-registries":["a:1"],
                "registry-mirrors":["https://m"],"log-level":"error","default-runtime":"r","group":"g",
                "runtimes":{"r":{"path":"/r","runtimeArgs":["--x"]}}}"#,
            ),
        )
        .unwrap();
        assert_eq!(settings.log_level, LevelFilter::DEBUG);
        assert_eq!(settings.runtimes["r"].args, ["--x"]);
        assert_eq!(settings.insecure_registries, ["a:1"]);
    }

    #[test]
    fn mistakes_are_told_as_dockerd_tells_them() {
        let refused = |args: &[&str], file| settings(args, file).unwrap_err();
        assert_eq!(
            refused(&[], Some(r#"{"nope":1,"hosts":[]}"#)),
            "unable to configure the daemon with file FILE: the following directives don't match any configuration option: nope"
        );
        assert_eq!(
            refused(&[], Some(r#"{"hosts":}"#)),
            "unable to configure the daemon with file FILE: invalid JSON: expected value at line 1 column 10"
        );
        assert_eq!(
            refused(
                &["-H", "unix:///a", "-D"],
                Some(r#"{"hosts":["unix:///tmp/x"],"debug":true}"#)
            ),
            "unable to configure the daemon with file FILE: the following directives are specified both as a flag and in the configuration file: debug: (from flag: true, from file: true), hosts: (from flag: [unix:///a], from file: [unix:///tmp/x])"
        );
        assert_eq!(refused(&["-l", "foo"], None), "invalid logging level: foo");
        assert_eq!(
            refused(&["--registry-mirror", "foo"], None),
            "invalid mirror: no scheme specified for \"foo\": must use either 'https://' or 'http://'"
        );
        assert_eq!(
            refused(&["--default-runtime", "x"], None),
            "specified default runtime 'x' does not exist"
        );
        assert!(refused(&["--add-runtime", "x"], None).contains("name=path"));
        assert_eq!(
            refused(&["--store-format", "zip"], None),
            "invalid store format: zip: use auto, erofs or directory"
        );
        assert!(refused(&["--data-root", "d"], None).contains("absolute"));
        assert_eq!(
            refused(&["--max-concurrent-uploads=-1"], None),
            "invalid max concurrent uploads: -1"
        );
        assert_eq!(
            refused(&[], Some(r#"{"max-download-attempts":0}"#)),
            "invalid max download attempts: 0"
        );
        assert!(refused(&["--push-compression=xz"], None).contains("xz"));
        assert!(refused(&["--nope"], None).contains("--nope"));
        assert!(refused(&["extra"], None).contains("extra"));
    }

    /// `flag, file, what is said of them`, recorded from dockerd 28.5; it finds out about addresses of the
    /// bridge at its start only.
    const NETWORKS: &[(&str, &str, &str)] = &[
        ("--mtu=-1", "{}", "invalid default MTU: -1"),
        (
            "--dns=x",
            "{}",
            "invalid argument \"x\" for \"--dns\" flag: invalid string being converted to IP address: x",
        ),
        ("--debug", r#"{"dns":["x"]}"#, "invalid IP address: x"),
        ("--dns-search=a b", "{}", "a b is not a valid domain"),
        (
            "--default-address-pool=x",
            "{}",
            "invalid argument \"x\" for \"--default-address-pool\" flag: invalid field 'x' must be a key=value pair",
        ),
        (
            "--default-network-opt=bridge=x",
            "{}",
            "invalid argument \"bridge=x\" for \"--default-network-opt\" flag: invalid value \"bridge=x\" for map option, should be root-key=key=value",
        ),
        (
            "--debug",
            r#"{"host-gateway-ips":["1.2.3.4"],"host-gateway-ip":"1.2.3.4"}"#,
            "host-gateway-ip and host-gateway-ips must not both be specified in the config file",
        ),
        (
            "--debug",
            r#"{"host-gateway-ips":["1.2.3.4","1.2.3.5"]}"#,
            "only one IPv4 host gateway IP address can be specified",
        ),
        (
            "--icc=false",
            r#"{"icc":false}"#,
            "the following directives are specified both as a flag and in the configuration file: icc: (from flag: false, from file: false)",
        ),
        (
            "--dns=2.2.2.2",
            r#"{"dns":["1.1.1.1"]}"#,
            "the following directives are specified both as a flag and in the configuration file: dns: (from flag: [2.2.2.2], from file: [1.1.1.1])",
        ),
        (
            "--debug",
            r#"{"bridge":"b","bip":"10.0.0.1/24"}"#,
            "You specified -b & --bip, mutually exclusive options. Please specify only one",
        ),
        (
            "--bip=10.0.0.1",
            "{}",
            "invalid bip: invalid CIDR address: 10.0.0.1",
        ),
        (
            "--default-gateway-v6=1.2.3.4",
            "{}",
            "invalid default-gateway-v6: 1.2.3.4 is no IPv6 address",
        ),
        (
            "--debug",
            r#"{"default-address-pools":[{"base":"10.0.0.0/16","size":8}]}"#,
            "invalid default-address-pools: the size of 10.0.0.0/16 must be from 16 to 32",
        ),
        (
            "--publish=x",
            "{}",
            "invalid publish mode: x: use nat or host-firewall",
        ),
        (
            "--firewall-backend=x",
            "{}",
            "invalid firewall-backend \"x\"",
        ),
    ];

    #[test]
    fn networks_are_set_up_with_dockerds_words() {
        let refused = |args: &[&str], file| {
            let error = settings(args, file).unwrap_err();
            let reason = error.strip_prefix("unable to configure the daemon with file FILE: ");
            reason.unwrap_or(&error).to_owned()
        };
        for (flag, file, error) in NETWORKS {
            assert_eq!(refused(&[flag], Some(file)), *error);
        }
    }

    #[test]
    fn networks_have_dockerds_flags_and_keys() {
        let file = r#"{"bip":"10.9.0.1/24","mtu":1400,"ip":"127.0.0.1","ipv6":true,"dns-opts":["ndots:1"],
            "default-address-pools":[{"base":"10.10.0.0/16","size":24}],"host-gateway-ips":["1.2.3.4","fd00::1"],
            "default-network-opts":{"bridge":{"a":"b"}},"userland-proxy":true,"publish":"host-firewall",
            "default-publish-address":"127.0.0.1","iptables":false,"ip-forward":false}"#;
        let flags = [
            "--icc=false",
            "--dns=1.1.1.1,9.9.9.9",
            "--default-network-opt=bridge=c=d",
        ];
        let Networking { config, notes } = settings(&flags[..2], Some(file)).unwrap().network;
        assert_eq!((config.bridge.mtu, config.bridge.icc), (Some(1400), false));
        assert_eq!(
            config.bridge.publish_address,
            Some("127.0.0.1".parse().unwrap())
        );
        assert_eq!(config.address_pools[0].size, 24);
        assert_eq!(config.dns, ["1.1.1.1", "9.9.9.9"]);
        assert_eq!(config.host_gateways.len(), 2);
        assert_eq!(config.default_options["bridge"]["a"], "b");
        assert!(config.host_firewall && config.keep_forwarding && config.bridge.ipv6);
        assert_eq!(notes.len(), 1);
        let given = settings(&flags[2..], None).unwrap().network.config;
        assert_eq!(given.default_options["bridge"]["c"], "d");
    }

    /// Settings as a daemon called `dockerd` has them.
    fn as_dockerd(args: &[&str], file: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.json");
        fs_err::write(&path, file).unwrap();
        let named = format!("--config-file={}", path.display());
        let all = ["dockerd", &named].into_iter().chain(args.iter().copied());
        let mut flags = Flags::try_parse_from(all).map_err(|error| error.to_string())?;
        flags.program = Program::Dockerd;
        Settings::new(flags).map_err(|error| {
            let text = error.to_string().replace(path.to_str().unwrap(), "FILE");
            let prefix = "unable to configure the daemon with file FILE: ";
            text.strip_prefix(prefix).unwrap_or(&text).to_owned()
        })
    }

    /// Every flag of dockerd 28.5 (`dockerd --help`, and those it hides), with a value that it takes.
    const DOCKERDS: &[&str] = &[
        "--add-runtime=a=/a",
        "--allow-direct-routing",
        "--allow-nondistributable-artifacts=x",
        "--bip=10.0.0.1/24",
        "--bip6=fd00::1/64",
        "--bridge=",
        "--cdi-spec-dir=/a",
        "--cgroup-parent=/a",
        "--containerd=/a",
        "--containerd-namespace=a",
        "--containerd-plugins-namespace=a",
        "--cpu-rt-period=0",
        "--cpu-rt-runtime=0",
        "--cri-containerd",
        "--data-root=/a",
        "--debug",
        "--default-address-pool=base=10.10.0.0/16,size=24",
        "--default-cgroupns-mode=private",
        "--default-gateway=10.0.0.2",
        "--default-gateway-v6=fd00::2",
        "--default-ipc-mode=shareable",
        "--default-network-opt=bridge=a=b",
        "--default-runtime=runc",
        "--default-shm-size=1m",
        "--default-ulimit=nofile=1:2",
        "--dns=1.1.1.1",
        "--dns-opt=ndots:1",
        "--dns-search=a",
        "--exec-opt=native.cgroupdriver=systemd",
        "--exec-root=/a",
        "--experimental",
        "--feature=a=true",
        "--fixed-cidr=10.0.0.0/25",
        "--fixed-cidr-v6=fd00::/80",
        "--group=docker",
        "--host=fd://",
        "--host-gateway-ip=1.2.3.4",
        "--http-proxy=http://a",
        "--https-proxy=http://a",
        "--icc=false",
        "--init",
        "--init-path=/a",
        "--insecure-registry=a",
        "--ip=0.0.0.0",
        "--ip-forward=false",
        "--ip-forward-no-drop",
        "--ip-masq=false",
        "--ip6tables=false",
        "--iptables=false",
        "--ipv6",
        "--label=a=b",
        "--live-restore",
        "--log-driver=json-file",
        "--log-format=json",
        "--log-level=error",
        "--log-opt=max-size=1m",
        "--max-concurrent-downloads=1",
        "--max-concurrent-uploads=1",
        "--max-download-attempts=1",
        "--metrics-addr=127.0.0.1:9323",
        "--mtu=1400",
        "--network-control-plane-mtu=1400",
        "--no-new-privileges",
        "--no-proxy=a",
        "--node-generic-resource=a=b",
        "--pidfile=/a",
        "--raw-logs",
        "--registry-mirror=http://a",
        "--rootless=false",
        "--seccomp-profile=unconfined",
        "--selinux-enabled",
        "--shutdown-timeout=5",
        "--storage-driver=overlay2",
        "--storage-opt=a=b",
        "--swarm-default-advertise-addr=a",
        "--tls=false",
        "--tlscacert=/a",
        "--tlscert=/a",
        "--tlskey=/a",
        "--tlsverify=false",
        "--userland-proxy=false",
        "--userland-proxy-path=/a",
        "--userns-remap=",
        "--validate",
    ];

    #[test]
    fn all_flags_of_dockerd_are_taken_and_those_without_meaning_are_told_of() {
        let settings = as_dockerd(DOCKERDS, "{}").unwrap();
        let notes = settings.others.notes.join("\n");
        for flag in [
            "shutdown-timeout",
            "storage-opts",
            "exec-opts",
            "features",
            "containerd",
            "init-path",
            "metrics-addr",
            "swarm",
            "raw-logs",
            "selinux",
            "nondistributable",
        ] {
            assert!(notes.contains(flag), "{flag}: {notes}");
        }
        for quiet in ["live-restore", "storage-driver", "cpu-rt"] {
            assert!(!notes.contains(quiet), "{quiet}: {notes}");
        }
        assert_eq!(settings.hosts, [Address::Passed(String::new())]);
        let engine = crate::daemon::engine_config(&settings);
        assert_eq!(engine.defaults.cdi_directories, [PathBuf::from("/a")]);
        let given = settings.containers;
        assert_eq!(
            (given.cgroup_parent.as_str(), given.ipc_mode.as_str()),
            ("/a", "shareable")
        );
        assert_eq!((given.shm_size, given.init), (Some(1 << 20), true));
        assert_eq!(given.ulimits["nofile"], (1, 2));
        assert_eq!(given.log_opts["max-size"], "1m");
        assert_eq!(given.seccomp.as_deref(), Some("unconfined"));
        assert_eq!(settings.others.labels, ["a=b"]);
    }

    #[test]
    fn as_dockerd_everything_is_where_dockers_clients_look() {
        let settings = as_dockerd(&[], "{}").unwrap();
        assert_eq!(settings.hosts[0].to_string(), "unix:///var/run/docker.sock");
        assert_eq!(settings.pidfile, Path::new("/var/run/docker.pid"));
        assert_eq!(settings.data_root, Path::new("/var/lib/docker/hull"));
        assert_eq!(settings.default_runtime, "runc");
        assert_eq!(settings.network.config.bridge.made, "docker0");
        assert_eq!(settings.containers.cgroup_parent, "docker");
        assert!(settings.tls.is_none() && settings.others.notes.is_empty());
    }

    /// `flag, file, what is said of them`, recorded from dockerd 28.5 where it has something to say.
    const REFUSED: &[(&str, &str, &str)] = &[
        (
            "--default-ipc-mode=x",
            "{}",
            "merged configuration validation from file and command line flags failed: default IPC mode setting (x) is invalid; use \"shareable\" or \"private\"",
        ),
        (
            "--debug",
            r#"{"default-ipc-mode":"host"}"#,
            "merged configuration validation from file and command line flags failed: IPC mode \"host\" is not supported as default value; use \"shareable\" or \"private\"",
        ),
        (
            "--debug",
            r#"{"default-cgroupns-mode":"x"}"#,
            "merged configuration validation from file and command line flags failed: invalid default cgroup namespace (x): use \"host\" or \"private\"",
        ),
        (
            "--debug",
            r#"{"default-shm-size":"x"}"#,
            "invalid JSON: invalid size: 'x'",
        ),
        (
            "--default-ulimit=nofile=1:2",
            r#"{"default-ulimits":{"nofile":{"Name":"nofile","Hard":1,"Soft":1}}}"#,
            "the following directives are specified both as a flag and in the configuration file: default-ulimits: (from flag: [nofile=1:2], from file: map[nofile:map[Hard:1 Name:nofile Soft:1]])",
        ),
        (
            "--log-opt=a=b",
            r#"{"log-opts":{"max-size":"5"}}"#,
            "the following directives are specified both as a flag and in the configuration file: log-opts: (from flag: map[a:b], from file: map[max-size:5])",
        ),
        (
            "--debug",
            r#"{"labels":["com.docker.a=1"]}"#,
            "merged configuration validation from file and command line flags failed: label com.docker.a=1 is not allowed: the namespaces com.docker.*, io.docker.*, and org.dockerproject.* are reserved for internal use",
        ),
        (
            "--exec-opt=foo",
            "{}",
            "merged configuration validation from file and command line flags failed: invalid exec-opt (foo): must be formatted 'opt=value'",
        ),
        (
            "--tlsverify",
            r#"{"tlscert":"/nonexistent/c","tlskey":"/nonexistent/k"}"#,
            "invalid TLS configuration: Could not load X509 key pair (cert: \"/nonexistent/c\", key: \"/nonexistent/k\")",
        ),
        (
            "--authorization-plugin=foo",
            "{}",
            "authorization plugins are not supported",
        ),
        (
            "--debug",
            r#"{"userns-remap":"default"}"#,
            "userns-remap is not supported",
        ),
        ("--rootless", "{}", "rootless mode is not supported"),
        (
            "--add-runtime=runc=/x",
            "{}",
            "runtime name 'runc' is reserved",
        ),
        (
            "--default-ulimit=nope=1",
            "{}",
            "merged configuration validation from file and command line flags failed: invalid ulimit type: nope",
        ),
    ];

    #[test]
    fn what_dockerd_refuses_is_refused_and_so_is_what_would_not_protect() {
        for (flag, file, error) in REFUSED {
            let refused = as_dockerd(&[flag], file).unwrap_err();
            assert!(refused.starts_with(error), "{flag} {file}: {refused}");
        }
        let file = r#"{"builder":{"gc":{"enabled":true}},"live-restore":true,"experimental":true,
            "exec-opts":["native.cgroupdriver=cgroupfs"],"storage-driver":"overlay2","init":true,
            "default-ulimits":{"nofile":{"Name":"nofile","Hard":64000,"Soft":64000}},
            "features":{"buildkit":true},"default-runtime":"runc","ipv6":false}"#;
        let taken = as_dockerd(&[], file).unwrap();
        assert!(taken.others.experimental && taken.containers.init);
        assert_eq!(taken.containers.ulimits["nofile"], (64000, 64000));
        assert_eq!(taken.others.notes.len(), 2, "{:?}", taken.others.notes);
    }

    #[test]
    fn budgets_are_sizes() {
        for (text, bytes) in [
            ("", None),
            ("0", None),
            ("4096", Some(4096)),
            ("50GB", Some(50_000_000_000)),
            ("50g", Some(50_000_000_000)),
            ("2 MiB", Some(2 << 20)),
            ("1TB", Some(1_000_000_000_000)),
        ] {
            assert_eq!(disk_budget(text).unwrap(), bytes, "{text}");
        }
        for text in ["x", "1.5GB", "-1", "5i", "5ib", "5xb", "99999999999TB"] {
            assert!(disk_budget(text).is_err(), "{text}");
        }
        let from_file = settings(&[], Some(r#"{"disk-budget":"1GB"}"#)).unwrap();
        assert_eq!(from_file.disk_budget, Some(1_000_000_000));
        let refused = settings(&["--disk-budget=lots"], None).unwrap_err();
        assert_eq!(
            refused,
            "invalid disk budget: lots: use a size such as 50GB"
        );
    }

    #[test]
    fn a_named_file_must_exist() {
        let flags = Flags::try_parse_from(["x", "--config-file=/nonexistent/file"]).unwrap();
        let error = Settings::new(flags).unwrap_err().to_string();
        assert_eq!(
            error,
            "unable to configure the daemon with file /nonexistent/file: open /nonexistent/file: no such file or directory"
        );
    }
}
