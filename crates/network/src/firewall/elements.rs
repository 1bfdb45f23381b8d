//! Networks and published ports as elements of the table's sets.

use super::NetworkRules;
use super::layout::set;
use crate::model::{GatewayMode, Publication};
use hull_linux::nftables::{Element, Value};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Elements, each with its set's name.
pub(super) type Elements = BTreeSet<(&'static str, Element)>;

/// Which of a pair of sets.
fn side(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

fn range(subnet: &IpNet) -> Element {
    Element::range(subnet.network(), subnet.broadcast())
}

fn range_with(subnet: &IpNet, device: &str) -> Element {
    Element::range(
        Value::from(subnet.network()).device(device),
        Value::from(subnet.broadcast()).device(device),
    )
}

/// How endpoints with such an address are reached.
fn mode(network: &NetworkRules, address: IpAddr) -> GatewayMode {
    match address {
        IpAddr::V4(_) => network.options.gateway_mode,
        IpAddr::V6(_) => network.options.gateway_mode6,
    }
}

/// What a network has in the sets.
pub(super) fn of_network(network: &NetworkRules, direct: bool) -> Elements {
    let device = || Value::default().device(&network.device);
    let twice = || Element::key(device().device(&network.device));
    let mut elements =
        Elements::from([(set::BRIDGES, Element::key(device())), (set::SAME, twice())]);
    if network.options.icc {
        elements.insert((set::WITHIN, twice()));
    }
    if network.internal {
        elements.insert((set::INTERNAL, Element::key(device())));
    }
    for subnet in &network.subnets {
        let at = side(subnet.addr());
        elements.insert((set::HOME[at], range_with(subnet, &network.device)));
        elements.extend(reached(network, subnet, direct));
        if !network.internal {
            elements.extend(leaving(network, subnet));
        }
    }
    elements
}

fn reached(network: &NetworkRules, subnet: &IpNet, open: bool) -> Vec<(&'static str, Element)> {
    let at = side(subnet.addr());
    let direct = |device: &String| (set::DIRECT[at], range_with(subnet, device));
    match mode(network, subnet.addr()) {
        GatewayMode::NatUnprotected if !network.internal => {
            vec![(set::UNPROTECTED[at], range(subnet))]
        }
        GatewayMode::Routed if !network.internal => vec![(set::ROUTED[at], range(subnet))],
        // What leaves is still masqueraded.
        GatewayMode::Nat if !network.internal && open => vec![(set::ROUTED[at], range(subnet))],
        // Answers come to the endpoint's own address then. What is new is still dropped where it is forwarded.
        GatewayMode::Nat if !network.internal && !open && !is_masqueraded(network, subnet) => {
            let trusted = network.options.trusted_interfaces.iter();
            trusted.map(direct).collect()
        }
        _ => {
            let trusted = network.options.trusted_interfaces.iter();
            let own = std::iter::once(&network.device);
            let direct = own.chain(trusted.filter(|_| !network.internal)).map(direct);
            let protected = std::iter::once((set::PROTECTED[at], range(subnet)));
            protected.chain(direct).collect()
        }
    }
}

fn is_masqueraded(network: &NetworkRules, subnet: &IpNet) -> bool {
    match subnet {
        IpNet::V4(_) => network.options.masquerade,
        IpNet::V6(_) => network.options.masquerade6,
    }
}

/// Routed networks are known outside by their own addresses, and so are those that are not masqueraded.
fn leaving(network: &NetworkRules, subnet: &IpNet) -> Option<(&'static str, Element)> {
    let at = side(subnet.addr());
    let translated = matches!(
        mode(network, subnet.addr()),
        GatewayMode::Nat | GatewayMode::NatUnprotected
    );
    if !is_masqueraded(network, subnet) || !translated {
        return None;
    }
    let source = network
        .options
        .source
        .iter()
        .find(|source| side(**source) == at);
    Some(match source {
        Some(source) => (set::SOURCE[at], range(subnet).value(*source)),
        None => (set::MASQUERADE[at], range(subnet)),
    })
}

/// What an owner's published ports have in the sets. `network` tells how an endpoint is reached.
pub(super) fn of_publications<'a>(
    publications: &[Publication],
    open_directly: bool,
    network: impl Fn(&str) -> Option<&'a NetworkRules>,
) -> Elements {
    let mut elements = Elements::new();
    let (mut opened, mut local) = (Vec::new(), Vec::new());
    for publication in publications.iter().filter(|one| !one.is_relayed()) {
        let direct = network(&publication.network).is_some_and(|network| {
            open_directly
                || mode(network, publication.target) == GatewayMode::Routed
                || !network.options.trusted_interfaces.is_empty()
        });
        if publication.host.is_none() || direct {
            let protocol = publication.protocol.number();
            let ports = (publication.target_port, last(publication));
            opened.push((publication.target, protocol, ports));
        }
        // What the host's own rules decide about is not translated here.
        match (publication.host, publication.host_firewall) {
            (Some(host), false) => elements.extend(translated(publication, host)),
            (Some(host), true) if host.is_loopback() => {
                local.push((
                    host,
                    publication.protocol.number(),
                    publication.host_ports.clone().into_inner(),
                ));
            }
            _ => {}
        }
    }
    elements.extend(joined(opened, set::OPEN));
    elements.extend(joined(local, set::LOCAL));
    elements
}

/// Ports beyond the last that there is are cut off.
fn last(publication: &Publication) -> u16 {
    let more = publication
        .host_ports
        .end()
        .saturating_sub(*publication.host_ports.start());
    publication.target_port.saturating_add(more)
}

/// Ports by address. The same port may be published more than once, and ranges may lap
/// over each other, which those of a set must not: they are joined.
fn joined(mut all: Vec<(IpAddr, u8, (u16, u16))>, sets: [&'static str; 2]) -> Elements {
    all.sort_unstable();
    let mut joined: Vec<(IpAddr, u8, (u16, u16))> = Vec::new();
    for (target, protocol, (first, end)) in all {
        match joined.last_mut() {
            Some((before, same, range))
                if (*before, *same) == (target, protocol) && first <= range.1 =>
            {
                range.1 = range.1.max(end);
            }
            _ => joined.push((target, protocol, (first, end))),
        }
    }
    let element = |(target, protocol, (first, end))| {
        let place = |port| Value::from(target).protocol(protocol).port(port);
        (sets[side(target)], Element::range(place(first), place(end)))
    };
    joined.into_iter().map(element).collect()
}

fn translated(publication: &Publication, host: IpAddr) -> Vec<(&'static str, Element)> {
    let at = side(publication.target);
    let protocol = publication.protocol.number();
    let any = host.is_unspecified();
    let key = |port: u16| {
        let place = if any {
            Value::default()
        } else {
            Value::from(host)
        };
        place.protocol(protocol).port(port)
    };
    let (first, end) = (
        *publication.host_ports.start(),
        *publication.host_ports.end(),
    );
    if first == publication.target_port && end > first {
        let map = if any { set::ANY_RANGE } else { set::AT_RANGE };
        let element = Element::range(key(first), key(end)).value(publication.target);
        return vec![(map[at], element)];
    }
    let map = if any { set::ANY } else { set::AT };
    publication
        .host_ports
        .clone()
        .zip(publication.target_port..=last(publication))
        .map(|(host_port, port)| {
            let target = Value::from(publication.target).port(port);
            (map[at], Element::key(key(host_port)).value(target))
        })
        .collect()
}
