//! A container's whole network: made before the container, in this order, and undone in reverse.
//!
//! ```text
//! namespace           its file
//! places              addresses and ids of all, then a device each; one provides the default route
//! names               in networks that have them
//! ports               sockets that keep them, for the shim; then the rules, in one transaction
//! ```

use super::publish::{self, PublishError, Published, Way};
use super::registry::{Live, failed};
use super::row::Row;
use super::{names, place};
use crate::container::live::Container;
use crate::container::record::Record;
use crate::container::{Endpoint, NetworkMode, Places};
use crate::{Engine, Error, ErrorKind, Result};
use hull_network::model::Publication;
use hull_network::{link, netns};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What starting a container needs of its network.
#[derive(Debug, Default)]
pub(crate) struct Wired {
    /// The namespace to run in; `None`: a new one, or the host's.
    pub(crate) netns: Option<PathBuf>,
    /// They keep its ports as long as they are open.
    pub(crate) sockets: Vec<OwnedFd>,
}

/// Which places provide the default routes, by family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Providers {
    pub(super) v4: Option<String>,
    pub(super) v6: Option<String>,
}

/// dockerd's order of preference: places that lead out in both families; the highest priority; those that
/// lead out at all; by name. Devices are numbered in it.
fn order(places: &Places) -> Vec<(&String, &Endpoint)> {
    let all = places.iter().map(|(name, place)| (name, &**place));
    let mut all: Vec<(&String, &Endpoint)> = all.collect();
    // Stable: equals stay in the order of their names.
    all.sort_by_key(|(_, place)| {
        let leads = [&place.gateway, &place.gateway6].map(|gateway| !gateway.is_empty());
        std::cmp::Reverse((
            leads == [true; 2],
            place.request.gateway_priority,
            leads != [false; 2],
        ))
    });
    all
}

/// The first place of a family that leads out.
pub(super) fn providers(places: &Places) -> Providers {
    let all = order(places);
    let first = |has: fn(&Endpoint) -> bool| {
        let mut leading = all.iter().filter(|(_, place)| has(place));
        leading.next().map(|(name, _)| (*name).clone())
    };
    Providers {
        v4: first(|place| !place.gateway.is_empty()),
        v6: first(|place| !place.gateway6.is_empty()),
    }
}

impl Providers {
    /// The default routes: over which device, and through which router.
    pub(super) fn routes<'r>(&self, places: &'r Places) -> Vec<(&'r str, IpAddr)> {
        let both = [(&self.v4, false), (&self.v6, true)];
        let route = |(name, v6): (&Option<String>, bool)| {
            let place = places.get(name.as_ref()?)?;
            let own = place::gateways(place);
            let gateway = own.into_iter().find(|gateway| gateway.is_ipv6() == v6)?;
            Some((place.ifname.as_str(), gateway))
        };
        both.into_iter().filter_map(route).collect()
    }

    /// The routers of a place that lead everywhere.
    pub(super) fn gateways(&self, name: &str, place: &Endpoint) -> Vec<IpAddr> {
        let leads = |gateway: &IpAddr| {
            let provider = if gateway.is_ipv6() {
                &self.v6
            } else {
                &self.v4
            };
            provider.as_deref() == Some(name)
        };
        place::gateways(place).into_iter().filter(leads).collect()
    }
}

