//! Ports of the host's that are kept for containers: bound sockets that nobody reads.
//!
//! The sockets go to the container's shim, and live exactly as long as the container, whatever becomes
//! of the daemon: no other program can take the port meanwhile, and no other container either.

use crate::Error;
use crate::model::Protocol;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, ipproto, sockopt};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports wanted for one mapping of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// Of the ports.
    pub protocol: Protocol,
    /// The host's addresses, all of which get the same ports: `0.0.0.0` and `::` for a mapping without address.
    pub hosts: Vec<IpAddr>,
    /// `None`: any that are free, of the kernel's ephemeral range. A range wider than `count`: the first
    /// that are free in it.
    pub host_ports: Option<RangeInclusive<u16>>,
    /// How many, one after the other; at least 1.
    pub count: u16,
}

/// What was found.
#[derive(Debug)]
pub struct Reserved {
    /// The ports of each request, in order.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Bound, not listening: as long as one of its copies is open, the port is taken. Ranges of more
    /// than [`HELD`] ports have none, nor has SCTP where the kernel has no sockets for it.
    pub sockets: Vec<OwnedFd>,
}

/// The longest range whose ports are held by sockets.
pub const HELD: u16 = 256;

/// The kernel's default, where it does not say.
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// The last port of those that were given out without being asked for: the next is tried first, so that
/// a port that has just become free is not given to another at once.
static LAST: AtomicU16 = AtomicU16::new(0);

/// Finds free ports and binds them, in the network namespace of the calling thread: first those that are
/// asked for by number, whatever the order of the requests.
///
/// # Errors
/// [`Error::PortInUse`] with the first port of a range that is not free, [`Error::NoPort`],
/// [`Error::Socket`]; nothing is kept then.
pub fn reserve(requests: &[PortRequest]) -> Result<Reserved, Error> {
    let mut found: Vec<_> = requests.iter().map(|_| 0..=0).collect();
    let mut sockets = Vec::new();
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|at| {
        requests.get(*at).map(|request| match &request.host_ports {
            Some(range) => range.len().saturating_sub(request.count.max(1).into()),
            None => usize::MAX,
        })
    });
    // Held until the end, that no two requests get the same; those of long ranges are then let go.
    let mut passing = Vec::new();
    for at in order {
        let Some(request) = requests.get(at) else {
            continue;
        };
        let (ports, bound) = find(request)?;
        match request.count > HELD {
            true => passing.extend(bound),
            false => sockets.extend(bound),
        }
        if let Some(found) = found.get_mut(at) {
            *found = ports;
        }
    }
    Ok(Reserved {
        ports: found,
        sockets,
    })
}

type Found = (RangeInclusive<u16>, Vec<OwnedFd>);

fn find(request: &PortRequest) -> Result<Found, Error> {
    let count = request.count.max(1);
    match &request.host_ports {
        Some(range) => first_free(request, range, count).and_then(|found| {
            found.ok_or_else(|| {
                Error::Invalid(format!(
                    "{count} ports do not fit into {}-{}",
                    range.start(),
                    range.end()
                ))
            })
        }),
        None => any(request, count),
    }
}

