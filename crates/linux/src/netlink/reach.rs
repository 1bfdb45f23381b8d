//! What the host has routes to, of both families and in all tables, and how that changes.

use super::message::{answers, attributes, u32_at};
use super::{Error, Socket};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RT_TABLE_LOCAL: u32 = 255;
const RTN_UNICAST: u8 = 1;
/// A copy of a route that the kernel made for one destination.
const RTM_F_CLONED: u32 = 0x200;
/// Length of `struct rtmsg`.
const RTMSG: usize = 12;
/// `RTMGRP_IPV4_ROUTE` and `RTMGRP_IPV6_ROUTE`.
const ROUTE_GROUPS: u32 = 0x40 | 0x400;
/// Longer than any message about one route.
const BUFFER: usize = 32 << 10;

/// A network that the host has a unicast route to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reach {
    /// Where to; all zeroes with prefix 0 is a default route.
    pub destination: IpAddr,
    /// The prefix length of `destination`.
    pub prefix: u8,
    /// The routing table; 254 is main, VPNs have their own.
    pub table: u32,
    /// Whether it lies on a network of the host's own, without a router between.
    pub on_link: bool,
    /// Over which device; `None` for routes over several.
    pub device: Option<u32>,
}

/// A change of the host's routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// A new route, or one that was changed.
    Added(Reach),
    /// A route that is gone.
    Removed(Reach),
    /// Changes came faster than they were read: what is there has to be read anew.
    Lost,
}

impl Socket {
    /// The unicast routes of both families in all tables but that of the host's own addresses.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn reaches(&mut self) -> Result<Vec<Reach>, Error> {
        let mut all = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let mut fixed = [0; RTMSG];
            fixed[0] = family;
            match self.dump(RTM_GETROUTE, &fixed, read) {
                Ok(routes) => all.extend(routes),
                // A kernel without IPv6.
                Err(error)
                    if family == AF_INET6 && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(error) => return Err(Error::new("list", "routes", error)),
            }
        }
        Ok(all)
    }
}

/// Tells of changes of the routes of the network namespace in which it was opened. Linux 2.2.
#[derive(Debug)]
pub struct RouteMonitor {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl RouteMonitor {
    /// Begins to listen; changes from now on are told.
    ///
    /// # Errors
    /// When the kernel has no descriptors or memory left.
    pub fn open() -> Result<Self, Error> {
        let error = |error| Error::new("listen to", "changes of routes", error);
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(error)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, ROUTE_GROUPS)).map_err(error)?;
        Ok(Self {
            fd,
            buffer: vec![0; BUFFER],
        })
    }

    /// Waits for changes and returns them.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub fn read(&mut self) -> Result<Vec<RouteChange>, Error> {
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC)
        });
        let (read, length) = match received {
            Ok(received) => received,
            Err(rustix::io::Errno::NOBUFS) => return Ok(vec![RouteChange::Lost]),
            Err(error) => {
                return Err(Error::new(
                    "read",
                    "changes of routes",
                    io::Error::from(error),
                ));
            }
        };
        if length > read {
            return Ok(vec![RouteChange::Lost]);
        }
        Ok(changes(&self.buffer[..read]))
    }
}

impl AsFd for RouteMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn changes(bytes: &[u8]) -> Vec<RouteChange> {
    answers(bytes)
        .filter_map(|answer| match answer.kind {
            RTM_NEWROUTE => read(answer.payload).map(RouteChange::Added),
            RTM_DELROUTE => read(answer.payload).map(RouteChange::Removed),
            _ => None,
        })
        .collect()
}

fn read(payload: &[u8]) -> Option<Reach> {
    let fixed = payload.get(..RTMSG)?;
    let unspecified: IpAddr = match fixed[0] {
        AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    if fixed[7] != RTN_UNICAST || u32_at(fixed, 8)? & RTM_F_CLONED != 0 {
        return None;
    }
    let mut reach = Reach {
        destination: unspecified,
        prefix: fixed[1],
        table: fixed[4].into(),
        on_link: true,
        device: None,
    };
    for (kind, value) in attributes(&payload[RTMSG..]) {
        match kind {
            RTA_DST => reach.destination = address(value)?,
            RTA_GATEWAY | RTA_VIA | RTA_MULTIPATH => reach.on_link = false,
            RTA_OIF => reach.device = u32_at(value, 0),
            RTA_TABLE => reach.table = u32_at(value, 0)?,
            _ => {}
        }
    }
    (reach.table != RT_TABLE_LOCAL).then_some(reach)
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = changes(&bytes);
            let _ = read(&bytes);
        }
    }
}
