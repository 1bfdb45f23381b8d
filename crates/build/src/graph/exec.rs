//! Processes, and what they see.

use super::{InvalidVertex, MAX_PARTS};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `KEY=value`
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// `user[:group]`, names or numbers; empty is root.
    pub user: String,
    /// The proxies that the process sees; they are no part of its key in the cache.
    pub proxy: Option<Proxy>,
    /// Further lines of `/etc/hosts`: name and address.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// The host's name; empty: `buildkitsandbox`.
    pub hostname: String,
    /// Limits: name, soft, hard; -1 is none.
    pub ulimits: Vec<(String, i64, i64)>,
    /// Below which cgroup.
    pub cgroup_parent: String,
    /// Whether directories made for mounts go also where they were made above each other.
    pub remove_stubs_recursively: bool,
    /// Exit codes that are no failure; none: only 0.
    pub valid_exit_codes: Vec<i32>,
    /// What it sees; one of them at `/`.
    pub mounts: Vec<Mount>,
    /// Its network.
    pub network: NetworkMode,
    /// Its rights.
    pub security: SecurityMode,
    /// Secrets in its environment.
    pub secret_env: Vec<SecretEnv>,
    /// CDI devices: name, and whether it may be missing.
    pub devices: Vec<(String, bool)>,
}

/// Proxies, as the predefined build arguments name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// `HTTP_PROXY`
    pub http: String,
    /// `HTTPS_PROXY`
    pub https: String,
    /// `FTP_PROXY`
    pub ftp: String,
    /// `NO_PROXY`
    pub no: String,
    /// `ALL_PROXY`
    pub all: String,
}

/// The network of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// As `run` has it.
    #[default]
    Default,
    /// The host's.
    Host,
    /// None.
    None,
}

/// The rights of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityMode {
    /// As `run` has them.
    #[default]
    Sandbox,
    /// As `run --privileged` has them.
    Insecure,
}

/// A secret in an environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretEnv {
    /// Its id.
    pub id: String,
    /// The variable.
    pub name: String,
    /// Whether it may be missing.
    pub optional: bool,
}

/// Something a process sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where: an absolute path.
    pub dest: String,
    /// The input it is; `None`: empty.
    pub input: Option<usize>,
    /// The path in the input.
    pub selector: String,
    /// The output it becomes, from 0 without gaps.
    pub output: Option<usize>,
    /// Whether it cannot be written.
    pub readonly: bool,
    /// What it is.
    pub kind: MountKind,
    /// Whether the step's key holds the input's content instead of what made it; `None`: as it fits.
    pub content_cache: Option<bool>,
}

/// What a mount is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// The input's files. Where it is neither read-only nor an output, what is written is lost.
    #[default]
    Bind,
    /// A directory that stays from build to build; at first as the input.
    Cache {
        /// What it is known by.
        id: String,
        /// What happens when two steps want it.
        sharing: Sharing,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; 0: no limit.
        size: u64,
    },
    /// A secret, as a file.
    Secret(ClientFile),
    /// A socket of the client's agent.
    Ssh(ClientFile),
}

/// A file with something of the client's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFile {
    /// What the client knows it by.
    pub id: String,
    /// The file's owner.
    pub uid: u32,
    /// The file's group.
    pub gid: u32,
    /// The file's mode.
    pub mode: u32,
    /// Whether it may be missing: then there is no mount.
    pub optional: bool,
}

/// What happens when two steps want one cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// Both have it.
    #[default]
    Shared,
    /// The second gets another.
    Private,
    /// The second waits.
    Locked,
}

impl Exec {
    /// The mount at `/`.
    #[must_use]
    pub fn root(&self) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.dest == "/")
    }

    pub(super) fn check(&self, inputs: usize) -> Result<(), InvalidVertex> {
        if self.mounts.len() > MAX_PARTS {
            return Err(InvalidVertex::TooLarge);
        }
        let wrong = |mount: &Mount, why| Err(InvalidVertex::Mount(mount.dest.clone(), why));
        let mut outputs = Vec::new();
        for mount in &self.mounts {
            if let Some(place) = mount.input.filter(|place| *place >= inputs) {
                return Err(InvalidVertex::Place(place, inputs));
            }
            if !mount.dest.starts_with('/') {
                return wrong(mount, "destination is not absolute");
            }
            match mount.kind {
                MountKind::Bind => {}
                _ if mount.output.is_some() => return wrong(mount, "only a bind has an output"),
                _ if mount.dest == "/" => return wrong(mount, "the root has to be a bind"),
                _ => {}
            }
            outputs.extend(mount.output);
        }
        if self.root().is_none() {
            return Err(InvalidVertex::Mount("/".to_owned(), "missing"));
        }
        outputs.sort_unstable();
        if !outputs.iter().copied().eq(0..outputs.len()) {
            return Err(InvalidVertex::Mount("/".to_owned(), "outputs have gaps"));
        }
        Ok(())
    }
}