/// An error with its cause, which the system tells with its number.
fn words(error: &hull_network::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn start_failed(error: &Error) -> Error {
    let text = format!(
        "failed to set up container networking: {}",
        error.full_message()
    );
    Error::new(error.kind(), text)
}

/// Gives the devices their names.
fn number(places: &mut Places, lives: &BTreeMap<String, Arc<Live>>) {
    let order: Vec<String> = order(places)
        .iter()
        .map(|(name, _)| (*name).clone())
        .collect();
    let mut named: Vec<Endpoint> = Vec::new();
    for name in order {
        if let (Some(place), Some(live)) = (places.get_mut(&name), lives.get(&name)) {
            place.ifname = place::ifname(&live.row(), &place.request, &named);
            named.push((**place).clone());
        }
    }
}

/// Where a container's places are in a namespace that Hull made for it before it was started.
fn is_wired(record: &Record) -> bool {
    let own = |name: &String| !matches!(name.as_str(), "host" | "none");
    !matches!(record.config.network, NetworkMode::Container(_)) && record.places().keys().any(own)
}

impl Engine {
    /// Makes a container's network. Nothing is left of a failed attempt.
    ///
    /// # Errors
    /// dockerd's words, after `failed to set up container networking`.
    pub(crate) fn wire(&self, container: &Container) -> Result<Wired> {
        let record = container.record();
        if let NetworkMode::Container(id) = &record.config.network {
            return Ok(Wired {
                netns: Some(self.shared_netns(id)?),
                sockets: Vec::new(),
            });
        }
        if !is_wired(&record) {
            return Ok(Wired::default());
        }
        let path = self.networks.namespace(&record.id);
        let made = self.networks.touch().and_then(|()| {
            netns::create(&path).map_err(failed("could not make a network namespace"))
        });
        made.map_err(|error| start_failed(&error))?;
        let mut record = record;
        let filled = self.fill(&mut record, &path);
        match filled {
            Ok(sockets) => {
                container.change(|kept| {
                    kept.networks = record.networks;
                    kept.publications = record.publications;
                });
                Ok(Wired {
                    netns: Some(path),
                    sockets,
                })
            }
            Err(error) => {
                self.take_apart(&record);
                Err(start_failed(&error))
            }
        }
    }

    /// The namespace of a running container, for one that shares it.
    fn shared_netns(&self, id: &str) -> Result<PathBuf> {
        let target = self.find(id).map_err(|_| {
            let text = format!("joining network namespace of container: No such container: {id}");
            Error::new(ErrorKind::NotFound, text)
        })?;
        let record = target.record();
        if !record.is_running() {
            let text = format!(
                "cannot join network namespace of a non running container: container {} is {}",
                record.name,
                record.state.as_str()
            );
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        Ok(self.netns_of(&record))
    }

    /// The namespace of a running container: its file, or that of its first process.
    pub(crate) fn netns_of(&self, record: &Record) -> PathBuf {
        let own = self.networks.namespace(&record.id);
        match record.state.pid() {
            Some(pid) if !own.exists() => format!("/proc/{pid}/ns/net").into(),
            _ => own,
        }
    }

    /// Everything in the namespace and about it. What it did is in the record, also when it fails.
    fn fill(&self, record: &mut Record, netns: &Path) -> Result<Vec<OwnedFd>> {
        let lives = self.claim_places(record)?;
        number(record.places_mut(), &lives);
        let providers = providers(record.places());
        for (name, live) in &lives {
            let Some(place) = record.places_mut().get_mut(name) else {
                continue;
            };
            let gateways = providers.gateways(name, place);
            self.networks.join(live, place, gateways, netns)?;
        }
        self.introduce(record, netns)
            .map_err(failed("could not make the container's names known"))?;
        let ways = self.ways(record, &providers);
        let published = self.publish(record, &ways)?;
        record.publications = published.publications;
        Ok(published.sockets)
    }

    /// Takes addresses for all places.
    fn claim_places(&self, record: &mut Record) -> Result<BTreeMap<String, Arc<Live>>> {
        let mut lives = BTreeMap::new();
        let off = |text: &String| !matches!(text.trim(), "" | "0");
        let sysctls = &record.config.sysctls;
        let without_ipv6 = sysctls
            .get("net.ipv6.conf.all.disable_ipv6")
            .is_some_and(off);
        for (name, asked) in record.places().clone() {
            let live = self.networks.of_place(&name, &asked)?;
            let names = names::of(&live.row(), record, &asked.request);
            let request = (&asked.request, names);
            let mut place = self.networks.claim_place(&live, &record.id, request, &[])?;
            if without_ipv6 {
                place::give_ipv6_back(&live, &mut place);
            }
            record.places_mut().insert(name.clone(), Box::new(place));
            lives.insert(name, live);
        }
        Ok(lives)
    }

    /// How packets for its ports come in.
    pub(super) fn ways(&self, record: &Record, providers: &Providers) -> Vec<Way> {
        let row = |place: &Endpoint| -> Option<Arc<Row>> {
            Some(self.networks.by_id(&place.network_id)?.row())
        };
        [(false, &providers.v4), (true, &providers.v6)]
            .into_iter()
            .filter_map(|(v6, name)| {
                let place = record.places().get(name.as_ref()?)?;
                let row = row(place)?;
                publish::way(&row, place, v6)
            })
            .collect()
    }

    fn publish(&self, record: &Record, ways: &[Way]) -> Result<Published> {
        let reserved = self.networks.reserve_ports(record, ways);
        let reserved = reserved.map_err(|error| self.whose_port(record, error));
        let published = reserved.map_err(|error| self.not_published(record, ways, error))?;
        if !published.publications.is_empty() {
            self.networks
                .firewall
                .publish(&record.id, &published.publications)
                .map_err(failed("could not publish the container's ports"))?;
        }
        Ok(published)
    }

    /// dockerd has one sentence for a port that another container has, and one for all others.
    pub(super) fn whose_port(&self, record: &Record, error: PublishError) -> Error {
        let taken = match error {
            PublishError::Refused(error) => return error,
            PublishError::Ports(error) => error,
        };
        let hull_network::Error::PortInUse {
            host,
            port,
            protocol,
        } = &taken
        else {
            return Error::new(ErrorKind::Internal, words(&taken));
        };
        let theirs = |publication: &Publication| {
            let same = |own: IpAddr| own == *host || own.is_unspecified() || host.is_unspecified();
            publication.protocol == *protocol
                && publication.host_ports.contains(port)
                && publication
                    .host
                    .is_some_and(|own| own.is_ipv6() == host.is_ipv6() && same(own))
        };
        let other = self.containers().into_iter().any(|other| {
            other.id != record.id && other.read(|other| other.publications.iter().any(theirs))
        });
        let address = std::net::SocketAddr::new(*host, *port);
        let text = if other {
            format!("Bind for {address} failed: port is already allocated")
        } else {
            format!(
                "failed to bind host port {address}/{}: address already in use",
                protocol.as_str()
            )
        };
        Error::new(ErrorKind::Internal, text)
    }

    /// dockerd's sentence, which names the endpoint.
    fn not_published(&self, record: &Record, ways: &[Way], error: Error) -> Error {
        if error.kind() != ErrorKind::Internal {
            return error;
        }
        let network = ways
            .first()
            .map(|way| way.network.as_str())
            .unwrap_or_default();
        let mut places = record.places().values();
        let place = places.find(|place| place.network_id == network);
        let text = format!(
            "driver failed programming external connectivity on endpoint {} ({}): {}",
            record.name,
            place
                .map(|place| place.endpoint_id.as_str())
                .unwrap_or_default(),
            error.full_message()
        );
        Error::new(ErrorKind::Internal, text)
    }

    /// Gives a container's network back; what cannot be removed now, the next start removes.
    pub(crate) fn unwire(&self, container: &Container) {
        let record = container.record();
        // One that was disconnected from all its networks still has its namespace.
        if is_wired(&record) || self.networks.namespace(&record.id).exists() {
            self.take_apart(&record);
        }
        container.change(Record::idle_places);
    }

    /// Undoes [`Engine::fill`], as far as it came.
    fn take_apart(&self, record: &Record) {
        let warn = |error: hull_network::Error| {
            tracing::warn!(
                container = record.id,
                error = &error as &dyn std::error::Error,
                "network not removed"
            );
        };
        let unpublished = self.networks.firewall.unpublish(&record.id);
        let led_away = unpublished.is_ok();
        if let Err(error) = unpublished {
            warn(error);
        }
        self.networks.release_ports(&record.id);
        self.forget_names(record);
        let places = record.places().values();
        let endpoints: Vec<String> = places
            .map(|place| place.endpoint_id.clone())
            .filter(|id| !id.is_empty())
            .collect();
        let path = self.networks.namespace(&record.id);
        // Nobody has a connection with one that published nothing and never said a word.
        let unknown = record.publications.is_empty();
        let silent = |place: &Endpoint| unknown && place::is_silent(place);
        let silent: Vec<bool> = record
            .places()
            .values()
            .map(|place| silent(place))
            .collect();
        for place in record.places().values() {
            self.networks.remove_child(place, &path);
        }
        if let Err(error) = link::dismantle(&path, &endpoints) {
            warn(error);
        }
        // Ports that still lead to an address must not lead to who has it next.
        if led_away {
            for (place, silent) in record.places().values().zip(silent) {
                self.networks.release_place(place, silent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(gateway: &str, gateway6: &str, priority: i64) -> Endpoint {
        let mut place = Endpoint {
            gateway: gateway.to_owned(),
            gateway6: gateway6.to_owned(),
            ..Endpoint::default()
        };
        place.request.gateway_priority = priority;
        place
    }

    #[test]
    fn the_highest_priority_provides_the_route_and_then_the_first_name() {
        let places = |all: &[(&str, Endpoint)]| -> Places {
            let own =
                |(name, place): &(&str, Endpoint)| ((*name).to_owned(), Box::new(place.clone()));
            all.iter().map(own).collect()
        };
        let plain = places(&[
            ("b", place("10.0.0.1", "", 0)),
            ("a", place("10.1.0.1", "", 0)),
            ("0", place("", "", 0)),
        ]);
        assert_eq!(providers(&plain).v4.as_deref(), Some("a"));
        let names =
            |all: &Places| -> String { order(all).iter().map(|(name, _)| name.as_str()).collect() };
        assert_eq!(names(&plain), "ab0");
        // Both families go before any priority, and priority before leading out at all.
        let both = places(&[
            ("a", place("10.0.0.1", "", 5)),
            ("b", place("10.1.0.1", "fd00::1", 0)),
            ("c", place("10.2.0.1", "fd01::1", 1)),
            ("d", place("", "", 9)),
        ]);
        assert_eq!(names(&both), "cbda");
        assert_eq!(providers(&both).v4.as_deref(), Some("c"));
        let chosen = places(&[
            ("a", place("10.0.0.1", "", 0)),
            ("b", place("10.1.0.1", "", 5)),
            ("c", place("", "fd00::1", -1)),
        ]);
        let providers = providers(&chosen);
        assert_eq!(
            (providers.v4.as_deref(), providers.v6.as_deref()),
            (Some("b"), Some("c"))
        );
        assert_eq!(providers.gateways("b", &chosen["b"]).len(), 1);
        assert!(providers.gateways("a", &chosen["a"]).is_empty());
        let routers: Vec<IpAddr> = providers
            .routes(&chosen)
            .into_iter()
            .map(|(_, gateway)| gateway)
            .collect();
        let expected: [IpAddr; 2] = ["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(routers, expected);
    }
}
