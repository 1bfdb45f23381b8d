//! Containers: what they run, what they are doing, what is known of them.

mod at_rest;
mod attach;
mod bundle;
mod capabilities;
mod cdi;
mod changes;
mod checkpoint;
mod commit;
mod config;
mod create;
mod details;
mod devices;
mod exec;
mod exit;
mod export;
mod files;
mod gone;
mod gpus;
mod health;
mod kill;
mod limits;
mod list;
pub(crate) mod live;
mod log;
mod merge;
mod mounts;
mod pause;
mod points;
mod probe;
mod propagation;
pub(crate) mod record;
mod recover;
mod relabel;
mod remains;
mod remove;
mod rename;
mod resources;
mod seccomp;
mod shared;
mod start;
pub(crate) mod state;
pub mod stats;
pub(crate) mod step;
mod stop;
mod top;
mod update;
mod user;
mod wait;

pub use changes::{Change, ChangeKind};
pub use checkpoint::CheckpointRequest;
pub use commit::CommitRequest;
pub use config::{
    Bind, Config, Device, DeviceRequest, DeviceWeight, Groups, IdMap, IdRange, IpcMode, LogConfig,
    LogDriver, Mount, MountKind, NetworkMode, PidMode, Port, PortBinding, Propagation,
    ReadOnlyBelow, Resources, RestartPolicy, Seccomp, Throttle, Ulimit, VolumeMount,
};
pub use details::{
    Details, Endpoint, HostPort, ListOptions, MountPoint, Paths, Places, Sizes, Snapshot, Top,
};
pub use files::{PathStat, PutOptions};
pub use health::{Health, HealthCheck, HealthResult, HealthStatus, OnUnhealthy};
pub use hull_spec::runtime::docker::{MASKED_PATHS, READONLY_PATHS};
pub use probe::Probed;
pub use state::{Exit, State};
pub use update::Update;

pub(crate) use exec::Execs;
pub(crate) use export::diff_error;
pub(crate) use kill::parse as signal;
pub(crate) use list::name_fits;
pub use log::check as check_log;
pub(crate) use log::{is_readable as log_is_readable, place as log_place};
pub(crate) use merge::clean;

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WaitCondition {
    /// The container is not running now, or it ends, even if its restart policy starts it again.
    #[default]
    NotRunning,
    /// It ends the next time, whether it runs now or not.
    NextExit,
    /// It is removed.
    Removed,
}

/// What waiting yields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitResult {
    /// The exit code; 0 for a container that never ran.
    pub code: i32,
    /// Why the container could not be started, or removed when that was waited for.
    pub error: Option<String>,
}

/// What a new container came with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What was asked for and cannot be had on this host.
    pub warnings: Vec<String>,
}

/// Which streams an attached client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Its input goes to the process.
    pub stdin: bool,
    /// It gets standard output.
    pub stdout: bool,
    /// It gets standard error.
    pub stderr: bool,
    /// What was written so far comes first, from the log.
    pub logs: bool,
    /// What is written from now on comes.
    pub stream: bool,
}

/// A client's place at a container. From the moment this exists nothing that the process writes is
/// lost to it, although the container may not even have been started.
pub struct Attached {
    /// Whether the bytes are a terminal's: without, they are frames.
    pub tty: bool,
    /// The connection to the process: input down, output up, each half closed by itself. Ready when
    /// the container runs; an error when it could not be started or was removed.
    pub stream: futures_util::future::BoxFuture<'static, crate::Result<tokio::net::UnixStream>>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}