/// Any ports: behind the last that were given out, then from the beginning.
fn any(request: &PortRequest, count: u16) -> Result<Found, Error> {
    let all = ephemeral();
    let next = LAST.load(Ordering::Relaxed).saturating_add(1);
    let later = next.max(*all.start())..=*all.end();
    let earlier = *all.start()..=next.saturating_add(count).min(*all.end());
    for range in [later, earlier] {
        match first_free(request, &range, count) {
            Ok(Some(found)) => {
                LAST.store(*found.0.end(), Ordering::Relaxed);
                return Ok(found);
            }
            Ok(None) | Err(Error::PortInUse { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoPort {
        ports: all,
        protocol: request.protocol,
    })
}

/// The first ports of a range that are free at all addresses; `None` when it is too short.
fn first_free(
    request: &PortRequest,
    range: &RangeInclusive<u16>,
    count: u16,
) -> Result<Option<Found>, Error> {
    let mut start = *range.start();
    let mut refused = None;
    while let Some(end) = start
        .checked_add(count - 1)
        .filter(|end| end <= range.end())
    {
        match bind_all(request, start..=end) {
            Ok(sockets) => return Ok(Some((start..=end, sockets))),
            Err(error @ Error::PortInUse { port, .. }) => {
                refused.get_or_insert(error);
                match port.checked_add(1) {
                    Some(next) => start = next,
                    None => break,
                }
            }
            Err(error) => return Err(error),
        }
    }
    refused.map_or(Ok(None), Err)
}

fn ephemeral() -> RangeInclusive<u16> {
    let text = fs_err::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let numbers = text.ok().and_then(|text| {
        let mut words = text.split_whitespace().map(str::parse);
        Some(words.next()?.ok()?..=words.next()?.ok()?)
    });
    numbers.unwrap_or(EPHEMERAL)
}

fn bind_all(request: &PortRequest, ports: RangeInclusive<u16>) -> Result<Vec<OwnedFd>, Error> {
    let mut sockets = Vec::new();
    for port in ports {
        for host in &request.hosts {
            sockets.extend(bind(request.protocol, *host, port)?);
        }
    }
    Ok(sockets)
}

/// `None` where there is nothing to hold: a host without IPv6, a kernel without SCTP.
fn bind(protocol: Protocol, host: IpAddr, port: u16) -> Result<Option<OwnedFd>, Error> {
    let at = SocketAddr::new(host, port);
    match bound(protocol, at, false) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) if protocol == Protocol::Sctp => {
            Ok(None)
        }
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
            if host.is_ipv6() && host.is_unspecified() =>
        {
            Ok(None)
        }
        Err(Errno::ADDRINUSE) => match protocol {
            Protocol::Tcp => bound_beside_old_connections(at).map(Some),
            _ => Err(Errno::ADDRINUSE),
        }
        .map_err(|_| Error::PortInUse {
            host,
            port,
            protocol,
        }),
        Err(error) => Err(Error::Socket {
            host,
            port,
            protocol,
            source: error.into(),
        }),
    }
}

fn bound(protocol: Protocol, at: SocketAddr, share: bool) -> rustix::io::Result<OwnedFd> {
    let family = match at {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, protocol) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol))?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::DGRAM {
        // Nobody reads what may come to it; the kernel makes the least of it that it can.
        sockopt::set_socket_recv_buffer_size(&socket, 1)?;
    }
    if share {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &at)?;
    Ok(socket)
}

