//! The names that we know ourselves, and who sees them.

use super::super::{Entry, Sandbox};
use super::packet::{self, Answer, kind};
use std::collections::HashMap;
use std::net::IpAddr;

/// The networks by their ids.
#[derive(Debug, Default)]
pub(super) struct Zone {
    networks: HashMap<String, Network>,
    /// State of the generator that shuffles answers.
    random: u64,
}

#[derive(Debug, Default)]
struct Network {
    /// As the user named it, in lower case.
    name: String,
    endpoints: HashMap<String, Entry>,
    /// Names in lower case, and the endpoints that have them.
    by_name: HashMap<String, Vec<String>>,
    /// The endpoint that has it, and its name.
    by_address: HashMap<IpAddr, (String, String)>,
}

impl Zone {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            networks: HashMap::new(),
            random: seed | 1,
        }
    }

    /// Replaces all names.
    pub(super) fn replace(&mut self, names: Vec<(String, Entry)>) {
        self.networks.clear();
        for (network, entry) in names {
            self.insert(network, entry);
        }
    }

    pub(super) fn insert(&mut self, network: String, entry: Entry) {
        let network = self.networks.entry(network).or_default();
        network.remove(&entry.endpoint);
        network.insert(entry);
    }

    pub(super) fn remove(&mut self, id: &str, endpoint: &str) {
        if let Some(network) = self.networks.get_mut(id) {
            network.remove(endpoint);
            if network.endpoints.is_empty() {
                self.networks.remove(id);
            }
        }
    }

    /// Answers what is asked for a name in lower case; `None` when nobody here has that name.
    pub(super) fn answer(&mut self, sandbox: &Sandbox, name: &str, kind: u16) -> Option<Answer> {
        if kind == kind::PTR {
            let address = packet::reverse(name)?;
            let networks = sandbox.networks.iter();
            return networks
                .filter_map(|id| self.networks.get(id))
                .find_map(|network| network.by_address.get(&address))
                .map(|(_, name)| Answer::Name(name.clone()));
        }
        let mut addresses = self.look_up(sandbox, name, kind)?;
        self.shuffle(&mut addresses);
        Some(Answer::Addresses(addresses))
    }

    /// `a.b.c` is that name on any network, or `a.b` on the network `c`, or `a` on the network `b.c`.
    fn look_up(&self, sandbox: &Sandbox, name: &str, kind: u16) -> Option<Vec<IpAddr>> {
        self.on(sandbox, name, None, kind).or_else(|| {
            let dots = name.rmatch_indices('.').map(|(at, _)| at);
            dots.filter_map(|at| self.on(sandbox, &name[..at], Some(&name[at + 1..]), kind))
                .next()
        })
    }

    /// Links go before names, as in dockerd.
    fn on(
        &self,
        sandbox: &Sandbox,
        name: &str,
        network: Option<&str>,
        kind: u16,
    ) -> Option<Vec<IpAddr>> {
        let networks = || {
            let known = sandbox.networks.iter();
            known
                .filter_map(|id| self.networks.get(id))
                .filter(|known| network.is_none_or(|name| known.name == name))
        };
        let linked = sandbox.links.iter();
        let linked = linked
            .filter(|(alias, _)| alias.eq_ignore_ascii_case(name))
            .map(|(_, endpoint)| endpoint);
        let mut exists = false;
        for endpoint in linked {
            for entry in networks().filter_map(|network| network.endpoints.get(endpoint)) {
                exists = true;
                let found = of_kind(entry.addresses.iter(), kind);
                if !found.is_empty() {
                    return Some(found);
                }
            }
        }
        if exists {
            return Some(Vec::new());
        }
        for network in networks() {
            let Some(owners) = network.by_name.get(name) else {
                continue;
            };
            exists = true;
            let entries = owners.iter().filter_map(|id| network.endpoints.get(id));
            let found = of_kind(entries.flat_map(|entry| &entry.addresses), kind);
            if !found.is_empty() {
                return Some(found);
            }
        }
        exists.then(Vec::new)
    }

    /// dockerd's answers come in random order too, so that clients spread over what they find.
    fn shuffle(&mut self, addresses: &mut [IpAddr]) {
        for left in (2..=addresses.len()).rev() {
            // xorshift64 (Marsaglia 2003): good enough to spread load, and nobody's secret.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let pick = self.random % left as u64;
            addresses.swap(left - 1, usize::try_from(pick).unwrap_or(0));
        }
    }
}

fn of_kind<'a>(addresses: impl Iterator<Item = &'a IpAddr>, kind: u16) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in addresses {
        let fits = match address {
            IpAddr::V4(_) => kind == kind::A,
            IpAddr::V6(_) => kind == kind::AAAA,
        };
        if fits && !found.contains(address) {
            found.push(*address);
        }
    }
    found
}

impl Network {
    fn insert(&mut self, entry: Entry) {
        self.name = entry.network_name.to_ascii_lowercase();
        for name in names(&entry) {
            let owners = self.by_name.entry(name).or_default();
            if !owners.contains(&entry.endpoint) {
                owners.push(entry.endpoint.clone());
            }
        }
        if let Some(name) = entry.names.first() {
            for address in &entry.addresses {
                let name = format!("{name}.{}", entry.network_name);
                let owner = (entry.endpoint.clone(), name);
                self.by_address.insert(*address, owner);
            }
        }
        self.endpoints.insert(entry.endpoint.clone(), entry);
    }

