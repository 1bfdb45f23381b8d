//! Connections that the kernel follows (conntrack), by ctnetlink: nf_conntrack_netlink, Linux 2.6.14.

use crate::netlink::Error;
use crate::netlink::message::{ACK, Message, attributes};
use crate::nftables::{Family, Socket, header};
use std::net::{IpAddr, SocketAddr};

/// `NFNL_SUBSYS_CTNETLINK` in the upper byte of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const NESTED: u16 = 0x8000;

/// A connection, as far as anybody here asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who began.
    pub source: SocketAddr,
    /// Where its first packet was sent.
    pub destination: SocketAddr,
    /// Who answers: the destination, unless it was translated.
    pub answered_by: SocketAddr,
    /// To whom: the source, unless it was translated.
    pub answered_to: SocketAddr,
}

struct Found {
    flow: Flow,
    family: u8,
    /// What names it in a request.
    attributes: Vec<(u16, Vec<u8>)>,
}

/// Forgets the connections of a transport protocol of which `stale` is true; how many there were. The
/// next packet of such a connection is the first of a new one.
///
/// # Errors
/// Without `CAP_NET_ADMIN` over the socket's network namespace, or in a kernel without ctnetlink.
pub fn forget(
    socket: &mut Socket,
    protocol: u8,
    stale: impl Fn(&Flow) -> bool,
) -> Result<usize, Error> {
    let failed = |error| Error::new("list", "connections", error);
    let mut count = 0;
    for found in list(socket, protocol).map_err(failed)? {
        if !stale(&found.flow) {
            continue;
        }
        let message = Message::new(SUBSYSTEM | DELETE, ACK, &header(found.family, 0));
        let message = found
            .attributes
            .iter()
            .fold(message, |m, (kind, value)| m.attribute(*kind, value));
        match socket.ask(message, |_| Some(())) {
            Ok(()) => count += 1,
            // It ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => {
                let name = format!("connection from {}", found.flow.source);
                return Err(Error::new("forget", name, error));
            }
        }
    }
    Ok(count)
}

fn list(socket: &mut Socket, protocol: u8) -> std::io::Result<Vec<Found>> {
    // The kernel leaves out what we do not ask for since 5.8, one family at a time; before, it tells all.
    const PROTOCOL: u32 = 1 << 3;
    let mut all = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let request = |flags| {
            Message::new(SUBSYSTEM | GET, flags, &header(family.number(), 0))
                .nested(TUPLE_ORIGINAL | NESTED, |m| {
                    m.nested(2 | NESTED, |m| m.attribute(1, &[protocol]))
                })
                .nested(FILTER | NESTED, |m| m.number(1, PROTOCOL))
        };
        all.extend(socket.dump(request, |payload| read(payload, protocol))?);
    }
    Ok(all)
}

fn read(payload: &[u8], protocol: u8) -> Option<Found> {
    let family = *payload.first()?;
    let (mut original, mut reply, mut kept) = (None, None, Vec::new());
    for (kind, value) in attributes(payload.get(4..)?) {
        match kind {
            TUPLE_ORIGINAL => original = tuple(value, protocol),
            TUPLE_REPLY => reply = tuple(value, protocol),
            _ => {}
        }
        if matches!(kind, TUPLE_ORIGINAL | ID | ZONE) {
            kept.push((kind, value.to_vec()));
        }
    }
    let ((source, destination), (answered_by, answered_to)) = (original?, reply?);
    Some(Found {
        flow: Flow {
            source,
            destination,
            answered_by,
            answered_to,
        },
        family,
        attributes: kept,
    })
}

/// Source and destination, unless it is of another protocol.
fn tuple(bytes: &[u8], protocol: u8) -> Option<(SocketAddr, SocketAddr)> {
    let part = |bytes, wanted| {
        attributes(bytes)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value): (u16, &[u8])| value)
    };
    let (ip, ports) = (part(bytes, 1)?, part(bytes, 2)?);
    if part(ports, 1)? != [protocol] {
        return None;
    }
    let address = |v4, v6| -> Option<IpAddr> {
        if let Some(bytes) = part(ip, v4) {
            return Some(<[u8; 4]>::try_from(bytes).ok()?.into());
        }
        Some(<[u8; 16]>::try_from(part(ip, v6)?).ok()?.into())
    };
    let port = |kind| Some(u16::from_be_bytes(part(ports, kind)?.try_into().ok()?));
    Some((
        SocketAddr::new(address(1, 3)?, port(2)?),
        SocketAddr::new(address(2, 4)?, port(3)?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{self, flag};
    use crate::nftables::{Batch, Chain, Hook, Rule, Table, state};
    use std::net::UdpSocket;

    #[test]
    fn connections_are_listed_and_forgotten() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let work = || {
            namespace::unshare(flag::NETWORK).unwrap();
            namespace::bring_up_loopback().unwrap();
            let mut socket = Socket::open().unwrap();
            // Conntrack begins with the first rule that asks for it.
            let (table, mut batch) = (Table::new(Family::Inet, "t"), Batch::default());
            batch.add_table(&table);
            batch.add_chain(&table, &Chain::filter("c", Hook::Output, 0));
            batch.add_rule(&table, "c", &Rule::new().state(state::NEW).accept());
            socket.commit(batch).unwrap();
            let servers: Vec<_> = ["127.0.0.1:0", "127.0.0.1:0", "[::1]:0"]
                .iter()
                .map(|at| UdpSocket::bind(at).unwrap())
                .collect();
            for server in &servers {
                let to = server.local_addr().unwrap();
                let from = SocketAddr::new(to.ip(), 0);
                UdpSocket::bind(from).unwrap().send_to(b"x", to).unwrap();
            }
            let first = servers[0].local_addr().unwrap();
            let stale = |flow: &Flow| flow.destination == first && flow.answered_by == first;
            assert_eq!(list(&mut socket, 17).unwrap().len(), 3);
            assert_eq!(list(&mut socket, 6).unwrap().len(), 0);
            assert_eq!(forget(&mut socket, 17, stale).unwrap(), 1);
            assert_eq!(forget(&mut socket, 17, stale).unwrap(), 0);
            assert_eq!(forget(&mut socket, 17, |_| true).unwrap(), 2);
        };
        std::thread::scope(|scope| scope.spawn(work).join().unwrap());
    }
}
