//! What shall be: networks and published ports, from which the table is made.

use super::elements::{Elements, of_network, of_publications};
use super::explain::{Explanation, Question, explain};
use super::flows::Flows;
use super::foreign::Foreign;
use super::host::HostRules;
use super::install::Installed;
use super::keep::{Keeper, keep};
use super::loopback::Loopback;
use super::taken;
use super::udp;
use crate::Error;
use crate::error::link;
use crate::model::{BridgeOptions, Protocol, Publication};
use hull_linux::netlink;
use hull_linux::nftables::Socket;
use ipnet::IpNet;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the table is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallOptions {
    /// The name of the table in family `inet`; daemons of one host need one each.
    pub table: String,
    /// Whether published ports are also reached at the endpoints' own addresses, from anywhere, in all
    /// networks.
    pub direct_routing: bool,
}

impl Default for FirewallOptions {
    fn default() -> Self {
        Self {
            table: "hull".to_owned(),
            direct_routing: false,
        }
    }
}

/// What the firewall needs to know of a bridge network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRules {
    /// The network's id.
    pub id: String,
    /// The bridge.
    pub device: String,
    /// Its address ranges, of both families.
    pub subnets: Vec<IpNet>,
    /// Nothing gets in or out, but from the host itself.
    pub internal: bool,
    /// Gateway modes, masquerading, trusted interfaces and so on.
    pub options: BridgeOptions,
}

/// The firewall of one host network namespace: holds the whole wanted state, and makes the kernel's
/// table be so. Clones are the same firewall.
#[derive(Clone, Debug)]
pub struct Firewall {
    shared: Arc<Mutex<State>>,
    foreign: Foreign,
    flows: Flows,
}

#[derive(Debug)]
struct State {
    installed: Installed,
    direct_routing: bool,
    host: HostRules,
    loopback: Loopback,
    /// `None` where the kernel has no netfilter sockets.
    socket: Option<Socket>,
    networks: BTreeMap<String, (NetworkRules, Elements)>,
    published: BTreeMap<String, (Vec<Publication>, Elements)>,
    /// All elements, and how many networks and owners have them.
    counts: BTreeMap<(&'static str, hull_linux::nftables::Element), usize>,
    /// Whether the table was made; before, nobody can have taken it away.
    made: bool,
}

impl Firewall {
    /// A firewall with nothing in it. Changes nothing yet; works in the network namespace of the calling thread.
    ///
    /// # Errors
    /// None at present: a kernel without nf_tables is told by what changes something.
    pub fn open(options: FirewallOptions) -> Result<Self, Error> {
        Ok(Self {
            shared: Arc::new(Mutex::new(State {
                installed: Installed::new(&options.table),
                direct_routing: options.direct_routing,
                host: HostRules::new(&options.table),
                loopback: Loopback::new(),
                socket: Socket::open().ok(),
                networks: BTreeMap::new(),
                published: BTreeMap::new(),
                counts: BTreeMap::new(),
                made: false,
            })),
            foreign: Foreign::new(&options.table),
            flows: Flows::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the table hold these networks and published ports (by owner), and nothing else, in one
    /// transaction: at the start of a daemon.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn replace(
        &self,
        networks: Vec<NetworkRules>,
        publications: Vec<(String, Vec<Publication>)>,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        let direct = state.direct_routing;
        let networks = networks.into_iter().map(|network| {
            let elements = of_network(&network, direct);
            (network.id.clone(), (network, elements))
        });
        let before = (
            std::mem::replace(&mut state.networks, networks.collect()),
            std::mem::take(&mut state.published),
            std::mem::take(&mut state.counts),
        );
        for (owner, publications) in publications {
            let elements = state.elements(&publications);
            state.published.insert(owner, (publications, elements));
        }
        state.count();
        let result = state.install();
        if result.is_err() {
            (state.networks, state.published, state.counts) = before;
        }
        result.map_err(link("install", "the firewall"))?;
        state.sync_loopback();
        // Ports that could not be left to the host's rules are not reached at all.
        if let Err(error) = state.sync_host() {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "ports are not published by the host's rules");
        }
        drop(state);
        self.open_others();
        Ok(())
    }

    /// Lets other software's tables know of our bridges. What they do not let through is their word:
    /// a network is none the less made.
    fn open_others(&self) {
        let devices = || {
            let state = self.lock();
            let networks = state.networks.values();
            networks.map(|(rules, _)| rules.device.clone()).collect()
        };
        if let Err(error) = self.foreign.update(devices) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "other software's packet filter may drop containers' packets"
            );
        }
    }

