//! Names: what a container is called in its networks, and what its own resolver knows.

use super::place;
use super::registry::Networks;
use super::request::EndpointRequest;
use super::row::Row;
use crate::Engine;
use crate::container::Endpoint;
use crate::container::live::Container;
use crate::container::record::Record;
use hull_network::dns::{Entry, Sandbox};
use std::collections::BTreeMap;
use std::path::Path;

/// Its names in a network that has names, in dockerd's order; `None` in one that has none.
pub(crate) fn of(row: &Row, record: &Record, request: &EndpointRequest) -> Option<Vec<String>> {
    row.has_names().then(|| all(record, request))
}

/// The container's name, its aliases, the beginning of its id, and a host name that somebody chose.
pub(super) fn all(record: &Record, request: &EndpointRequest) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let own = std::iter::once(record.name.clone())
        .chain(request.aliases.iter().cloned())
        .chain(record.id.get(..12).map(str::to_owned))
        .chain(record.config.hostname.clone());
    for name in own {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What the resolver is told of a place.
pub(super) fn entry(row: &Row, endpoint: &Endpoint) -> Option<Entry> {
    Some(Entry {
        endpoint: endpoint.endpoint_id.clone(),
        network_name: row.name().to_owned(),
        names: endpoint.dns_names.clone()?,
        hostname: String::new(),
        addresses: place::addresses(endpoint),
    })
}

/// `container[:alias]`.
pub(super) fn link(text: &str) -> (&str, &str) {
    match text.split_once(':') {
        Some((name, alias)) if !alias.is_empty() => (name, alias),
        Some((name, _)) => (name, name),
        None => (text, text),
    }
}

impl Networks {
    /// The places in networks that have names: with their network's row, the preferred ones first.
    fn named<'a>(&self, record: &'a Record) -> Vec<(std::sync::Arc<Row>, &'a Endpoint)> {
        let places = record
            .places()
            .values()
            .filter(|place| !place.endpoint_id.is_empty());
        let rows =
            places.filter_map(|place| Some((self.by_id(&place.network_id)?.row(), &**place)));
        let mut named: Vec<_> = rows.filter(|(row, _)| row.has_names()).collect();
        named.sort_by_key(|(_, place)| std::cmp::Reverse(place.request.gateway_priority));
        named
    }
}

impl Engine {
    /// The container's resolver; `None` where it has none, in networks without names only.
    pub(super) fn sandbox(&self, record: &Record, netns: &Path) -> Option<Sandbox> {
        let named = self.networks.named(record);
        if named.is_empty() {
            return None;
        }
        let config = &record.config;
        let dns = &self.networks.config;
        let own = |own: &[String], default: &[String]| {
            if own.is_empty() {
                default.to_vec()
            } else {
                own.to_vec()
            }
        };
        let servers = own(&config.dns, &dns.dns);
        let leads_out = |place: &Endpoint| {
            let row = self
                .networks
                .by_id(&place.network_id)
                .map(|live| live.row());
            row.is_some_and(|row| row.model.as_ref().is_some_and(|model| !model.internal))
        };
        Some(Sandbox {
            id: record.id.clone(),
            netns: netns.to_owned(),
            networks: named.iter().map(|(row, _)| row.id.clone()).collect(),
            servers: servers
                .iter()
                .filter_map(|server| server.parse().ok())
                .collect(),
            forward: record.places().values().any(|place| leads_out(place)),
            ndots: self.resolv_conf(record).ndots,
            links: self.link_names(record),
        })
    }

    /// The names that only this container knows, and the endpoints they stand for now.
    fn link_names(&self, record: &Record) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for place in record.places().values() {
            for text in &place.request.links {
                let (name, alias) = link(text);
                let Ok(target) = self.find(name) else {
                    continue;
                };
                let endpoint = target.read(|other| {
                    let mut theirs = other.places().values();
                    let same = theirs.find(|other| other.network_id == place.network_id);
                    same.map(|other| other.endpoint_id.clone())
                });
                if let Some(endpoint) = endpoint.filter(|id| !id.is_empty()) {
                    names.insert(alias.to_owned(), endpoint);
                }
            }
        }
        names
    }

    /// Makes a container's places known, and gives it a resolver of its own.
    pub(super) fn introduce(
        &self,
        record: &Record,
        netns: &Path,
    ) -> Result<(), hull_network::Error> {
        for (row, place) in self.networks.named(record) {
            if let Some(entry) = entry(&row, place) {
                self.networks.names.add_names(&row.id, &entry)?;
            }
        }
        if let Some(sandbox) = self.sandbox(record, netns) {
            self.networks.names.add_sandbox(&sandbox)?;
        }
        self.tell_linked(record);
        Ok(())
    }

    /// Those who have a link to this container learn where it is now.
    fn tell_linked(&self, record: &Record) {
        let short = record.id.get(..12).unwrap_or_default();
        let names_it = |text: &String| {
            let name = link(text).0;
            name == record.name || name == record.id || name == short
        };
        for other in self.containers() {
            let linked = other.read(|other| {
                other.is_running()
                    && other.id != record.id
                    && other
                        .places()
                        .values()
                        .any(|place| place.request.links.iter().any(names_it))
            });
            if !linked {
                continue;
            }
            let other = other.record();
            let netns = self.netns_of(&other);
            if let Some(mut sandbox) = self.sandbox(&other, &netns) {
                sandbox.links.extend(self.links_to(&other, record));
                if let Err(error) = self.networks.names.add_sandbox(&sandbox) {
                    tracing::warn!(container = other.id, %error, "a link was not updated");
                }
            }
        }
    }

    /// The links of `other` that lead to `record`, whose places need not be written down yet.
    fn links_to(&self, other: &Record, record: &Record) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for place in other.places().values() {
            let mut theirs = record.places().values();
            let Some(endpoint) = theirs.find(|theirs| theirs.network_id == place.network_id) else {
                continue;
            };
            for text in &place.request.links {
                let (name, alias) = link(text);
                if name == record.name || record.id.starts_with(name) {
                    names.insert(alias.to_owned(), endpoint.endpoint_id.clone());
                }
            }
        }
        names
    }

    /// Makes a container known by its new name.
    pub(crate) fn rename_places(&self, container: &Container) -> Result<(), crate::Error> {
        let mut record = container.record();
        let renamed = record.clone();
        for place in record.places_mut().values_mut() {
            if place.dns_names.is_some() {
                place.dns_names = Some(all(&renamed, &place.request));
            }
        }
        if record.places() == renamed.places() {
            return Ok(());
        }
        self.rows.put(&record)?;
        if record.is_running() {
            let known = self.introduce(&record, &self.netns_of(&record));
            known.map_err(super::registry::failed(
                "could not make the container's names known",
            ))?;
        }
        container.change(|kept| kept.networks = record.networks);
        Ok(())
    }

    /// Takes a container's names and resolver back.
    pub(super) fn forget_names(&self, record: &Record) {
        let named = self.networks.named(record);
        let Some(_) = named.first() else { return };
        let names = &self.networks.names;
        let forgotten = names.remove_sandbox(&record.id).and_then(|()| {
            named
                .iter()
                .try_for_each(|(row, place)| names.remove_names(&row.id, &place.endpoint_id))
        });
        if let Err(error) = forgotten {
            tracing::warn!(container = record.id, %error, "a container's names were not forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_names() {
        assert_eq!(link("web"), ("web", "web"));
        assert_eq!(link("web:w"), ("web", "w"));
        assert_eq!(link("web:"), ("web", "web"));
    }
}
