//! Networks after a restart of the daemon: what running containers have is theirs, the rest goes.
//!
//! Nothing is taken down that a running container uses: devices are made only where they are missing, and
//! the firewall's table is replaced in one transaction. With nothing running and nothing left behind, the
//! kernel is not asked at all.

use super::published;
use super::registry::{Networks, failed};
use super::sandbox::providers;
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
        // Whatever they have is not ours to change while another daemon looks after it.
        self.networks.guard()?;
        note(self.networks.set_up(&wired));
        note(self.networks.replace_rules(&wired));
        note(self.sync_names(&wired));
        note(self.networks.sweep(&wired));
        for record in &wired {
            self.networks.hold_again(record);
            note(self.restore_routes(record));
        }
        outcome
    }

    /// The default routes of a container, where a change of its networks was not finished: those over
    /// devices that nobody owned went with them.
    fn restore_routes(&self, record: &Record) -> Result<()> {
        let routes = providers(record.places()).routes(record.places());
        if routes.is_empty() {
            return Ok(());
        }
        link::restore_default_routes(&self.netns_of(record), &routes)
            .map_err(failed("could not restore a container's default routes"))
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
    /// Addresses and ids that are in use.
    fn keep_places(&self, wired: &[&Record]) -> Result<()> {
        let mut outcome = Ok(());
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
            }
        }
        outcome
    }

    /// The devices of networks that are in use, and of those that still have theirs: what is up has its
    /// rules, whether somebody uses it or not.
    fn set_up(&self, wired: &[&Record]) -> Result<()> {
        let mut outcome = Ok(());
        let places = wired.iter().flat_map(|record| record.places().values());
        let used: HashSet<&str> = places
            .filter(|place| !place.endpoint_id.is_empty())
            .map(|place| place.network_id.as_str())
            .collect();
        for live in self.all() {
            let row = live.row();
            let there = |model| link::is_up(model).unwrap_or(false);
            if !used.contains(row.id.as_str()) {
                if !row.model.as_ref().is_some_and(there) {
                    continue;
                }
                if let Err(error) = self.settle(&live) {
                    outcome = outcome.and(Err(error));
                    continue;
                }
            }
            let row = live.row();
            let up = row
                .model
                .as_ref()
                .map_or(Ok(()), |model| self.make_devices(model));
            live.state().up = up.is_ok();
            outcome = outcome.and(up);
        }
        outcome
    }

    /// The rules of the networks that are up, and of what is published: everything else goes.
    fn replace_rules(&self, wired: &[&Record]) -> Result<()> {
        let up = self.all().into_iter().filter(|live| live.state().up);
        let rules: Vec<hull_network::NetworkRules> =
            up.filter_map(|live| live.row().rules()).collect();
        let publications = wired
            .iter()
            .map(|record| (record.id.clone(), published::effective(record)))
            .filter(|(_, publications)| !publications.is_empty())
            .collect();
        let any = !rules.is_empty();
        let subnets = rules
            .iter()
            .flat_map(|rules| rules.subnets.clone())
            .collect();
        if any {
            self.keep_firewall();
        }
        self.firewall
            .replace(rules, publications)
            .map_err(failed("could not set up the firewall"))?;
        if any {
            self.tell_others();
        }
        let places = wired.iter().flat_map(|record| record.places().values());
        let used: HashSet<_> = places
            .flat_map(|place| super::place::addresses(place))
            .collect();
        // Whose connections those of the other addresses were, nobody knows any more.
        self.firewall.retire_others(subnets, used);
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