    /// Adds a network, or replaces the rules of the one with this id.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn add_network(&self, rules: NetworkRules) -> Result<(), Error> {
        let mut state = self.lock();
        let id = rules.id.clone();
        let new = of_network(&rules, state.direct_routing);
        let before = state.networks.insert(id.clone(), (rules, new.clone()));
        let old = before.as_ref().map(|(_, elements)| elements.clone());
        let result = state.change(&old.unwrap_or_default(), &new);
        if result.is_err() {
            restore(&mut state.networks, id, before);
        }
        result.map_err(link("add a network to", "the firewall"))?;
        state.sync_loopback();
        drop(state);
        self.open_others();
        Ok(())
    }

    /// Removes a network's rules; absent is no error.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn remove_network(&self, id: &str) -> Result<(), Error> {
        let mut state = self.lock();
        let Some(before) = state.networks.remove(id) else {
            return Ok(());
        };
        let result = state.change(&before.1, &Elements::new());
        if result.is_err() {
            state.networks.insert(id.to_owned(), before);
        }
        result.map_err(link("remove a network from", "the firewall"))?;
        state.sync_loopback();
        drop(state);
        self.open_others();
        Ok(())
    }

    /// Publishes ports, in place of what this owner has published. One transaction. Connections of UDP
    /// that went elsewhere before are forgotten, so that their next packet goes where it shall.
    ///
    /// # Errors
    /// [`Error::PortInUse`] when another owner has one of the ports, or when they contradict each other;
    /// [`Error`]; nothing is changed then.
    pub fn publish(&self, owner: &str, publications: &[Publication]) -> Result<(), Error> {
        let mut state = self.lock();
        let others = state.published.iter().filter(|(other, _)| *other != owner);
        taken::refuse(publications, others.flat_map(|(_, (all, _))| all))?;
        let new = state.elements(publications);
        let value = (publications.to_vec(), new.clone());
        let before = match publications {
            [] => state.published.remove(owner),
            _ => state.published.insert(owner.to_owned(), value),
        };
        let old = before.as_ref().map(|(_, elements)| elements.clone());
        let result = state.change(&old.clone().unwrap_or_default(), &new);
        if result.is_err() {
            restore(&mut state.published, owner.to_owned(), before);
            return result.map_err(link("publish ports in", "the firewall"));
        }
        let had = before.iter().flat_map(|(publications, _)| publications);
        let concerned = publications.iter().chain(had).any(|p| p.host_firewall);
        if concerned && let Err(error) = state.sync_host() {
            restore(&mut state.published, owner.to_owned(), before);
            let _ = state.change(&new, &old.unwrap_or_default());
            let _ = state.sync_host();
            return Err(error);
        }
        state.sync_loopback();
        let gone = before.map_or_else(Vec::new, |(publications, _)| publications);
        if let Some(socket) = &mut state.socket {
            udp::forget(socket, publications, &gone);
        }
        Ok(())
    }

    /// Takes back all that this owner has published; nothing is no error.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn unpublish(&self, owner: &str) -> Result<(), Error> {
        self.publish(owner, &[])
    }

    /// Says that endpoints' addresses are given back: connections that were led to them, or began there,
    /// must not be those of whoever has the address next. To be called when the device is gone and its
    /// ports are no longer published. They are forgotten behind the caller's back; before an address is
    /// used again, [`Firewall::settle`] waits for it.
    pub fn retire(&self, addresses: &[IpAddr]) {
        self.flows.retire(addresses);
    }

    /// The same of all addresses of these subnets but those that are `used`: at the start of a daemon,
    /// when nobody knows which ones were given back before.
    pub fn retire_others(&self, subnets: Vec<IpNet>, used: HashSet<IpAddr>) {
        self.flows.retire_others(subnets, used);
    }

    /// Waits until these addresses have no connections of others any more; to be called before an
    /// endpoint gets them. Costs nothing unless they were given back a moment ago.
    pub fn settle(&self, addresses: &[IpAddr]) {
        self.flows.settle(addresses);
    }

    /// Watches the kernel's tables and installs ours again when somebody has changed or removed it,
    /// until the result is dropped; `on_reinstall` is called each time, in a thread of its own. For the
    /// network namespace in which the firewall was opened.
    ///
    /// # Errors
    /// [`Error`] when the kernel gives no news of its tables.
    pub fn keep(&self, on_reinstall: impl Fn() + Send + 'static) -> Result<Keeper, Error> {
        let ours = {
            let mut state = self.lock();
            let socket = state.socket().map_err(link("watch", "the firewall"))?;
            let port = socket.port();
            (state.installed.table.clone(), port)
        };
        let others = self.foreign.keep()?;
        keep(self, ours, others, on_reinstall)
    }

    /// Installs the table again, if it was there and is not whole or `anyway`; whether it was done.
    pub(super) fn reinstall(&self, anyway: bool) -> Result<bool, Error> {
        let mut state = self.lock();
        if !state.made {
            return Ok(false);
        }
        let state = &mut *state;
        let wanted: Elements = state.counts.keys().cloned().collect();
        let needed = match (&mut state.socket, anyway) {
            (Some(socket), false) => !state
                .installed
                .is_whole(socket, &wanted)
                .map_err(link("check", "the firewall"))?,
            _ => true,
        };
        if needed {
            state
                .install()
                .map_err(link("install again", "the firewall"))?;
            if let Some(socket) = &mut state.socket {
                state.host.again(socket)?;
            }
        }
        Ok(needed)
    }

    /// Who can reach a port of an endpoint of a network, from where and by which rule; `None` for a network
    /// that the firewall does not know.
    ///
    /// # Errors
    /// [`Error::Link`] when other software's tables cannot be read.
    pub fn explain(
        &self,
        network: &str,
        addresses: &[IpAddr],
        (protocol, port): (Protocol, u16),
    ) -> Result<Option<Explanation>, Error> {
        let survey = self.foreign.survey()?;
        let state = self.lock();
        let Some((network, _)) = state.networks.get(network) else {
            return Ok(None);
        };
        let published = state.published.values();
        let publications: Vec<Publication> = published
            .flat_map(|(publications, _)| publications.clone())
            .collect();
        Ok(Some(explain(&Question {
            network,
            addresses,
            protocol,
            port,
            publications: &publications,
            survey: &survey,
        })))
    }

    /// What is published now, by owner.
    #[must_use]
    pub fn published(&self) -> Vec<(String, Vec<Publication>)> {
        let state = self.lock();
        let published = state.published.iter();
        published
            .map(|(owner, (publications, _))| (owner.clone(), publications.clone()))
            .collect()
    }

    /// The networks now.
    #[must_use]
    pub fn networks(&self) -> Vec<NetworkRules> {
        let state = self.lock();
        let networks = state.networks.values();
        networks.map(|(rules, _)| rules.clone()).collect()
    }
}

