//! A configuration sorted by who acts on it: what is joined, what is new, where the root is.

pub(crate) mod limits;
pub(crate) mod memory;
mod numbers;
pub(crate) mod scheduling;

use crate::config;
use crate::error::{Error, Step as _, said};
use crate::rootless;
use hull_linux::namespace::flag;
use hull_spec::runtime::{Linux, NamespaceKind, Spec};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::path::{Component, Path, PathBuf};

/// How the new process is placed among namespaces.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// New ones, all made by the one clone3.
    pub(crate) new: u64,
    /// Whether it gets a cgroup namespace, which is made after it has entered its cgroup.
    pub(crate) new_cgroup: bool,
    /// Whether it gets a time namespace, which its next program enters.
    pub(crate) new_time: bool,
    /// Joined before the clone, by file.
    pub(crate) joined: Vec<(OwnedFd, NamespaceKind)>,
    /// Joined after the clone: a mount namespace cannot be left again.
    pub(crate) joined_mount: Option<OwnedFd>,
    /// Joined once the process is in its control group: with `nsdelegate` (systemd's mount of cgroup v2 has it)
    /// nothing in a cgroup namespace can put a process outside of it, be it by birth.
    pub(crate) joined_cgroup: Option<OwnedFd>,
    /// Joined in a process in between: a user namespace cannot be left again.
    pub(crate) joined_user: Option<OwnedFd>,
}

impl Namespaces {
    /// Sorts the namespaces and opens those to be joined.
    pub(crate) fn of(linux: &Linux) -> Result<Self, Error> {
        let mut plan = Self::default();
        for namespace in &linux.namespaces {
            if namespace.path.is_empty() {
                match namespace.kind {
                    NamespaceKind::Cgroup => plan.new_cgroup = true,
                    NamespaceKind::Time => plan.new_time = true,
                    kind => plan.new |= bit(kind),
                }
                continue;
            }
            // Something else at this path must not make us wait or become our terminal.
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = rustix::fs::open(&namespace.path, flags, Mode::empty())
                .map_err(std::io::Error::from)
                .step(|| format!("namespace path: lstat {}", namespace.path))
                .step(|| "unable to create new parent process")?;
            match namespace.kind {
                NamespaceKind::Mount => plan.joined_mount = Some(file),
                NamespaceKind::Cgroup => plan.joined_cgroup = Some(file),
                NamespaceKind::User => plan.joined_user = Some(file),
                _ => plan.joined.push((file, namespace.kind)),
            }
        }
        if plan.is_new(flag::USER) && plan.joined_mount.is_some() {
            return Err(said(
                "a new user namespace cannot join an existing mount namespace",
            ));
        }
        Ok(plan)
    }

    /// Whether a kind is made anew.
    pub(crate) fn is_new(&self, kind: u64) -> bool {
        self.new & kind != 0
    }

    /// Whether the process has mounts of its own, or somebody's.
    pub(crate) fn has_mounts(&self) -> bool {
        self.is_new(flag::MOUNT) || self.joined_mount.is_some()
    }

    /// Whether the process sees its own control groups as roots.
    pub(crate) fn has_cgroup(&self) -> bool {
        self.new_cgroup || self.joined_cgroup.is_some()
    }

    /// Whether the process lives in a user namespace other than ours.
    pub(crate) fn has_user(&self) -> bool {
        self.is_new(flag::USER) || self.joined_user.is_some()
    }
}

/// The specification's word for a kind of namespace.
pub(crate) fn word(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Pid => "pid",
        NamespaceKind::Network => "network",
        NamespaceKind::Mount => "mount",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::User => "user",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Time => "time",
    }
}

/// The bit of a kind of namespace.
pub(crate) fn bit(kind: NamespaceKind) -> u64 {
    match kind {
        NamespaceKind::Pid => flag::PID,
        NamespaceKind::Network => flag::NETWORK,
        NamespaceKind::Mount => flag::MOUNT,
        NamespaceKind::Ipc => flag::IPC,
        NamespaceKind::Uts => flag::UTS,
        NamespaceKind::User => flag::USER,
        NamespaceKind::Cgroup => flag::CGROUP,
        NamespaceKind::Time => flag::TIME,
    }
}

/// A path without `.` and `..`, as text.
pub(crate) fn plain(path: &str) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            _ => {}
        }
    }
    plain
}

/// A container to be made: the checked configuration and where things are.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Absolute path of the bundle.
    pub(crate) path: PathBuf,
    /// Absolute path of the root file system.
    pub(crate) rootfs: PathBuf,
    /// The configuration.
    pub(crate) spec: Spec,
    /// Its text.
    pub(crate) text: Vec<u8>,
}

impl Bundle {
    /// Reads and checks the bundle at a path, or the current directory.
    pub(crate) fn read(path: Option<&str>) -> Result<Self, Error> {
        let path = Path::new(path.unwrap_or("."));
        let absolute = std::path::absolute(path).step(|| format!("chdir {}", path.display()))?;
        if !absolute.is_dir() {
            let missing = std::io::Error::from(rustix::io::Errno::NOENT);
            return Err(missing).step(|| format!("chdir {}", path.display()));
        }
        let (text, spec) = config::read(&absolute)?;
        config::check(&spec)?;
        rootless::check(&spec)?;
        let root = spec.root.as_ref().map_or("", |root| root.path.as_str());
        let rootfs = absolute.join(root);
        let rootfs = fs_err::canonicalize(&rootfs).map_err(|_| {
            said(format!(
                "invalid rootfs: stat {}: no such file or directory",
                rootfs.display()
            ))
        })?;
        if rootfs == Path::new("/") {
            return Err(said(
                "invalid rootfs: the host's root cannot be a container's",
            ));
        }
        Ok(Self {
            path: absolute,
            rootfs,
            spec,
            text,
        })
    }
}
