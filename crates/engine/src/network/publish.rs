//! Published ports: what was asked for becomes reserved ports of the host's, and rules.
//!
//! Ports that follow one another on both sides are one request, and so one rule.

use super::registry::Networks;
use super::row::Row;
use crate::container::record::Record;
use crate::container::{Endpoint, Port, PortBinding};
use crate::{Engine, Error, ErrorKind, Result};
use hull_network::model::{Driver, GatewayMode, Protocol, Publication};
use hull_network::ports::{self, PortRequest};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6, TcpListener};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

/// As many sockets keep ports for one container; what is above is looked for once and not kept.
const MOST_HELD: usize = 512;

/// As many ports of one container are relayed.
pub(super) const MOST_RELAYED: usize = ports::HELD as usize;

/// Where packets for a container's ports can come in: the network and address of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) network: String,
    pub(super) target: IpAddr,
    pub(super) mode: GatewayMode,
    /// Where ports are published when nobody says.
    pub(super) binding: Option<IpAddr>,
}

/// Ports that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    protocol: Protocol,
    first: u16,
    count: u16,
    hosts: Vec<IpAddr>,
    host_ports: Option<RangeInclusive<u16>>,
}

/// What a container has published.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) publications: Vec<Publication>,
    pub(super) sockets: Vec<OwnedFd>,
}

/// Why nothing was published.
#[derive(Debug)]
pub(super) enum PublishError {
    /// The request makes no sense.
    Refused(Error),
    /// A port cannot be had.
    Ports(hull_network::Error),
}

impl From<Error> for PublishError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

/// Ways in, of the places that lead out.
pub(super) fn way(row: &Row, endpoint: &Endpoint, v6: bool) -> Option<Way> {
    let model = row.model.as_ref().filter(|model| !model.internal)?;
    let Driver::Bridge(options) = &model.driver else {
        return None;
    };
    let (text, mode) = if v6 {
        (&endpoint.address6, options.gateway_mode6)
    } else {
        (&endpoint.address, options.gateway_mode)
    };
    Some(Way {
        network: row.id.clone(),
        target: text.parse().ok()?,
        mode,
        binding: row.binding,
    })
}

/// Checks what was asked for, before anything is done.
///
/// # Errors
/// `InvalidInput` in dockerd's words.
pub(super) fn check(ports: &BTreeMap<Port, Vec<PortBinding>>) -> Result<()> {
    for (port, bindings) in ports {
        protocol(port)?;
        for binding in bindings {
            host_address(&binding.host)?;
            host_ports(&binding.host_ports)?;
        }
    }
    Ok(())
}

fn protocol(port: &Port) -> Result<Protocol> {
    match port.protocol.as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        other => Err(invalid(format!(
            "invalid port specification: \"{}/{other}\"",
            port.number
        ))),
    }
}

fn host_address(text: &str) -> Result<Option<IpAddr>> {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    match plain {
        "" => Ok(None),
        plain => plain
            .parse()
            .map(Some)
            .map_err(|_| invalid(format!("invalid IP address: {text}"))),
    }
}

