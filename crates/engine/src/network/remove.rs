//! `network rm` and `network prune`.

use super::registry::Live;
use super::{create, not_found};
use crate::container::record::Record;
use crate::prune::Chosen;
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use std::sync::Arc;

impl Engine {
    /// Removes a network, by name, id or beginning of an id; returns its name.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for a predefined one and one that is in use.
    pub async fn network_remove(self: &Arc<Self>, name: &str) -> Result<String> {
        let live = self.networks.find(name)?;
        let (engine, going) = (Arc::clone(self), Arc::clone(&live));
        blocking(move || engine.remove_network(&going)).await?;
        let row = live.row();
        self.tell_network(&row, "destroy", None);
        Ok(row.name().to_owned())
    }

    fn remove_network(&self, live: &Live) -> Result<()> {
        let row = live.row();
        let name = row.name();
        if row.predefined {
            let text = format!("{name} is a pre-defined network and cannot be removed");
            return Err(Error::new(ErrorKind::Forbidden, text));
        }
        let in_use = |why: String| {
            let text = format!("error while removing network: {why}");
            Err(Error::new(ErrorKind::Forbidden, text))
        };
        let dependent =
            |other: &Arc<Live>| other.row().request.config_from.as_deref() == Some(name);
        if row.request.config_only && self.networks.all().iter().any(dependent) {
            return in_use(format!("configuration network {name:?} is in use"));
        }
        let _work = live.work();
        {
            let mut state = live.state();
            if state.gone {
                return Err(not_found(name));
            }
            if !state.members.is_empty() {
                let members = state.members.clone();
                drop(state);
                let members = self.endpoint_list(&members);
                return in_use(format!("network {name} has active endpoints ({members})"));
            }
            state.gone = true;
        }
        // The devices first: what is half removed when this fails is made again when it is needed.
        let removed = create::take_down(&self.networks, live)
            .and_then(|()| self.networks.rows.delete_network(&row.id));
        match removed {
            Ok(()) => self.networks.forget(&row.id),
            Err(_) => live.state().gone = false,
        }
        removed
    }

    /// `name:"web" id:"0123456789ab"`, for each.
    fn endpoint_list(&self, members: &std::collections::BTreeMap<String, String>) -> String {
        let name = |id: &String| {
            let container = self.find(id);
            container.map_or_else(
                |_| id.clone(),
                |found| found.read(|record| record.name.clone()),
            )
        };
        let mut list: Vec<String> = members
            .iter()
            .map(|(endpoint, container)| {
                let short = endpoint.get(..12).unwrap_or(endpoint);
                format!("name:{:?} id:{short:?}", name(container))
            })
            .collect();
        list.sort();
        list.join(", ")
    }

    /// Removes the networks that no container is in; returns their names. Filters: `until`, `label`, `label!`.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that makes no sense, `Conflict` while another prune runs.
    pub async fn network_prune(self: &Arc<Self>, filters: Filters) -> Result<Vec<String>> {
        let _turn = self.network_prune.begin()?;
        // A network is always dangling when nobody is in it: the filter changes nothing.
        let chosen = Chosen::new(&filters, &["dangling"], ErrorKind::InvalidInput)?;
        let used = self.networks_in_use();
        let mut removed = Vec::new();
        for live in self.networks.all() {
            let row = live.row();
            let labels = Some(&row.request.labels);
            let spared = row.predefined || row.request.config_only || used.contains(row.name());
            if spared || !chosen.takes(Some(row.created), labels) {
                continue;
            }
            match self.network_remove(&row.id).await {
                Ok(name) => removed.push(name),
                Err(error) => tracing::debug!(id = row.id, %error, "not pruned"),
            }
        }
        self.tell_prune("network", 0);
        Ok(removed)
    }

    /// The names of networks that a running container is in.
    fn networks_in_use(&self) -> std::collections::HashSet<String> {
        let running = self
            .containers()
            .into_iter()
            .filter(|c| c.read(Record::is_running));
        running
            .flat_map(|container| {
                container.read(|record| record.places().keys().cloned().collect::<Vec<_>>())
            })
            .collect()
    }
}
