//! What becomes of published ports while a container runs: where they lead, which of them its shim relays, and how they
//! are shown.

use super::publish::{MOST_RELAYED, Way, leading};
use crate::container::record::Record;
use crate::container::{Endpoint, HostPort, Port};
use hull_network::model::{Protocol, Publication};
use hull_shim::{Relay, Transport};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The ports that the container's shim serves, as far as it has their sockets: all at IPv6 addresses. Those that
/// the kernel translates come to it by `::1` only.
pub(crate) fn relays(publications: &[Publication]) -> Vec<Relay> {
    let (relayed, translated): (Vec<_>, Vec<_>) = publications
        .iter()
        .partition(|publication| publication.is_relayed());
    let all = relayed.into_iter().chain(translated);
    all.flat_map(relays_of).take(MOST_RELAYED).collect()
}

fn relays_of(publication: &Publication) -> Vec<Relay> {
    let transport = match publication.protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => return Vec::new(),
    };
    let ports = publication.host_ports.clone();
    let Some(IpAddr::V6(host)) = publication.host.filter(|_| ports.len() <= MOST_RELAYED) else {
        return Vec::new();
    };
    let pairs = ports.zip(publication.target_port..=u16::MAX);
    let relay = |(port, target)| Relay {
        transport,
        listen: SocketAddrV6::new(host, port, 0, 0),
        target: SocketAddr::new(publication.target, target),
    };
    pairs.map(relay).collect()
}

/// The same ports of the host's, by the ways there are now. Those without a way stay as they were: they
/// are kept for the container, and lead nowhere.
pub(super) fn retarget(publications: &[Publication], ways: &[Way]) -> Vec<Publication> {
    let moved = publications.iter().cloned().map(|mut publication| {
        let same = |way: &&Way| way.target.is_ipv6() == publication.target.is_ipv6();
        let way = match publication.host {
            Some(host) => leading(host, ways),
            None => ways.iter().find(same),
        };
        if let Some(way) = way {
            publication.network.clone_from(&way.network);
            publication.target = way.target;
        }
        publication
    });
    moved.collect()
}

/// The publications that lead somewhere: by networks that the container is in.
pub(crate) fn effective(record: &Record) -> Vec<Publication> {
    let in_it = |publication: &&Publication| {
        record
            .places()
            .values()
            .any(|place| place.network_id == publication.network && !place.endpoint_id.is_empty())
    };
    record.publications.iter().filter(in_it).cloned().collect()
}

/// The ports of a running container as they are shown: those that are exposed only have no host's ports.
pub(crate) fn shown(record: &Record) -> BTreeMap<Port, Option<Vec<HostPort>>> {
    let mut ports: BTreeMap<Port, Option<Vec<HostPort>>> = BTreeMap::new();
    // As with dockerd, ports are a matter of the network that leads out.
    let leads_out = |place: &Endpoint| !place.gateway.is_empty() || !place.gateway6.is_empty();
    if !record.is_running() || !record.places().values().any(|place| leads_out(place)) {
        return ports;
    }
    for port in &record.effective.exposed_ports {
        ports.insert(port.clone(), None);
    }
    for publication in effective(record) {
        let (start, end) = publication.host_ports.clone().into_inner();
        for offset in 0..=end.saturating_sub(start) {
            let port = Port {
                number: publication.target_port.saturating_add(offset),
                protocol: publication.protocol.as_str().to_owned(),
            };
            let everywhere = match publication.target {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let shown = HostPort {
                host: publication.host.unwrap_or(everywhere).to_string(),
                port: publication.host.map_or(0, |_| start + offset),
            };
            let listed = ports.entry(port).or_default().get_or_insert_default();
            listed.push(shown);
        }
    }
    for listed in ports.values_mut().flatten() {
        listed.sort_by_key(|shown| (shown.host.contains(':'), shown.host.clone(), shown.port));
    }
    ports
}
