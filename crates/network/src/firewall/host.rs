//! Published ports about which the host's own rules for incoming packets decide (ufw, firewalld, plain
//! nftables), as if a program of the host's listened there. The client's address stays its own.
//!
//! ```text
//!  new packet ─► prerouting: not translated ─► input of others: drop, or on ─► our late input:
//!      copy by hull-fw0, original dropped                                          │
//!  hull-fw1 ◄──────────────────────────────────────────────────────────────────────┘
//!      └─► prerouting: translated ─► forward ─► the endpoint
//! ```
//!
//! The rest of the connection follows what conntrack learnt from the copy and never comes to the input
//! hook again: rules that only look at established connections, and rates of the host's, do not apply
//! to it. Connections of the host itself are translated at once. Copies are made in families ip and
//! ip6 only, hence two tables of their own. Kernel: `CONFIG_NFT_DUP_IPV4`, `CONFIG_NFT_DUP_IPV6`.

use super::layout::not_from_loopback6;
use crate::error::{file, link};
use crate::model::Publication;
use crate::{Error, Mac};
use hull_linux::netlink::{self, Address, LinkChange, LinkKind, NewLink, VethPeer};
use hull_linux::nftables::{
    Batch, Chain, Element, Expression, Family, Field, Hook, Register, Rule, Set, Socket, Source,
    Table, Value, state,
};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, BorrowedFd};

/// After everything that filters, before conntrack takes note of the connection (`INT_MAX`, for IPv6 one less).
const LATE: i32 = i32::MAX - 16;
/// Of no other use: on the pair alone, and never asked for.
const PEER4: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 2);
/// The other end's own: without one the kernel takes loose checks of sources for strict ones.
const OWN4: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 1);
const PEER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x6875, 0x6c6c, 2);
/// "hull", and which end.
const MACS: [Mac; 2] = [
    Mac([0x02, 0x68, 0x75, 0x6c, 0x6c, 0]),
    Mac([0x02, 0x68, 0x75, 0x6c, 0x6c, 1]),
];
/// A device's name has 15 bytes.
const MAX_PREFIX: usize = 11;

/// The ports of one daemon about which the host's rules decide.
#[derive(Debug)]
pub(super) struct HostRules {
    /// That of the daemon's own table.
    name: String,
    /// In which the devices are.
    namespace: Option<File>,
    /// What the tables hold; `None`: nobody knows.
    installed: Option<Vec<Publication>>,
}

impl HostRules {
    /// Touches nothing yet. The devices will be in the network namespace of the calling thread.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: fs_err::File::open("/proc/thread-self/ns/net")
                .ok()
                .map(fs_err::File::into_file),
            installed: None,
        }
    }

    /// Publishes exactly these; those without [`Publication::host_firewall`] or without a host address, and those
    /// that have a socket with a program behind it, are passed over. Tables and devices are there while there are such ports. What an earlier
    /// daemon has left is replaced at the first call.
    ///
    /// # Errors
    /// [`Error::HostFirewall`] when the kernel cannot copy packets, [`Error::Link`], [`Error::File`].
    pub(super) fn set<'a>(
        &mut self,
        socket: &mut Socket,
        publications: impl IntoIterator<Item = &'a Publication>,
    ) -> Result<(), Error> {
        let wanted: Vec<Publication> = publications
            .into_iter()
            .filter(|p| p.host_firewall && p.host.is_some() && !p.is_relayed())
            .cloned()
            .collect();
        if self.installed.as_ref() == Some(&wanted) {
            return Ok(());
        }
        self.install(socket, wanted)
    }

    /// Does it again: somebody has flushed the tables.
    ///
    /// # Errors
    /// As [`HostRules::set`].
    pub(super) fn again(&mut self, socket: &mut Socket) -> Result<(), Error> {
        match self.installed.take() {
            Some(wanted) => self.install(socket, wanted),
            None => Ok(()),
        }
    }

    fn install(&mut self, socket: &mut Socket, wanted: Vec<Publication>) -> Result<(), Error> {
        self.installed = None;
        let names = device_names(&self.name);
        let mut batch = Batch::default();
        for table in tables(&self.name) {
            batch.remove_table(&table);
        }
        if wanted.is_empty() {
            commit(socket, batch)?;
            self.inside(|_| remove_pair(&names))?;
        } else {
            let device = self.inside(|namespace| ensure_pair(&names, namespace))?;
            for table in tables(&self.name) {
                let v6 = table.family == Family::Ipv6;
                write_table(&mut batch, &table, device, &names, &elements(&wanted, v6));
            }
            commit(socket, batch)?;
        }
        self.installed = Some(wanted);
        Ok(())
    }
}