fn restore<T>(map: &mut BTreeMap<String, T>, key: String, before: Option<T>) {
    match before {
        Some(before) => drop(map.insert(key, before)),
        None => drop(map.remove(&key)),
    }
}

impl State {
    fn elements(&self, publications: &[Publication]) -> Elements {
        of_publications(publications, self.direct_routing, |id| {
            self.networks.get(id).map(|(rules, _)| rules)
        })
    }

    fn socket(&mut self) -> Result<&mut Socket, netlink::Error> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::open()?,
        };
        Ok(self.socket.insert(socket))
    }

    fn sync_loopback(&mut self) {
        let published = self.published.values();
        let published = published.flat_map(|(publications, _)| publications);
        let networks = &self.networks;
        self.loopback
            .sync(published, |id| networks.get(id).map(|(rules, _)| rules));
    }

    fn sync_host(&mut self) -> Result<(), Error> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::open().map_err(link("open", "a netfilter socket"))?,
        };
        let published = self.published.values();
        let all = published.flat_map(|(publications, _)| publications);
        self.host.set(self.socket.insert(socket), all)
    }

    fn count(&mut self) {
        let networks = self.networks.values().map(|(_, elements)| elements);
        let published = self.published.values().map(|(_, elements)| elements);
        self.counts.clear();
        for element in networks.chain(published).flatten() {
            *self.counts.entry(element.clone()).or_default() += 1;
        }
    }

    /// The whole table.
    fn install(&mut self) -> Result<(), netlink::Error> {
        let wanted: Elements = self.counts.keys().cloned().collect();
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::open()?,
        };
        let replaced = self.installed.replace(&mut socket, &wanted);
        self.socket = Some(socket);
        replaced?;
        self.made = true;
        Ok(())
    }

    /// One network's or owner's elements instead of others. What another has too stays.
    fn change(&mut self, old: &Elements, new: &Elements) -> Result<(), netlink::Error> {
        let (mut gone, mut added) = (Elements::new(), Elements::new());
        for element in old.difference(new) {
            if self.counts.get(element) == Some(&1) {
                gone.insert(element.clone());
            }
        }
        for element in new.difference(old) {
            if !self.counts.contains_key(element) {
                added.insert(element.clone());
            }
        }
        self.recount(old, new);
        let changed = match self.made {
            false => self.install(),
            true => self.commit(&gone, &added),
        };
        if changed.is_err() {
            self.recount(new, old);
        }
        changed
    }

    fn recount(&mut self, old: &Elements, new: &Elements) {
        for element in old.difference(new) {
            if let Some(count) = self.counts.get_mut(element) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(element);
                }
            }
        }
        for element in new.difference(old) {
            *self.counts.entry(element.clone()).or_default() += 1;
        }
    }

    fn commit(&mut self, gone: &Elements, added: &Elements) -> Result<(), netlink::Error> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::open()?,
        };
        let changed = self.installed.change(&mut socket, gone, added);
        self.socket = Some(socket);
        match changed {
            // The kernel's table is not what it should be: somebody has been there.
            Err(error) if error.is_absent() || error.is_existing() => {
                tracing::debug!(%error, "the firewall is installed again");
                self.install()
            }
            other => other,
        }
    }
}
