//! What is kept of a container: one row, whole, per container.

use super::{
    Config, Details, Endpoint, Health, HealthCheck, HostPort, MountPoint, Paths, Places, Port,
    Snapshot, State,
};
use hull_network::model::Publication;
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
    /// Runs in a row that were short: its restart policy waits the longer the more there were.
    #[serde(default)]
    pub(crate) short_runs: u32,
    /// The kernel killed something in its present run for want of memory.
    #[serde(default)]
    pub(crate) out_of_memory: bool,
    /// Its health, once it has been started with a check.
    #[serde(default)]
    pub(crate) health: Option<Arc<Health>>,
    /// What runs.
    pub(crate) effective: Effective,
    pub(crate) mounts: Vec<MountPoint>,
    /// Its places in networks, by the network's name; `None` in rows of versions that knew one only.
    #[serde(default)]
    pub(crate) networks: Option<Places>,
    /// The host's ports that are kept for it while it runs, and where they lead.
    #[serde(default)]
    pub(crate) publications: Vec<Publication>,
    /// Variables that tell of the containers it is linked to, while it runs.
    #[serde(default)]
    pub(crate) link_env: Vec<String>,
    /// The place of a row without `networks`.
    #[serde(default, skip_serializing)]
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
    #[serde(default)]
    pub(crate) health_check: Option<HealthCheck>,
    #[serde(default)]
    pub(crate) shell: Option<Vec<String>>,
}

/// What a record does not know, for [`Record::details`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) exec_ids: Vec<String>,
    pub(crate) paths: Paths,
    pub(crate) snapshot: Snapshot,
    pub(crate) networks: Places,
    pub(crate) ports: BTreeMap<Port, Option<Vec<HostPort>>>,
    pub(crate) sandbox: Option<PathBuf>,
    pub(crate) links: Vec<String>,
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
            health_check: effective.health_check,
            shell: effective.shell,
            restart_count: self.restart_count,
            out_of_memory: self.out_of_memory,
            health: self.health.clone(),
            exec_ids: around.exec_ids,
            paths: around.paths,
            snapshot: around.snapshot,
            mounts: self.mounts.clone(),
            networks: around.networks,
            ports: around.ports,
            sandbox: around.sandbox,
            links: around.links,
            sizes: None,
        }
    }

    /// Its places in networks, by the network's name.
    pub(crate) fn places(&self) -> &Places {
        static NONE: Places = BTreeMap::new();
        self.networks.as_ref().unwrap_or(&NONE)
    }

    /// Its places in networks, to be changed.
    pub(crate) fn places_mut(&mut self) -> &mut Places {
        self.networks.get_or_insert_default()
    }

    /// Forgets what came of its places: it does not run.
    pub(crate) fn idle_places(&mut self) {
        for place in self.places_mut().values_mut() {
            **place = crate::network::place::idle(place);
        }
        self.publications.clear();
        self.link_env.clear();
    }

    /// Whether it runs, paused or not.
    pub(crate) fn is_running(&self) -> bool {
        self.state.pid().is_some()
    }
}
