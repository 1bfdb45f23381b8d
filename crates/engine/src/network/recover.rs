//! Networks after a restart of the daemon: what running containers have is theirs, the rest goes.
//!
//! Nothing is taken down that a running container uses: devices are made only where they are missing, and
//! the firewall's table is replaced in one transaction. With nothing running and nothing left behind, the
//! kernel is not asked at all.

use super::publish;
use super::registry::{Networks, failed};
use crate::container::record::Record;
use crate::{Engine, Result};
use hull_network::dns::{Entry, Sandbox};
use hull_network::link;
use std::collections::HashSet;

impl Engine {
    /// Takes over after an earlier daemon; `live` are the containers that run.
    ///
    /// # Errors
    /// The first failure, after everything else was tried.
    pub(crate) fn recover_networks(&self, live: &[Record]) -> Result<()> {
        let wired: Vec<&Record> = live
            .iter()
            .filter(|record| {
                record
                    .places()
                    .values()
                    .any(|place| !place.endpoint_id.is_empty())
            })
            .collect();
        if wired.is_empty() && !self.networks.was_touched() {
            return Ok(());
        }
        let mut outcome = Ok(());
        let mut note = |result: Result<()>| {
            if outcome.is_ok() {
                outcome = result;
            }
        };
        note(self.networks.keep_places(&wired));
        note(self.networks.replace_rules(&wired));
        note(self.sync_names(&wired));
        note(self.networks.sweep(&wired));
        outcome
    }

    fn sync_names(&self, wired: &[&Record]) -> Result<()> {
        let mut sandboxes: Vec<Sandbox> = Vec::new();
        let mut names: Vec<(String, Entry)> = Vec::new();
        for record in wired {
            sandboxes.extend(self.sandbox(record, &self.netns_of(record)));
            for place in record.places().values() {
                let row = self
                    .networks
                    .by_id(&place.network_id)
                    .map(|live| live.row());
                let entry =
                    row.and_then(|row| Some((row.id.clone(), super::names::entry(&row, place)?)));
                names.extend(entry);
            }
        }
        self.networks
            .names
            .sync(&sandboxes, &names)
            .map_err(failed("could not make the containers' names known"))
    }
}

impl Networks {
    /// Addresses and ids that are in use, and the devices under them.
    fn keep_places(&self, wired: &[&Record]) -> Result<()> {
        let mut outcome = Ok(());
        let mut used = HashSet::new();
        for record in wired {
            for place in record
                .places()
                .values()
                .filter(|place| !place.endpoint_id.is_empty())
            {
                let Some(live) = self.by_id(&place.network_id) else {
                    continue;
                };
                // The default bridge's addresses are known once its range is.
                if let Err(error) = self.settle(&live) {
                    outcome = outcome.and(Err(error));
                }
                let row = live.row();
                let mut state = live.state();
                state.keep(&row, &super::place::addresses(place));
                state
                    .members
                    .insert(place.endpoint_id.clone(), record.id.clone());
                used.insert(row.id.clone());
            }
        }
        for live in used.iter().filter_map(|id| self.by_id(id)) {
            let row = live.row();
            let up = row.model.as_ref().map_or(Ok(()), |model| {
                link::up(model).map_err(failed("could not set up the network"))
            });
            live.state().up = up.is_ok();
            outcome = outcome.and(up);
        }
        outcome
    }

    /// The rules of the networks that are up, and of what is published: everything else goes.
    fn replace_rules(&self, wired: &[&Record]) -> Result<()> {
        let up = self.all().into_iter().filter(|live| live.state().up);
        let rules: Vec<_> = up.filter_map(|live| live.row().rules()).collect();
        let publications = wired
            .iter()
            .map(|record| (record.id.clone(), publish::effective(record)))
            .filter(|(_, publications)| !publications.is_empty())
            .collect();
        let any = !rules.is_empty();
        self.firewall
            .replace(rules, publications)
            .map_err(failed("could not set up the firewall"))?;
        if any {
            self.keep_firewall();
            self.tell_others();
        }
        Ok(())
    }

    /// Removes what nobody owns.
    fn sweep(&self, wired: &[&Record]) -> Result<()> {
        let models: Vec<_> = self
            .all()
            .iter()
            .filter_map(|live| live.row().model.clone())
            .collect();
        let live: HashSet<String> = wired.iter().map(|record| record.id.clone()).collect();
        let mut endpoints: HashSet<String> = wired
            .iter()
            .flat_map(|record| record.places().values())
            .map(|place| place.endpoint_id.clone())
            .collect();
        // Devices that an earlier version made bear the container's id.
        endpoints.extend(live.iter().cloned());
        link::reconcile(&models, &endpoints, self.namespaces(), &live)
            .map(|_| ())
            .map_err(failed("could not clean up the network"))
    }
}
