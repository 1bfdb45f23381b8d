//! The daemon's command line, as typed.

use super::accepted::OtherFlags;
use super::containers::ContainerFlags;
use super::network::NetworkFlags;
use super::program::Program;
use super::tls::TlsFlags;
use clap::Parser;
use std::path::PathBuf;

/// A container engine with the Docker Engine API.
#[derive(Clone, Debug, Default, Parser)]
#[command(disable_version_flag = true)]
pub(crate) struct Flags {
    /// Daemon socket(s) to listen on: unix:///path, tcp://host:port or fd:// for those of the service manager [default: unix:///run/hull/hull.sock]
    #[arg(short = 'H', long = "host", value_name = "LIST")]
    pub(crate) hosts: Vec<String>,
    /// Root directory of persistent state [default: /var/lib/hull]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data_root: Option<PathBuf>,
    /// Root directory for execution state files [default: /run/hull]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) exec_root: Option<PathBuf>,
    /// Path to use for the daemon's PID file [default: hull.pid in the execution root]
    #[arg(short = 'p', long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
    /// Daemon configuration file [default: /etc/hull/daemon.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,
    /// Host, host:port or network whose registries may be used without TLS
    #[arg(long = "insecure-registry", value_name = "LIST")]
    pub(crate) insecure_registries: Vec<String>,
    /// URL of a mirror to ask before Docker Hub
    #[arg(long = "registry-mirror", value_name = "LIST")]
    pub(crate) registry_mirrors: Vec<String>,
    /// Trust policy for images [default: /etc/hull/policy.json, then /etc/containers/policy.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// How new layers lie on disk: erofs (their archive and an index that is mounted), directory (unpacked)
    /// or auto, the first where the kernel can [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) store_format: Option<String>,
    /// Keep layers as the registry sent them too, so that pushes need not compress them again
    /// [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) keep_compressed_layers: Option<bool>,
    /// Directory with registries' own settings, one directory per host [default: /etc/hull/certs.d and /etc/docker/certs.d]
    #[arg(long = "registry-config-dir", value_name = "DIRECTORY")]
    pub(crate) registry_config_dirs: Vec<String>,
    /// Layers that are downloaded at once [default: 6]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) max_concurrent_downloads: Option<i64>,
    /// Layers that are uploaded at once [default: 6]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) max_concurrent_uploads: Option<i64>,
    /// Attempts at a request that a registry does not answer well [default: 5]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) max_download_attempts: Option<i64>,
    /// How layers are compressed for a push when no compressed form is kept: gzip[:0-9], zstd[:1-19] or none [default: gzip]
    #[arg(long, value_name = "FORM")]
    pub(crate) push_compression: Option<String>,
    /// HTTP proxy URL to use for outgoing traffic
    #[arg(long, value_name = "URL")]
    pub(crate) http_proxy: Option<String>,
    /// HTTPS proxy URL to use for outgoing traffic
    #[arg(long, value_name = "URL")]
    pub(crate) https_proxy: Option<String>,
    /// Comma-separated list of hosts or IP addresses for which the proxy is skipped
    #[arg(long, value_name = "LIST")]
    pub(crate) no_proxy: Option<String>,
    /// What images and partial downloads may take of the disk, such as 50GB: the least recently used
    /// go first [default: no limit]
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk_budget: Option<String>,
    /// Logging level: debug, info, warn, error or fatal [default: info]
    #[arg(short = 'l', long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Logging format: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
    /// File that notes every request that may change something, with who made it; none for no such file [default: audit.log in the data root]
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log: Option<String>,
    /// Log what happens in detail
    #[arg(short = 'D', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) debug: Option<bool>,
    /// OCI runtime for containers that name none [default: hull-runtime]
    #[arg(long, value_name = "NAME")]
    pub(crate) default_runtime: Option<String>,
    /// Another OCI runtime, as name=path
    #[arg(long = "add-runtime", value_name = "NAME=PATH")]
    pub(crate) add_runtimes: Vec<String>,
    /// Group that may use the unix socket [default: hull or docker, where they exist]
    #[arg(short = 'G', long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) network: NetworkFlags,
    #[command(flatten)]
    pub(crate) containers: ContainerFlags,
    #[command(flatten)]
    pub(crate) others: OtherFlags,
    #[command(flatten)]
    pub(crate) tls: TlsFlags,
    /// Check the configuration and exit
    #[arg(long)]
    pub(crate) validate: bool,
    /// Print version information and exit
    #[arg(short = 'v', long)]
    pub(crate) version: bool,
    /// What the daemon was started as.
    #[arg(skip)]
    pub(crate) program: Program,
}
