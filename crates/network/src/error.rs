//! What can go wrong.

use crate::model::Protocol;
use hull_linux::netlink;
use ipnet::Ipv4Net;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Why a network could not be made, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A device, address or route.
    #[error("{operation} {object}")]
    Link {
        /// What was being done.
        operation: &'static str,
        /// To what.
        object: String,
        /// The request that failed.
        #[source]
        source: netlink::Error,
    },
    /// A file or mount.
    #[error("{operation} {path}")]
    File {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// Every network of the default pools overlaps a route of the host.
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    NoSubnet,
    /// All addresses are in use.
    #[error("no available IPv4 addresses on this network's address pools: {0}")]
    PoolFull(Ipv4Net),
    /// An address that cannot be given out.
    #[error("address {address} is already in use or not usable in {subnet}")]
    AddressUnavailable {
        /// The address.
        address: Ipv4Addr,
        /// The network.
        subnet: Ipv4Net,
    },
    /// A device with the bridge's name that is no bridge.
    #[error(
        "{name} exists and is a {kind} device, not a bridge: remove it or choose another bridge name"
    )]
    NotABridge {
        /// The device.
        name: String,
        /// Its kind.
        kind: String,
    },
    /// A network without room for a gateway and one endpoint, or a name that is none.
    #[error("invalid network: {0}")]
    Invalid(String),
    /// Somebody has the port already.
    #[error("failed to bind host port {} ({}): address already in use", SocketAddr::new(*host, *port), protocol.as_str())]
    PortInUse {
        /// The host's address.
        host: IpAddr,
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
    },
    /// No port of the range is free.
    #[error("no {} port of {}-{} is free at {host}", protocol.as_str(), ports.start(), ports.end())]
    NoPort {
        /// The host's address.
        host: IpAddr,
        /// Where it was looked for.
        ports: RangeInclusive<u16>,
        /// Its protocol.
        protocol: Protocol,
    },
    /// A port that cannot be bound: not an address of the host's, or not allowed.
    #[error("failed to bind host port {} ({})", SocketAddr::new(*host, *port), protocol.as_str())]
    Socket {
        /// The host's address.
        host: IpAddr,
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The `nft` program is missing.
    #[error(
        "the nft program was not found: install the package nftables, or run containers with --network host or none"
    )]
    NftMissing,
    /// The `nft` program refused our rules.
    #[error("nft: {0}")]
    Nft(String),
}

pub(crate) fn link(
    operation: &'static str,
    object: impl Into<String>,
) -> impl FnOnce(netlink::Error) -> Error {
    let object = object.into();
    move |source| Error::Link {
        operation,
        object,
        source,
    }
}

pub(crate) fn file<E: Into<std::io::Error>>(
    operation: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(E) -> Error {
    let path = path.into();
    move |source| Error::File {
        operation,
        path,
        source: source.into(),
    }
}
