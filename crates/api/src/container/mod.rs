//! Containers.

pub mod archive;
mod checkpoint;
mod config;
mod create;
mod host_config;
mod inspect;
mod list;
mod mount;
pub mod stats;

pub use checkpoint::{Checkpoint, CheckpointRequest};
pub use config::{Config, Empty, Healthcheck, Words};
pub use create::{CreateRequest, CreateResponse, NetworkingConfig, Own};
pub use host_config::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, PortBinding, RestartPolicy,
    ThrottleDevice, Ulimit, WeightDevice,
};
pub use inspect::{Health, HealthResult, Inspect, NetworkSettings, State};
pub use list::{
    Change, CommitResponse, Port, PruneResponse, Summary, SummaryHostConfig, SummaryNetworks, Top,
    UpdateResponse, WaitError, WaitResponse,
};
pub use mount::{
    BindOptions, DriverConfig, ImageOptions, Mount, MountPoint, TmpfsOptions, VolumeOptions,
};
