//! What is kept of a container: one row, whole, per container.

use super::{Config, Details, Endpoint, HostPort, MountPoint, Paths, Port, Snapshot, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// A container as it is kept: the request, what it became together with the image, and its state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) config: Arc<Config>,
    pub(crate) image_id: String,
    pub(crate) image_name: String,
    pub(crate) state: State,
    /// Asked to stop by a person: its restart policy is silent until it is started again.
    pub(crate) stopped_on_request: bool,
    pub(crate) restart_count: u32,
    /// What runs.
    pub(crate) effective: Effective,
    pub(crate) mounts: Vec<MountPoint>,
    /// The address it has, while it runs, and its MAC address.
    pub(crate) endpoint: Option<Endpoint>,
}

/// Request and image, put together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Effective {
    pub(crate) args: Vec<String>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) env: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) user: String,
    pub(crate) hostname: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) exposed_ports: BTreeSet<Port>,
    pub(crate) volumes: BTreeSet<String>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) runtime: String,
}

/// What a record does not know, for [`Record::details`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) exec_ids: Vec<String>,
    pub(crate) paths: Paths,
    pub(crate) snapshot: Snapshot,
    pub(crate) networks: BTreeMap<String, Endpoint>,
    pub(crate) ports: BTreeMap<Port, Option<Vec<HostPort>>>,
    pub(crate) sandbox: Option<PathBuf>,
}

impl Record {
    /// Everything for inspect and lists.
    pub(crate) fn details(&self, around: Surroundings) -> Details {
        let effective = self.effective.clone();
        Details {
            id: self.id.clone(),
            name: self.name.clone(),
            created: self.created,
            state: self.state.clone(),
            config: Arc::clone(&self.config),
            image_id: self.image_id.clone(),
            image_name: self.image_name.clone(),
            args: effective.args,
            entrypoint: effective.entrypoint,
            cmd: effective.cmd,
            env: effective.env,
            working_dir: effective.working_dir,
            user: effective.user,
            hostname: effective.hostname,
            labels: effective.labels,
            exposed_ports: effective.exposed_ports,
            volumes: effective.volumes,
            stop_signal: effective.stop_signal,
            runtime: effective.runtime,
            restart_count: self.restart_count,
            exec_ids: around.exec_ids,
            paths: around.paths,
            snapshot: around.snapshot,
            mounts: self.mounts.clone(),
            networks: around.networks,
            ports: around.ports,
            sandbox: around.sandbox,
            sizes: None,
        }
    }

    /// Whether it runs, paused or not.
    pub(crate) fn is_running(&self) -> bool {
        self.state.pid().is_some()
    }
}