/// A server that has just ended leaves connections behind for a minute (`TIME-WAIT`), which only those
/// who are willing to share a port get past. Whether it is nothing but that is told by listening,
/// which nobody can share; a moment later it no longer does.
fn bound_beside_old_connections(at: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let socket = bound(Protocol::Tcp, at, true)?;
    rustix::net::listen(&socket, 0)?;
    rustix::net::shutdown(&socket, Shutdown::Read)?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_linux::namespace::{self, flag};
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    fn alone(work: impl FnOnce() + Send) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let inside = || {
            namespace::unshare(flag::NETWORK).unwrap();
            namespace::bring_up_loopback().unwrap();
            work();
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }

    fn request(hosts: &[&str], ports: Option<RangeInclusive<u16>>, count: u16) -> PortRequest {
        PortRequest {
            protocol: Protocol::Tcp,
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            host_ports: ports,
            count,
        }
    }

    const ALL: &[&str] = &["0.0.0.0", "::"];

    #[test]
    fn ports_are_held_until_the_sockets_are_closed() {
        alone(|| {
            let exact = request(ALL, Some(8080..=8080), 1);
            let held = reserve(std::slice::from_ref(&exact)).unwrap();
            assert_eq!(held.ports, [8080..=8080]);
            assert_eq!(held.sockets.len(), 2);
            let error = reserve(std::slice::from_ref(&exact)).unwrap_err();
            assert!(
                matches!(error, Error::PortInUse { port: 8080, .. }),
                "{error}"
            );
            assert!(TcpListener::bind("127.0.0.1:8080").is_err());
            assert!(TcpListener::bind("[::1]:8080").is_err());
            let udp = PortRequest {
                protocol: Protocol::Udp,
                ..exact.clone()
            };
            reserve(&[udp]).unwrap();
            // Nobody is served by it.
            let refused = TcpStream::connect("127.0.0.1:8080").unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            drop(held);
            reserve(&[exact]).unwrap();
        });
    }

    #[test]
    fn programs_of_the_host_keep_their_ports() {
        alone(|| {
            let _tcp = TcpListener::bind("127.0.0.1:8081").unwrap();
            let _udp = UdpSocket::bind("0.0.0.0:8082").unwrap();
            let error = reserve(&[request(ALL, Some(8081..=8081), 1)]).unwrap_err();
            assert!(
                matches!(error, Error::PortInUse { port: 8081, .. }),
                "{error}"
            );
            reserve(&[request(&["127.0.0.2"], Some(8081..=8081), 1)]).unwrap();
            let udp = PortRequest {
                protocol: Protocol::Udp,
                ..request(&["127.0.0.1"], Some(8082..=8082), 1)
            };
            assert!(reserve(&[udp]).is_err());
            let error = reserve(&[request(&["10.9.9.9"], Some(80..=80), 1)]).unwrap_err();
            assert!(matches!(error, Error::Socket { .. }), "{error}");
        });
    }

    #[test]
    fn ranges_and_any_ports_never_meet() {
        alone(|| {
            let _taken = TcpListener::bind("0.0.0.0:9001").unwrap();
            let requests = [
                request(ALL, None, 1),
                request(ALL, Some(9000..=9010), 2),
                request(ALL, None, 3),
                request(ALL, Some(9002..=9002), 1),
                request(ALL, Some(9000..=9010), 1),
            ];
            let held = reserve(&requests).unwrap();
            assert_eq!(held.ports[3], 9002..=9002);
            assert_eq!(held.ports[1], 9003..=9004);
            assert_eq!(held.ports[4], 9000..=9000);
            assert_eq!(held.ports[2].len(), 3);
            assert!(ephemeral().contains(held.ports[0].start()));
            let next = reserve(&[request(ALL, None, 1)]).unwrap();
            assert!(!held.ports[2].contains(next.ports[0].start()));
            // One address of two is taken: another port for both.
            let _taken = TcpListener::bind("[::]:9100").unwrap();
            let both = reserve(&[request(ALL, Some(9100..=9101), 1)]).unwrap();
            assert_eq!(both.ports, [9101..=9101]);
            assert!(matches!(
                reserve(&[request(ALL, Some(9100..=9101), 3)]),
                Err(Error::Invalid(_))
            ));
        });
    }

    #[test]
    fn long_ranges_are_checked_but_not_held() {
        alone(|| {
            let long = request(&["0.0.0.0"], Some(20_000..=20_999), 1000);
            let held = reserve(std::slice::from_ref(&long)).unwrap();
            assert!(held.sockets.is_empty());
            let _taken = TcpListener::bind("127.0.0.1:20500").unwrap();
            assert!(matches!(
                reserve(&[long]),
                Err(Error::PortInUse { port: 20_500, .. })
            ));
        });
    }

    #[test]
    fn nothing_is_left_of_any_ports() {
        alone(|| {
            fs_err::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").unwrap();
            let held = reserve(&[request(ALL, None, 1), request(ALL, None, 1)]).unwrap();
            let error = reserve(&[request(ALL, None, 1)]).unwrap_err();
            assert!(matches!(error, Error::NoPort { .. }), "{error}");
            drop(held);
            reserve(&[request(ALL, None, 2)]).unwrap();
        });
    }

    #[test]
    fn a_port_whose_server_has_just_ended_is_free() {
        alone(|| {
            let server = TcpListener::bind("127.0.0.1:8083").unwrap();
            let mut client = TcpStream::connect("127.0.0.1:8083").unwrap();
            // Who closes first keeps the port.
            drop(server.accept().unwrap());
            drop(server);
            client.read_exact(&mut [0]).unwrap_err();
            drop(client);
            let exact = [request(&["127.0.0.1"], Some(8083..=8083), 1)];
            let _held = reserve(&exact).unwrap();
            assert!(reserve(&exact).is_err());
            assert!(TcpListener::bind("127.0.0.1:8083").is_err());
            assert!(TcpStream::connect("127.0.0.1:8083").is_err());
        });
    }

    #[test]
    fn sctp_needs_no_socket_where_there_is_none() {
        alone(|| {
            let sctp = PortRequest {
                protocol: Protocol::Sctp,
                ..request(ALL, Some(9000..=9000), 1)
            };
            let held = reserve(&[sctp]).unwrap();
            assert_eq!(held.ports, [9000..=9000]);
            if held.sockets.is_empty() {
                eprintln!("skipped: no SCTP sockets");
            }
        });
    }
}