    fn remove(&mut self, endpoint: &str) {
        let Some(entry) = self.endpoints.remove(endpoint) else {
            return;
        };
        for name in names(&entry) {
            if let Some(owners) = self.by_name.get_mut(&name) {
                owners.retain(|owner| owner != endpoint);
                if owners.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
        for address in &entry.addresses {
            // Another endpoint may have it by now.
            if self
                .by_address
                .get(address)
                .is_some_and(|(owner, _)| owner == endpoint)
            {
                self.by_address.remove(address);
            }
        }
    }
}

fn names(entry: &Entry) -> impl Iterator<Item = String> {
    let names = entry.names.iter().chain([&entry.hostname]);
    names
        .filter(|name| !name.is_empty())
        .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(endpoint: &str, names: &[&str], addresses: &[&str]) -> Entry {
        Entry {
            endpoint: endpoint.to_owned(),
            network_name: "Net.One".to_owned(),
            names: names.iter().map(ToString::to_string).collect(),
            hostname: String::new(),
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        }
    }

    fn sandbox(networks: &[&str]) -> Sandbox {
        Sandbox {
            networks: networks.iter().map(ToString::to_string).collect(),
            ..Sandbox::default()
        }
    }

    fn addresses(zone: &mut Zone, sandbox: &Sandbox, name: &str, kind: u16) -> Option<Vec<String>> {
        match zone.answer(sandbox, name, kind)? {
            Answer::Addresses(found) => {
                let mut found: Vec<_> = found.iter().map(ToString::to_string).collect();
                found.sort();
                Some(found)
            }
            Answer::Name(name) => Some(vec![name]),
        }
    }

    #[test]
    fn names_are_seen_on_ones_own_networks_only() {
        let mut zone = Zone::new(1);
        zone.insert(
            "1".into(),
            entry("a", &["Web", "x.y"], &["10.0.0.2", "fd00::2"]),
        );
        zone.insert("1".into(), entry("b", &["web"], &["10.0.0.3"]));
        let mine = sandbox(&["1"]);
        let found = |zone: &mut Zone, name: &str, kind| addresses(zone, &mine, name, kind);
        let both = Some(vec!["10.0.0.2".to_owned(), "10.0.0.3".to_owned()]);
        assert_eq!(found(&mut zone, "web", kind::A), both);
        assert_eq!(found(&mut zone, "web.net.one", kind::A), both);
        assert_eq!(found(&mut zone, "x.y.net.one", kind::A).unwrap().len(), 1);
        assert_eq!(found(&mut zone, "web.one", kind::A), None);
        assert_eq!(found(&mut zone, "web", 16), Some(vec![]));
        let other = sandbox(&["2"]);
        assert_eq!(addresses(&mut zone, &other, "web", kind::A), None);
        let name = Some(vec!["Web.Net.One".to_owned()]);
        assert_eq!(found(&mut zone, "2.0.0.10.in-addr.arpa", kind::PTR), name);
        zone.remove("1", "a");
        assert_eq!(found(&mut zone, "web", kind::AAAA), Some(vec![]));
        assert_eq!(found(&mut zone, "2.0.0.10.in-addr.arpa", kind::PTR), None);
        zone.remove("1", "b");
        assert_eq!(found(&mut zone, "web", kind::A), None);
    }

    #[test]
    fn the_first_network_that_has_an_address_of_the_kind_counts() {
        let mut zone = Zone::new(1);
        zone.insert("1".into(), entry("a", &["web"], &["fd00::2"]));
        zone.insert("2".into(), entry("b", &["web"], &["10.0.0.3", "fd01::3"]));
        let both = sandbox(&["1", "2"]);
        assert_eq!(
            addresses(&mut zone, &both, "web", kind::A).unwrap(),
            ["10.0.0.3"]
        );
        assert_eq!(
            addresses(&mut zone, &both, "web", kind::AAAA).unwrap(),
            ["fd00::2"]
        );
    }

    #[test]
    fn links_are_known_to_their_sandbox_and_go_first() {
        let mut zone = Zone::new(1);
        zone.insert("1".into(), entry("a", &["db"], &["10.0.0.2"]));
        zone.insert("1".into(), entry("b", &["other"], &["10.0.0.3"]));
        let mut linked = sandbox(&["1"]);
        linked.links.insert("Db".to_owned(), "b".to_owned());
        assert_eq!(
            addresses(&mut zone, &linked, "db", kind::A).unwrap(),
            ["10.0.0.3"]
        );
        assert_eq!(
            addresses(&mut zone, &linked, "db", kind::AAAA).unwrap(),
            [""; 0]
        );
        assert_eq!(
            addresses(&mut zone, &sandbox(&["1"]), "db", kind::A).unwrap(),
            ["10.0.0.2"]
        );
    }

    #[test]
    fn answers_come_in_every_order() {
        let mut zone = Zone::new(7);
        zone.insert(
            "1".into(),
            entry("a", &["web"], &["10.0.0.2", "10.0.0.3", "10.0.0.4"]),
        );
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let Some(Answer::Addresses(order)) = zone.answer(&sandbox(&["1"]), "web", kind::A)
            else {
                panic!("no answer");
            };
            seen.insert(order);
        }
        assert_eq!(seen.len(), 6);
    }
}