impl HostRules {
    /// Does something where the devices are.
    fn inside<T: Send>(
        &self,
        work: impl FnOnce(BorrowedFd<'_>) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let namespace = self.namespace.as_ref().ok_or_else(gone);
        let namespace = namespace
            .map_err(file("open", "/proc/thread-self/ns/net"))?
            .as_fd();
        netlink::inside(namespace, || work(namespace))
            .map_err(link("enter", "the network namespace of the firewall"))?
    }
}

/// The tables of IPv4 and IPv6 of a daemon whose own has this name.
pub(super) fn tables(name: &str) -> [Table; 2] {
    let name = format!("{name}-host");
    [Family::Ipv4, Family::Ipv6].map(|family| Table::new(family, &name))
}

/// Whether the kernel can do it. Changes nothing.
///
/// # Errors
/// [`Error::HostFirewall`], [`Error::Link`].
pub fn probe() -> Result<(), Error> {
    let mut batch = Batch::default();
    for family in [Family::Ipv4, Family::Ipv6] {
        let table = Table::new(family, &format!("hull-probe-{}", std::process::id()));
        batch.add_table(&table);
        batch.add_chain(&table, &Chain::filter("input", Hook::Input, LATE));
        batch.add_rule(&table, "input", &duplicate(Rule::new(), family, 1));
        batch.remove_table(&table);
    }
    let mut socket = Socket::open().map_err(link("open", "a netfilter socket"))?;
    commit(&mut socket, batch)
}

fn commit(socket: &mut Socket, batch: Batch) -> Result<(), Error> {
    socket.commit(batch).map_err(|error| match error.kind() {
        // An expression that the kernel does not know.
        std::io::ErrorKind::NotFound => Error::HostFirewall { source: error },
        _ => link("publish ports by", "the host's rules")(error),
    })
}

fn device_names(name: &str) -> [String; 2] {
    let prefix: String = name
        .chars()
        .filter(char::is_ascii)
        .take(MAX_PREFIX)
        .collect();
    [format!("{prefix}-fw0"), format!("{prefix}-fw1")]
}

/// Makes the pair unless it is there; the number of the end by which copies leave.
fn ensure_pair(names: &[String; 2], namespace: BorrowedFd<'_>) -> Result<u32, Error> {
    let error = || link("set up", names[0].as_str());
    let mut socket = netlink::Socket::open().map_err(error())?;
    let mut create = netlink::Batch::new();
    create.create_link(&NewLink {
        name: &names[0],
        kind: LinkKind::Veth(VethPeer {
            name: &names[1],
            mac: Some(MACS[1]),
            namespace,
        }),
        mac: Some(MACS[0]),
        mtu: None,
        master: None,
        lower: None,
        group: 0,
        namespace: None,
        up: false,
    });
    unless_there(socket.run(create)).map_err(error())?;
    settings(names)?;
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    let mut batch = netlink::Batch::new();
    batch
        .change_named(&names[1], &up)
        .change_named(&names[0], &up);
    let device = socket.run_and_look(batch, &names[0]).map_err(error())?;
    let end = socket.link(&names[1]).map_err(error())?;
    neighbours(&mut socket, device.index, end.index).map_err(error())?;
    Ok(device.index)
}

fn unless_there(done: Result<(), netlink::Error>) -> Result<(), netlink::Error> {
    match done {
        Err(error) if !error.is_existing() => Err(error),
        _ => Ok(()),
    }
}

fn settings(names: &[String; 2]) -> Result<(), Error> {
    // Loose: packets come in there that the host would send elsewhere. Whatever is set for all devices,
    // the greater number counts (ip-sysctl).
    let path = format!("/proc/sys/net/ipv4/conf/{}/rp_filter", names[1]);
    fs_err::write(&path, "2").map_err(file("write", path))?;
    // No search for routers.
    for name in names {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/accept_ra");
        if fs_err::metadata(&path).is_ok() {
            fs_err::write(&path, "0").map_err(file("write", path))?;
        }
    }
    Ok(())
}

fn neighbours(socket: &mut netlink::Socket, device: u32, end: u32) -> Result<(), netlink::Error> {
    let mut own = netlink::Batch::new();
    own.add_address(&Address {
        device: end,
        address: OWN4.into(),
        prefix: 32,
    });
    unless_there(socket.run(own))?;
    // Without a route, the kernel would look for the packet's own destination there.
    let mut batch = netlink::Batch::new();
    batch
        .set_neighbour_route(device, PEER4.into())
        .set_neighbour(device, PEER4.into(), MACS[1]);
    socket.run(batch)?;
    let mut batch = netlink::Batch::new();
    batch.set_neighbour(device, PEER6.into(), MACS[1]);
    if let Err(refused) = socket.run(batch) {
        // A host without IPv6 publishes nothing over it.
        let error = &refused as &dyn std::error::Error;
        tracing::debug!(error, "no IPv6 by the host's rules");
    }
    Ok(())
}

fn remove_pair(names: &[String; 2]) -> Result<(), Error> {
    let error = || link("remove", names[0].as_str());
    let mut socket = netlink::Socket::open().map_err(error())?;
    match socket.delete_link(&names[0]) {
        Err(failed) if !failed.is_absent() => Err(error()(failed)),
        _ => Ok(()),
    }
}

/// What a table's maps have.
#[derive(Debug, Default)]
struct Elements {
    /// By protocol and port, or by address, protocol and port: address and port.
    single: [Vec<Element>; 2],
    /// The same for ranges whose ports stay as they are: address.
    ranges: [Vec<Element>; 2],
}

const SINGLE: [&str; 2] = ["any", "at"];
const RANGES: [&str; 2] = ["anyrange", "atrange"];

fn elements(publications: &[Publication], v6: bool) -> Elements {
    let mut all = Elements::default();
    for publication in publications {
        let Some(host) = publication.host.filter(|host| host.is_ipv6() == v6) else {
            continue;
        };
        let at = usize::from(!host.is_unspecified());
        let key = |port: u16| {
            let place = match at {
                0 => Value::default(),
                _ => Value::from(host),
            };
            place.protocol(publication.protocol.number()).port(port)
        };
        let (first, last) = (
            *publication.host_ports.start(),
            *publication.host_ports.end(),
        );
        if first == publication.target_port && last > first {
            let range = Element::range(key(first), key(last));
            all.ranges[at].push(range.value(publication.target));
            continue;
        }
        let pairs = publication
            .host_ports
            .clone()
            .zip(publication.target_port..);
        all.single[at].extend(pairs.map(|(host_port, port)| {
            let target = Value::from(publication.target).port(port);
            Element::key(key(host_port)).value(target)
        }));
    }
    all
}

fn write_table(
    batch: &mut Batch,
    table: &Table,
    device: u32,
    names: &[String; 2],
    elements: &Elements,
) {
    let (address, destination) = match table.family {
        Family::Ipv6 => (Field::Ipv6, Source::Destination6),
        _ => (Field::Ipv4, Source::Destination4),
    };
    let place = [destination, Source::Protocol, Source::DestinationPort];
    let fields = [address, Field::Protocol, Field::Port];
    batch.add_table(table);
    batch.add_chain(table, &Chain::nat("prerouting", Hook::Prerouting, -100));
    batch.add_chain(table, &Chain::nat("output", Hook::Output, -100));
    batch.add_chain(table, &Chain::regular("publish"));
    batch.add_chain(table, &Chain::filter("input", Hook::Input, LATE));
    let from_pair = Rule::new().in_device(&names[1]);
    batch.add_rule(table, "prerouting", &from_pair.jump("publish"));
    let own = Rule::new().to_this_host(true);
    if table.family == Family::Ipv6 {
        // As in the daemon's own table: a socket answers there.
        let answered = not_from_loopback6();
        batch.add_rule(table, "output", &answered);
        batch.add_rule(table, "input", &answered);
    }
    batch.add_rule(table, "output", &own.jump("publish"));
    // The one address before all addresses, as in the daemon's own table.
    for at in [1, 0] {
        let (key, fields) = match at {
            0 => (&place[1..], &fields[1..]),
            _ => (&place[..], &fields[..]),
        };
        let maps = [
            (
                Set::new(SINGLE[at], fields).to(&[address, Field::Port]),
                &elements.single[at],
                true,
            ),
            (
                Set::ranges(RANGES[at], fields).to(&[address]),
                &elements.ranges[at],
                false,
            ),
        ];
        for (map, members, port) in maps {
            batch.add_set(table, &map);
            batch.add_elements(table, &map, members);
            let translate = Rule::new()
                .map(key, &map.name)
                .destination_nat(table.family, port);
            batch.add_rule(table, "publish", &translate);
            let copy = Rule::new()
                .not_in_device(&names[1])
                .state(state::NEW)
                .map(key, &map.name);
            let copy = duplicate(copy, table.family, device)
                .drop()
                .comment("the host's rules let it pass: on to the container");
            batch.add_rule(table, "input", &copy);
        }
    }
}

/// Sends a copy by a device.
fn duplicate(rule: Rule, family: Family, device: u32) -> Rule {
    let (to, by) = (Register(0), Register(4));
    let peer: IpAddr = match family {
        Family::Ipv6 => PEER6.into(),
        _ => PEER4.into(),
    };
    rule.with(Expression::Immediate(
        to,
        Value::from(peer).bytes().to_vec(),
    ))
    .with(Expression::Immediate(by, device.to_ne_bytes().to_vec()))
    .with(Expression::Duplicate {
        address: to,
        device: by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    #[test]
    fn devices_have_names_that_fit() {
        assert_eq!(device_names("hull"), ["hull-fw0", "hull-fw1"]);
        assert!(
            device_names(&"x".repeat(40))
                .iter()
                .all(|name| name.len() <= 15)
        );
    }

    #[test]
    fn a_range_is_one_element() {
        let publication = |host: &str, ports, target_port| Publication {
            network: String::new(),
            protocol: Protocol::Tcp,
            host: Some(host.parse().unwrap()),
            host_ports: ports,
            target: if host.contains(':') {
                "fd00::2"
            } else {
                "10.0.0.2"
            }
            .parse()
            .unwrap(),
            target_port,
            host_firewall: true,
        };
        let all = [
            publication("0.0.0.0", 8000..=8999, 8000),
            publication("192.0.2.1", 80..=81, 8080),
            publication("::", 443..=443, 443),
        ];
        let (v4, v6) = (elements(&all, false), elements(&all, true));
        assert_eq!((v4.ranges[0].len(), v4.single[0].len()), (1, 0));
        assert_eq!((v4.ranges[1].len(), v4.single[1].len()), (0, 2));
        assert_eq!((v6.ranges[0].len(), v6.single[0].len()), (0, 1));
    }
}
