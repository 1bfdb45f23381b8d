//! Ports of the host's that are kept for containers: bound sockets that nobody reads.
//!
//! The sockets go to the container's shim, and live exactly as long as the container, whatever becomes
//! of the daemon: no other program can take the port meanwhile, and no other container either.

use crate::Error;
use crate::model::Protocol;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

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
    /// than [`HELD`] ports have none.
    pub sockets: Vec<OwnedFd>,
}

/// The longest range whose ports are held by sockets.
pub const HELD: u16 = 256;

/// Finds free ports and binds them.
///
/// # Errors
/// [`Error::PortInUse`], [`Error::NoPort`], [`Error::Socket`]; nothing is kept then.
pub fn reserve(requests: &[PortRequest]) -> Result<Reserved, Error> {
    let mut reserved = Reserved {
        ports: Vec::new(),
        sockets: Vec::new(),
    };
    for request in requests {
        let range = request.host_ports.clone().unwrap_or(32768..=60999);
        let mut start = *range.start();
        loop {
            match bind_all(request, start) {
                Ok(sockets) => {
                    reserved.sockets.extend(sockets);
                    reserved
                        .ports
                        .push(start..=start.saturating_add(request.count.saturating_sub(1)));
                    break;
                }
                Err(error) if start.saturating_add(request.count) > *range.end() => {
                    return Err(error);
                }
                Err(_) => start += 1,
            }
        }
    }
    Ok(reserved)
}

fn bind_all(request: &PortRequest, start: u16) -> Result<Vec<OwnedFd>, Error> {
    let mut sockets = Vec::new();
    for host in &request.hosts {
        for offset in 0..request.count.max(1) {
            sockets.push(bind(request.protocol, *host, start.saturating_add(offset))?);
        }
    }
    Ok(sockets)
}

fn bind(protocol: Protocol, host: IpAddr, port: u16) -> Result<OwnedFd, Error> {
    let family = match host {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match protocol {
        Protocol::Udp => SocketType::DGRAM,
        _ => SocketType::STREAM,
    };
    let failed = |error: rustix::io::Errno| match error {
        rustix::io::Errno::ADDRINUSE => Error::PortInUse {
            host,
            port,
            protocol,
        },
        error => Error::Socket {
            host,
            port,
            protocol,
            source: error.into(),
        },
    };
    let socket =
        rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).map_err(failed)?;
    if host.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true).map_err(failed)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(host, port)).map_err(failed)?;
    Ok(socket)
}
