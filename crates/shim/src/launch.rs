//! What a shim is told once, at its start, and what it leaves at its end.

use hull_spec::rootfs::RootFs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV6};
use std::path::PathBuf;

/// Everything a shim must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// The container's id.
    pub id: String,
    /// The bundle: `config.json`, whose `root.path` is `rootfs`.
    pub bundle: PathBuf,
    /// The OCI runtime.
    pub runtime: PathBuf,
    /// Arguments of the runtime before its command.
    pub runtime_args: Vec<String>,
    /// The runtime's `--root`.
    pub runtime_root: PathBuf,
    /// What to mount at `rootfs`.
    pub rootfs: RootFs,
    /// The container has never been started: its root gets the files by which programs know that they
    /// are in one.
    #[serde(default)]
    pub first: bool,
    /// At the container's end its root is unmounted before all else, which is told: somebody waits for its files.
    #[serde(default)]
    pub root_first: bool,
    /// A directory of mounts that are not this container's alone, and that this shim must not keep from
    /// being unmounted: gone from its mount namespace once the root is mounted.
    #[serde(default)]
    pub foreign_mounts: Option<PathBuf>,
    /// What is put at [`crate::files::SOURCES`] in the bundle, each at its number, before the runtime is
    /// executed, and taken away again when the container is made: sources of bind mounts that are not
    /// simply there.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// As `foreign_mounts`, gone once the container is made.
    #[serde(default)]
    pub foreign_sources: Option<PathBuf>,
    /// A directory of mounts, containers' shared memory, from which this one's is mounted: gone from the shim's
    /// mount namespace once the container is created.
    #[serde(default)]
    pub shared_memory: Option<PathBuf>,
    /// How many descriptors come behind this message, one with each byte. The shim keeps them open as long
    /// as it lives: sockets that keep the host's ports for the container.
    #[serde(default)]
    pub held: u32,
    /// Those of them that the shim serves, by what they are bound to; it looks into no others.
    #[serde(default)]
    pub relays: Vec<Relay>,
    /// Where output is written; `None` for nowhere.
    pub log: Option<LogConfig>,
    /// A log server that gets it as well.
    #[serde(default)]
    pub receiver: Option<Receiver>,
    /// Whether the first process has a terminal.
    pub tty: bool,
    /// Whether its standard input can be written to.
    pub open_stdin: bool,
    /// Whether its standard input ends with that of the first client that attached.
    pub stdin_once: bool,
    /// The terminal's first size, rows and columns.
    pub console_size: Option<(u16, u16)>,
    /// The container's control group, to learn of kills for want of memory.
    pub cgroup: Option<String>,
    /// Where the exit is recorded.
    pub exit_file: PathBuf,
    /// The checkpoint from which the container goes on; `None` for one that begins.
    #[serde(default)]
    pub restore: Option<PathBuf>,
}

/// The source of a bind mount that the shim makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// The part of it that is wanted: looked up inside it, whatever links it has; empty for all.
    pub subpath: PathBuf,
}

/// What the source of a bind mount is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceKind {
    /// A root file system, of an image.
    Root(RootFs),
    /// A directory of the host.
    Directory(PathBuf),
    /// Something of the host whose mounts are shared with the host: taken before this mount namespace
    /// is a slave of it.
    Shared {
        /// Where it is.
        path: PathBuf,
        /// With the mounts below it.
        recursive: bool,
    },
}

/// A port at an IPv6 address of the host's, whose clients' bytes the shim passes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Of both sides.
    pub transport: Transport,
    /// What the held socket is bound to.
    pub listen: SocketAddrV6,
    /// Where in the container's network bytes go.
    pub target: SocketAddr,
}

/// What a relay can pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Files that a container's output goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// The current file; its directory is made where it is missing.
    pub path: PathBuf,
    /// How entries are written.
    pub format: LogFormat,
    /// Bytes after which the next file begins; 0 is no limit.
    pub max_size: u64,
    /// How many files are kept, the current one included; at least 1.
    pub max_files: u32,
    /// Whether all but the current one are compressed.
    pub compress: bool,
    /// What each entry says besides; [`LogFormat::Json`] only.
    pub attributes: BTreeMap<String, String>,
    /// `None`: the container waits for its log to be written. Some: it does not, and what comes while so many
    /// bytes wait is lost.
    pub buffer: Option<u64>,
}

/// A program that gets a container's output: its settings on its standard input, a socket, in JSON behind a length of 4
/// bytes, big-endian; then, when it has said in the same way that all is well (nothing) or what is not, entries as
/// Docker's `local` driver writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// The program.
    pub program: PathBuf,
    /// What it is told: an object. A program that takes another's place finds `again` in it, and is not waited for.
    pub settings: serde_json::Value,
    /// The container waits while it takes nothing; else what comes meanwhile is lost.
    pub waits: bool,
}

/// How entries of a log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// Docker's `json-file`: lines of JSON.
    #[default]
    Json,
    /// Docker's `local`: protocol buffers.
    Local,
}

/// How a container ended; the content of [`Launch::exit_file`], JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// The exit code, 128 + signal when a signal ended it.
    pub exit_code: i32,
    /// Whether the kernel killed something in the container for want of memory.
    pub oom_killed: bool,
    /// When, RFC 3339 with nanoseconds, UTC.
    pub exited_at: String,
}
