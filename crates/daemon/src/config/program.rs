//! What the daemon was started as, and what it therefore takes for granted.

use std::path::{Path, PathBuf};

/// What the daemon was started as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// `hull daemon`.
    #[default]
    Hull,
    /// `dockerd`: everything is where Docker's clients and scripts look for it. Only what the daemon
    /// keeps is in directories of its own below Docker's, which may hold what a real dockerd left.
    Dockerd,
}

impl Program {
    /// How its user calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hull => "hull daemon",
            Self::Dockerd => "dockerd",
        }
    }

    /// What `--version` prints. Scripts read the first number that follows `version`.
    pub(crate) fn version(self) -> String {
        let own = env!("CARGO_PKG_VERSION");
        match self {
            Self::Hull => format!("Hull daemon version {own}"),
            Self::Dockerd => format!("Docker version {}, build hull-{own}", hull_api::DOCKER),
        }
    }

    /// Where the configuration file is looked for when no flag names one.
    pub(super) fn config_file(self) -> &'static Path {
        Path::new(match self {
            Self::Hull => "/etc/hull/daemon.json",
            Self::Dockerd => "/etc/docker/daemon.json",
        })
    }

    pub(super) fn data_root(self) -> PathBuf {
        PathBuf::from(match self {
            Self::Hull => "/var/lib/hull",
            Self::Dockerd => "/var/lib/docker/hull",
        })
    }

    pub(super) fn exec_root(self) -> PathBuf {
        PathBuf::from(match self {
            Self::Hull => "/run/hull",
            Self::Dockerd => "/var/run/docker/hull",
        })
    }

    pub(super) fn host(self) -> &'static str {
        match self {
            Self::Hull => "unix:///run/hull/hull.sock",
            Self::Dockerd => "unix:///var/run/docker.sock",
        }
    }

    pub(super) fn pidfile(self, exec_root: &Path) -> PathBuf {
        match self {
            Self::Hull => exec_root.join("hull.pid"),
            Self::Dockerd => PathBuf::from("/var/run/docker.pid"),
        }
    }

    /// The bridge that is made for the network `bridge`.
    pub(super) fn bridge(self) -> &'static str {
        match self {
            Self::Hull => "hull0",
            Self::Dockerd => "docker0",
        }
    }

    /// The control group that containers are below unless something else is said. Programs find out
    /// by Docker's whether they run in a container.
    pub(super) fn cgroup_parent(self) -> &'static str {
        match self {
            Self::Hull => "",
            Self::Dockerd => "docker",
        }
    }

    pub(super) fn runtime(self) -> &'static str {
        match self {
            Self::Hull => super::DEFAULT_RUNTIME,
            Self::Dockerd => super::DOCKERS_RUNTIMES[0],
        }
    }

    /// Where registries' own settings are looked for. containerd's directory is another program's; who
    /// wants it names it.
    pub(super) fn certs_dirs(self) -> &'static [&'static str] {
        match self {
            Self::Hull => &["/etc/hull/certs.d", "/etc/docker/certs.d"],
            Self::Dockerd => &["/etc/docker/certs.d", "/etc/hull/certs.d"],
        }
    }
}
