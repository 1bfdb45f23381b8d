//! Connections that the kernel follows (conntrack), by ctnetlink: nf_conntrack_netlink, Linux 2.6.14.

use crate::netlink::Error;
use crate::netlink::message::{ACK, Answer, Message, attributes};
use crate::nftables::{Family, Socket, header};
use std::net::{IpAddr, SocketAddr};

/// `NFNL_SUBSYS_CTNETLINK` in the upper byte of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;
const STATISTICS: u16 = 5;
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
    protocol: u8,
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
    let mut found = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        found.extend(list(socket, family.number(), Some(protocol))?);
    }
    found.retain(|found| found.protocol == protocol && stale(&found.flow));
    delete(socket, &found)
}

/// Forgets all connections, of whatever protocol, that begin at one of these addresses or are answered
/// by it; how many there were. Translated ones are known by the address behind the translation. Costs
/// a walk through all connections of the machine: some milliseconds.
///
/// # Errors
/// As [`forget`].
pub fn forget_addresses(
    socket: &mut Socket,
    stale: impl Fn(IpAddr) -> bool,
) -> Result<usize, Error> {
    if count(socket)? == 0 {
        return Ok(0);
    }
    // Unfiltered: the kernel's filter by address tells all the others where they are of IPv6 (6.18).
    let mut found = list(socket, 0, None)?;
    found.retain(|Found { flow, .. }| stale(flow.source.ip()) || stale(flow.answered_by.ip()));
    delete(socket, &found)
}

/// The connections of the socket's network namespace. Linux 3.6 (`IPCTNL_MSG_CT_GET_STATS`).
fn count(socket: &mut Socket) -> Result<u32, Error> {
    const ENTRIES: u16 = 1;
    let mut count = 0;
    let message = Message::new(SUBSYSTEM | STATISTICS, 0, &header(0, 0));
    let read = |answer: &Answer<'_>| {
        let mut all = attributes(answer.payload.get(4..)?);
        let (_, value) = all.find(|(kind, _)| *kind == ENTRIES)?;
        count = u32::from_be_bytes(value.try_into().ok()?);
        Some(())
    };
    socket
        .channel()
        .ask(message, read)
        .map_err(|error| Error::new("count", "connections", error))?;
    Ok(count)
}