/// `None`: any. 0 is any, too, as in Docker.
fn host_ports(text: &str) -> Result<Option<RangeInclusive<u16>>> {
    let bad = || invalid(format!("invalid port specification: {text:?}"));
    if text.is_empty() {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (
        first.parse().map_err(|_| bad())?,
        last.parse().map_err(|_| bad())?,
    );
    match (first, last) {
        (0, 0) => Ok(None),
        (first, last) if first == 0 || first > last => Err(bad()),
        (first, last) => Ok(Some(first..=last)),
    }
}

/// All ports to be published: those asked for, and with `-P` the exposed ones.
fn wanted(record: &Record) -> BTreeMap<Port, Vec<PortBinding>> {
    let mut ports = record.config.ports.clone();
    if record.config.publish_all {
        for port in &record.effective.exposed_ports {
            let bindings = ports.entry(port.clone()).or_default();
            if bindings.is_empty() {
                bindings.push(PortBinding::default());
            }
        }
    }
    ports
}

/// Puts what follows one another together.
fn groups(
    ports: &BTreeMap<Port, Vec<PortBinding>>,
    hosts: &dyn Fn(Option<IpAddr>) -> Vec<IpAddr>,
) -> Result<Vec<Wanted>> {
    let mut all: Vec<Wanted> = Vec::new();
    for (port, bindings) in ports {
        for binding in bindings {
            let wanted = Wanted {
                protocol: protocol(port)?,
                first: port.number,
                count: 1,
                hosts: hosts(host_address(&binding.host)?),
                host_ports: host_ports(&binding.host_ports)?,
            };
            all.push(wanted);
        }
    }
    all.sort_by(|a, b| {
        let key = |w: &Wanted| {
            (
                w.protocol,
                w.hosts.clone(),
                w.first,
                w.host_ports.clone().map(RangeInclusive::into_inner),
            )
        };
        key(a).cmp(&key(b))
    });
    all.dedup();
    let mut joined: Vec<Wanted> = Vec::new();
    for next in all {
        match joined.last_mut() {
            Some(last) if follows(last, &next) => {
                last.count += 1;
                let start = last.host_ports.as_ref().map_or(0, |range| *range.start());
                last.host_ports = Some(start..=start.saturating_add(last.count - 1));
            }
            _ => joined.push(next),
        }
    }
    Ok(joined)
}

/// Whether `next` continues `last`, both with ports that are said exactly.
fn follows(last: &Wanted, next: &Wanted) -> bool {
    let (Some(before), Some(after)) = (&last.host_ports, &next.host_ports) else {
        return false;
    };
    let exact = before.end() - before.start() == last.count - 1 && after.start() == after.end();
    exact
        && last.protocol == next.protocol
        && last.hosts == next.hosts
        && last.first.checked_add(last.count) == Some(next.first)
        && before.end().checked_add(1) == Some(*after.start())
}

impl Engine {
    /// Publishes what could not be published when a container was started, since it was in no network that
    /// leads out in that family. A port that is the host's choice is the one of the other family, if there
    /// is one.
    pub(super) fn publish_more(&self, record: &mut Record, ways: &[Way]) -> Result<()> {
        let missing = |way: &&Way| {
            let mut there = record.publications.iter();
            !there.any(|there| there.target.is_ipv6() == way.target.is_ipv6())
        };
        let new: Vec<Way> = ways.iter().filter(missing).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut asking = record.clone();
        let config = std::sync::Arc::make_mut(&mut asking.config);
        config.ports = wanted(record);
        config.publish_all = false;
        for (port, bindings) in &mut config.ports {
            let chosen = record
                .publications
                .iter()
                .find_map(|there| host_port(there, port));
            for binding in bindings
                .iter_mut()
                .filter(|binding| binding.host_ports.is_empty())
            {
                binding.host_ports = chosen.map(|chosen| chosen.to_string()).unwrap_or_default();
            }
            // Those at addresses of the other family have been published, or cannot be.
            bindings.retain(|binding| {
                host_address(&binding.host).is_ok_and(|host| {
                    host.is_none_or(|host| {
                        new.iter().any(|way| way.target.is_ipv6() == host.is_ipv6())
                    })
                })
            });
        }
        let reserved = self.networks.reserve_ports(&asking, &new);
        let reserved = reserved.map_err(|error| self.whose_port(record, error))?;
        record.publications.extend(reserved.publications);
        self.networks.hold_ports(&record.id, reserved.sockets);
        Ok(())
    }
}

/// The host's port of one of a container's, if it is published.
fn host_port(publication: &Publication, port: &Port) -> Option<u16> {
    publication.host?;
    let offset = port.number.checked_sub(publication.target_port)?;
    let found = publication.host_ports.start().checked_add(offset)?;
    let same = publication.protocol.as_str() == port.protocol;
    (same && publication.host_ports.contains(&found)).then_some(found)
}

impl Networks {
    /// Reserves the host's ports for a container.
    ///
    /// # Errors
    /// What is wrong with the request, or why a port cannot be had.
    pub(super) fn reserve_ports(
        &self,
        record: &Record,
        ways: &[Way],
    ) -> Result<Published, PublishError> {
        let ports = wanted(record);
        if ports.is_empty() || ways.is_empty() {
            return Ok(Published::default());
        }
        reachable(&ports, ways)?;
        let hosts = |asked: Option<IpAddr>| self.hosts(asked, ways);
        let mut groups = groups(&ports, &hosts)?;
        bound_relays(&mut groups, ways)?;
        let mut publications = Vec::new();
        let mut requests = Vec::new();
        let mut translated = Vec::new();
        for group in &groups {
            if group.hosts.is_empty() {
                continue;
            }
            requests.push(PortRequest {
                protocol: group.protocol,
                hosts: group.hosts.clone(),
                host_ports: group.host_ports.clone(),
                count: group.count,
            });
            translated.push(group);
        }
        let reserved = ports::reserve(&requests).map_err(PublishError::Ports)?;
        for (group, found) in translated.iter().zip(&reserved.ports) {
            for host in &group.hosts {
                let way = leading(*host, ways);
                publications.extend(way.map(|way| Publication {
                    network: way.network.clone(),
                    protocol: group.protocol,
                    host: Some(*host),
                    host_ports: found.clone(),
                    target: way.target,
                    target_port: group.first,
                    host_firewall: self.config.host_firewall,
                }));
            }
        }
        for way in ways.iter().filter(|way| way.mode == GatewayMode::Routed) {
            publications.extend(groups.iter().map(|group| Publication {
                network: way.network.clone(),
                protocol: group.protocol,
                host: None,
                host_ports: group.first..=group.first.saturating_add(group.count - 1),
                target: way.target,
                target_port: group.first,
                host_firewall: false,
            }));
        }
        let mut sockets = reserved.sockets;
        // Those that may be served come first.
        sockets.sort_by_cached_key(|socket| {
            let at = rustix::net::getsockname(socket).and_then(SocketAddrV6::try_from);
            at.is_err()
        });
        sockets.truncate(MOST_HELD);
        Ok(Published {
            publications,
            sockets,
        })
    }

    /// Keeps ports of a container that were reserved after it was started: its shim has no hand free.
    pub(super) fn hold_ports(&self, container: &str, sockets: Vec<OwnedFd>) {
        if !sockets.is_empty() {
            let mut held = self.held();
            held.entry(container.to_owned())
                .or_default()
                .extend(sockets);
        }
    }

    /// Lets them go.
    pub(super) fn release_ports(&self, container: &str) {
        drop(self.held().remove(container));
    }

    /// Keeps those of a container's ports again that an earlier daemon kept: its shim's are taken.
    pub(super) fn hold_again(&self, record: &Record) {
        let mut sockets = Vec::new();
        for publication in &record.publications {
            let Some(host) = publication.host else {
                continue;
            };
            for port in publication.host_ports.clone().take(MOST_HELD) {
                let request = PortRequest {
                    protocol: publication.protocol,
                    hosts: vec![host],
                    host_ports: Some(port..=port),
                    count: 1,
                };
                if let Ok(reserved) = ports::reserve(&[request]) {
                    sockets.extend(reserved.sockets);
                }
            }
        }
        sockets.truncate(MOST_HELD);
        self.hold_ports(&record.id, sockets);
    }

    /// The host's addresses for a binding, as far as something can come in there.
    fn hosts(&self, asked: Option<IpAddr>, ways: &[Way]) -> Vec<IpAddr> {
        let nat = |v6: bool| {
            ways.iter().find(|way| {
                way.target.is_ipv6() == v6
                    && matches!(way.mode, GatewayMode::Nat | GatewayMode::NatUnprotected)
            })
        };
        let reached = |v6: bool| {
            let relayed = || v6 && !ways.iter().any(|way| way.target.is_ipv6());
            nat(v6).is_some() || relayed() && nat(false).is_some()
        };
        let of_network = ways.iter().find_map(|way| way.binding);
        let host = asked.or(of_network).or(self.config.publish_address);
        match host {
            Some(host) if asked.is_some() || !host.is_unspecified() => {
                let is_reached = reached(host.is_ipv6());
                is_reached.then_some(host).into_iter().collect()
            }
            _ => {
                let v4 = nat(false).map(|_| IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                let v6 = nat(true).is_some() || reached(true) && has_ipv6();
                let v6 = v6.then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
                v4.into_iter().chain(v6).collect()
            }
        }
    }
}

/// Whether anything can come to the host by IPv6.
fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The way that an address of the host's leads by: one of its family, or for IPv6 by a relay.
pub(super) fn leading(host: IpAddr, ways: &[Way]) -> Option<&Way> {
    let nat = |way: &Way| matches!(way.mode, GatewayMode::Nat | GatewayMode::NatUnprotected);
    let same = |way: &&Way| way.target.is_ipv6() == host.is_ipv6();
    let relayed = |way: &&Way| host.is_ipv6() && way.target.is_ipv4() && nat(way);
    let of_family = ways.iter().find(same);
    of_family.or_else(|| ways.iter().find(relayed))
}

/// Ports that nobody asked to have at IPv6 addresses are not there when they cannot be relayed.
///
/// # Errors
/// For those that were asked for.
fn bound_relays(groups: &mut [Wanted], ways: &[Way]) -> Result<()> {
    if ways.iter().any(|way| way.target.is_ipv6()) {
        return Ok(());
    }
    let mut left = MOST_RELAYED;
    for group in groups {
        let Some(host) = group.hosts.iter().copied().find(IpAddr::is_ipv6) else {
            continue;
        };
        let count = usize::from(group.count);
        match group.protocol != Protocol::Sctp && count <= left {
            true => left -= count,
            false if group.hosts.len() > 1 => group.hosts.retain(IpAddr::is_ipv4),
            false => {
                return Err(invalid(format!(
                    "cannot publish {}/{} at {host}: for a container without IPv6 that is possible for {MOST_RELAYED} ports of tcp and udp only",
                    group.first,
                    group.protocol.as_str()
                )));
            }
        }
    }
    Ok(())
}

/// An address of one family leads to the same family, and one of IPv6 to IPv4 by a relay.
fn reachable(ports: &BTreeMap<Port, Vec<PortBinding>>, ways: &[Way]) -> Result<()> {
    for (port, binding) in ports
        .iter()
        .flat_map(|(port, all)| all.iter().map(move |one| (port, one)))
    {
        let Some(host) = host_address(&binding.host)? else {
            continue;
        };
        if leading(host, ways).is_none() {
            let family = if host.is_ipv6() { "IPv6" } else { "IPv4" };
            return Err(invalid(format!(
                "cannot publish {}/{} at {host}: the container has no {family} address in a network that leads out",
                port.number, port.protocol
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings(texts: &[(u16, &str, &str)]) -> BTreeMap<Port, Vec<PortBinding>> {
        let mut ports: BTreeMap<Port, Vec<PortBinding>> = BTreeMap::new();
        for (number, host, host_ports) in texts {
            let port = Port {
                number: *number,
                protocol: "tcp".to_owned(),
            };
            ports.entry(port).or_default().push(PortBinding {
                host: (*host).to_owned(),
                host_ports: (*host_ports).to_owned(),
            });
        }
        ports
    }

    fn grouped(texts: &[(u16, &str, &str)]) -> Vec<(u16, u16, Option<RangeInclusive<u16>>)> {
        let any = |asked: Option<IpAddr>| vec![asked.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))];
        let groups = groups(&bindings(texts), &any).unwrap();
        groups
            .into_iter()
            .map(|w| (w.first, w.count, w.host_ports))
            .collect()
    }

    #[test]
    fn what_follows_one_another_is_one() {
        assert_eq!(
            grouped(&[
                (80, "", "8000"),
                (81, "", "8001"),
                (82, "", "8002"),
                (84, "", "8004")
            ]),
            [(80, 3, Some(8000..=8002)), (84, 1, Some(8004..=8004))]
        );
        assert_eq!(
            grouped(&[(80, "", ""), (81, "", "")]),
            [(80, 1, None), (81, 1, None)]
        );
        assert_eq!(
            grouped(&[(80, "", "8000-8010")]),
            [(80, 1, Some(8000..=8010))]
        );
        assert_eq!(
            grouped(&[(80, "127.0.0.1", "8000"), (81, "", "8001")]).len(),
            2
        );
        assert_eq!(grouped(&[(80, "", "0")]), [(80, 1, None)]);
        let thousand: Vec<_> = (0..1000_u16)
            .map(|n| (1000 + n, (20_000 + n).to_string()))
            .collect();
        let thousand: Vec<_> = thousand
            .iter()
            .map(|(port, host)| (*port, "", host.as_str()))
            .collect();
        assert_eq!(grouped(&thousand), [(1000, 1000, Some(20_000..=20_999))]);
    }

    #[test]
    fn nonsense_is_refused() {
        for (host, ports) in [
            ("x", ""),
            ("", "x"),
            ("", "9-8"),
            ("", "70000"),
            ("", "0-5"),
            ("", "-"),
        ] {
            assert!(
                check(&bindings(&[(80, host, ports)])).is_err(),
                "{host} {ports}"
            );
        }
        assert!(
            check(&bindings(&[
                (80, "[::1]", "8000-8001"),
                (81, "127.0.0.1", "")
            ]))
            .is_ok()
        );
    }
}
