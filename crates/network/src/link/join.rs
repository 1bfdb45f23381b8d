//! Joining: everything about one endpoint, in one thread inside its namespace.

use super::sysctl::{self, Sysctl};
use super::{child, mark, veth};
use crate::Error;
use crate::error::{file, link};
use crate::model::{Driver, Endpoint, Network};
use hull_linux::neighbour;
use hull_linux::netlink::{self, Address, Batch, DefaultRoute, Link, LinkChange, Mac, Socket};
use ipnet::IpNet;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

/// The most addresses of one endpoint.
const MAX_ADDRESSES: usize = 256;

/// An endpoint that has been joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its device's name in the namespace.
    pub ifname: String,
    /// Its IPv6 addresses and routes were left out: all IPv6 of the namespace is switched off.
    pub without_ipv6: bool,
}

/// An endpoint being joined: where, and with what.
pub(super) struct Joining<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) namespace: BorrowedFd<'a>,
    sysctls: Vec<Sysctl>,
    /// Of the host's network namespace.
    pub(super) host: Socket,
    /// Of the endpoint's.
    pub(super) inside: Socket,
    /// IPv6 is switched off in the namespace.
    pub(super) without_ipv6: bool,
}

/// Gives a namespace a place on a network that is up; also one in which programs run already. The
/// endpoint's default routes take the place of those that the namespace has.
///
/// # Errors
/// [`Error`]; nothing is left behind then. [`Error::NoDevice`] when the network is not up.
pub fn join(network: &Network, endpoint: &Endpoint, netns: &Path) -> Result<Joined, Error> {
    check(endpoint)?;
    let sysctls = sysctl::parse(&endpoint.sysctls)?;
    let namespace = fs_err::File::open(netns).map_err(file("open", netns))?;
    let error = || link("join endpoint", &endpoint.id);
    let host = Socket::open().map_err(error())?;
    let joined = netlink::inside(namespace.as_fd(), || {
        let mut joining = Joining {
            endpoint,
            namespace: namespace.as_fd(),
            sysctls,
            host,
            inside: Socket::open().map_err(error())?,
            without_ipv6: false,
        };
        let ipv6 = endpoint.addresses.iter().any(|net| net.addr().is_ipv6());
        let _born = (!ipv6).then(sysctl::BornWithoutIpv6::begin);
        match &network.driver {
            Driver::Bridge(options) => veth::join(&mut joining, options),
            Driver::Macvlan(options) => child::join_macvlan(&mut joining, network, options),
            Driver::Ipvlan(options) => child::join_ipvlan(&mut joining, network, options),
        }
    });
    joined.map_err(error())?
}

fn check(endpoint: &Endpoint) -> Result<(), Error> {
    mark::check_pattern(&endpoint.ifname)?;
    if endpoint.id.is_empty() || endpoint.addresses.len() > MAX_ADDRESSES {
        return Err(Error::Invalid(format!(
            "endpoint `{}` has no id or more than {MAX_ADDRESSES} addresses",
            endpoint.id
        )));
    }
    let unique: HashSet<IpAddr> = endpoint.addresses.iter().map(IpNet::addr).collect();
    if unique.len() < endpoint.addresses.len() {
        return Err(Error::Invalid(format!(
            "endpoint {} has the same address twice",
            endpoint.id
        )));
    }
    match endpoint.mac {
        Some(mac) if mac.0.0[0] & 1 == 1 || mac.0.0 == [0; 6] => Err(Error::Invalid(format!(
            "{mac} is no Ethernet address of a single device"
        ))),
        _ => Ok(()),
    }
}

impl Joining<'_> {
    /// Settings, addresses and routes of the device that is in the namespace now, and is down.
    pub(super) fn configure(&mut self, device: &Link) -> Result<(), Error> {
        let endpoint = self.endpoint;
        let error = || link("join endpoint", &endpoint.id);
        let ipv6 = endpoint.addresses.iter().any(|net| net.addr().is_ipv6());
        self.without_ipv6 = ipv6 && sysctl::is_ipv6_off()?;
        sysctl::disable_ipv6(&device.name, !ipv6 || self.without_ipv6)?;
        sysctl::apply(&device.name, &self.sysctls)?;
        let mut batch = Batch::new();
        batch.change_link(
            device.index,
            &LinkChange {
                up: Some(true),
                ..LinkChange::default()
            },
        );
        let possible = |net: &&IpNet| !self.without_ipv6 || net.addr().is_ipv4();
        for net in endpoint.addresses.iter().filter(possible) {
            batch.add_address(&Address {
                device: device.index,
                address: net.addr(),
                prefix: net.prefix_len(),
            });
        }
        let routes: Vec<DefaultRoute> = endpoint
            .gateways
            .iter()
            .filter(|gateway| !self.without_ipv6 || gateway.is_ipv4())
            .map(|gateway| DefaultRoute {
                device: Some(device.index),
                gateway: *gateway,
                metric: 0,
            })
            .collect();
        for route in &routes {
            batch.add_default_route(route);
        }
        match self.inside.run(batch) {
            // Another endpoint's default route is there. It goes last, when nothing else can fail.
            Err(failed) if failed.is_existing() && !routes.is_empty() => {
                let own = |ipv6| routes.iter().any(|route| route.gateway.is_ipv6() == ipv6);
                super::routes::replace(&mut self.inside, &routes, own).map_err(error())
            }
            other => other.map_err(error()),
        }
    }

    /// Tells the neighbours, soon. They would find out by themselves, if late: no failure of the join.
    pub(super) fn announce(&mut self, device: &Link, mac: Mac) {
        let addresses = self.endpoint.addresses.iter().map(IpNet::addr);
        let addresses = addresses.filter(|address| !self.without_ipv6 || address.is_ipv4());
        let endpoint = self.endpoint.id.clone();
        let told = move |told: io::Result<()>| {
            if let Err(error) = told {
                tracing::debug!(endpoint, %error, "neighbours were not told");
            }
        };
        if let Err(error) = neighbour::announce(device.index, mac, addresses.collect(), told) {
            tracing::debug!(endpoint = self.endpoint.id, %error, "neighbours were not told");
        }
    }

    /// Whether the endpoint's own name is the one that the kernel has found taken.
    pub(super) fn name_is_taken(&mut self) -> bool {
        self.inside.link(&self.endpoint.ifname).is_ok()
    }

    pub(super) fn name_taken(&self) -> Error {
        Error::NameTaken {
            device: self.endpoint.ifname.clone(),
        }
    }
}