/// Removes connections; how many were still there.
fn delete(socket: &mut Socket, found: &[Found]) -> Result<usize, Error> {
    let mut count = 0;
    for found in found {
        let message = Message::new(SUBSYSTEM | DELETE, ACK, &header(found.family, 0));
        let message = found
            .attributes
            .iter()
            .fold(message, |m, (kind, value)| m.attribute(*kind, value));
        match socket.channel().ask(message, |_| Some(())) {
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

/// Those of a family, or of all for 0. Those of other protocols are left out by the kernel since 5.8.
fn list(socket: &mut Socket, family: u8, protocol: Option<u8>) -> Result<Vec<Found>, Error> {
    const PROTOCOL: u32 = 1 << 3;
    let request = |flags| {
        let message = Message::new(SUBSYSTEM | GET, flags, &header(family, 0));
        let Some(protocol) = protocol else {
            return message;
        };
        message
            .nested(TUPLE_ORIGINAL | NESTED, |m| {
                m.nested(2 | NESTED, |m| m.attribute(1, &[protocol]))
            })
            .nested(FILTER | NESTED, |m| m.number(1, PROTOCOL))
    };
    socket
        .channel()
        .dump(request, read)
        .map_err(|error| Error::new("list", "connections", error))
}

fn read(payload: &[u8]) -> Option<Found> {
    let family = *payload.first()?;
    let (mut original, mut reply, mut kept) = (None, None, Vec::new());
    for (kind, value) in attributes(payload.get(4..)?) {
        match kind {
            TUPLE_ORIGINAL => original = tuple(value),
            TUPLE_REPLY => reply = tuple(value),
            _ => {}
        }
        if matches!(kind, TUPLE_ORIGINAL | ID | ZONE) {
            kept.push((kind, value.to_vec()));
        }
    }
    let ((protocol, source, destination), (_, answered_by, answered_to)) = (original?, reply?);
    Some(Found {
        flow: Flow {
            source,
            destination,
            answered_by,
            answered_to,
        },
        family,
        protocol,
        attributes: kept,
    })
}

/// Protocol, source and destination; protocols without ports have port 0.
fn tuple(bytes: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let part = |bytes, wanted| {
        attributes(bytes)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value): (u16, &[u8])| value)
    };
    let (ip, ports) = (part(bytes, 1)?, part(bytes, 2)?);
    let protocol = *part(ports, 1)?.first()?;
    let address = |v4, v6| -> Option<IpAddr> {
        if let Some(bytes) = part(ip, v4) {
            return Some(<[u8; 4]>::try_from(bytes).ok()?.into());
        }
        Some(<[u8; 16]>::try_from(part(ip, v6)?).ok()?.into())
    };
    let port = |kind| {
        let bytes = part(ports, kind).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u16::from_be_bytes)
    };
    Some((
        protocol,
        SocketAddr::new(address(1, 3)?, port(2)),
        SocketAddr::new(address(2, 4)?, port(3)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{self, flag};
    use crate::nftables::{Batch, Chain, Hook, Rule, Table, state};
    use std::net::UdpSocket;

    /// In a network namespace that follows connections.
    fn alone(work: impl FnOnce(&mut Socket) + Send) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let inside = || {
            namespace::unshare(flag::NETWORK).unwrap();
            namespace::bring_up_loopback().unwrap();
            let mut socket = Socket::open().unwrap();
            // Conntrack begins with the first rule that asks for it.
            let (table, mut batch) = (Table::new(Family::Inet, "t"), Batch::default());
            batch.add_table(&table);
            batch.add_chain(&table, &Chain::filter("c", Hook::Output, 0));
            batch.add_rule(&table, "c", &Rule::new().state(state::NEW).accept());
            socket.commit(batch).unwrap();
            work(&mut socket);
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }

    fn send(from: &str, to: impl std::net::ToSocketAddrs) {
        UdpSocket::bind((from, 0))
            .unwrap()
            .send_to(b"x", to)
            .unwrap();
    }

    #[test]
    fn connections_are_listed_and_forgotten() {
        alone(|socket| {
            let servers: Vec<_> = ["127.0.0.1:0", "127.0.0.1:0", "[::1]:0"]
                .iter()
                .map(|at| UdpSocket::bind(at).unwrap())
                .collect();
            for server in &servers {
                let to = server.local_addr().unwrap();
                send(&to.ip().to_string(), to);
            }
            let first = servers[0].local_addr().unwrap();
            let stale = |flow: &Flow| flow.destination == first && flow.answered_by == first;
            assert_eq!(forget(socket, 6, |_| true).unwrap(), 0);
            assert_eq!(forget(socket, 17, stale).unwrap(), 1);
            assert_eq!(forget(socket, 17, stale).unwrap(), 0);
            assert_eq!(forget(socket, 17, |_| true).unwrap(), 2);
        });
    }

    #[test]
    fn an_address_has_no_connections_any_more() {
        alone(|socket| {
            let keep = UdpSocket::bind("127.0.0.3:0").unwrap();
            let server = UdpSocket::bind("127.0.0.2:0").unwrap();
            let server6 = UdpSocket::bind("[::1]:0").unwrap();
            let tcp = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
            let ours = |address: IpAddr| ["127.0.0.2", "::1"].contains(&&*address.to_string());
            assert_eq!(forget_addresses(socket, ours).unwrap(), 0);
            let _stream = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
            send("127.0.0.1", keep.local_addr().unwrap());
            send("127.0.0.2", keep.local_addr().unwrap());
            send("127.0.0.1", server.local_addr().unwrap());
            send("::1", server6.local_addr().unwrap());
            assert_eq!(forget_addresses(socket, ours).unwrap(), 4);
            assert_eq!(forget_addresses(socket, ours).unwrap(), 0);
            assert_eq!(forget(socket, 17, |_| true).unwrap(), 1);
        });
    }
}
