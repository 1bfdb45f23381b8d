//! What can go wrong.

use crate::model::Protocol;
use hull_linux::netlink;
use std::net::{IpAddr, SocketAddr};
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
    /// Somebody inside has changed the marks of devices, so that it cannot be told which one to remove.
    #[error("remove endpoint {endpoint}: it is one of {}, but it cannot be told which", .devices.join(", "))]
    Unknown {
        /// The endpoint.
        endpoint: String,
        /// The devices on its network's parent.
        devices: Vec<String>,
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
    /// Every network of the default pools overlaps another network or a route of the host.
    #[error("all predefined address pools have been fully subnetted")]
    NoSubnet,
    /// What was asked for as pools of a network makes no sense.
    #[error("invalid network config:\n{0}")]
    PoolConfig(String),
    /// A subnet that overlaps another network's, or another of its own network.
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    PoolOverlap,
    /// More subnets of a family than a bridge can have.
    #[error("bridge driver doesn't support multiple subnets")]
    SeveralSubnets,
    /// A subnet that cannot be a bridge's.
    #[error("{0}")]
    Subnet(String),
    /// A gateway or a reserved address that cannot be had.
    #[error("failed to allocate {what}: {reason}")]
    PoolAddress {
        /// What for.
        what: String,
        /// Why not.
        reason: &'static str,
    },
    /// Another daemon has its networks in this network namespace.
    #[error(
        "another container engine{} has its networks in this network namespace, and each would remove the other's: stop it, start this one in a network namespace of its own, or use the networks host and none only",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Guarded {
        /// The other, where it can be seen.
        pid: Option<i32>,
    },
    /// firewalld does not let our bridges through.
    #[error("set up the zone of our bridges in firewalld")]
    Firewalld {
        /// Its answer, or the bus's.
        #[source]
        source: hull_linux::systemd::Error,
    },
    /// The kernel cannot leave published ports to the host's rules.
    #[error(
        "the kernel cannot copy packets (CONFIG_NFT_DUP_IPV4, CONFIG_NFT_DUP_IPV6): ports cannot be published by the host's rules"
    )]
    HostFirewall {
        /// Its answer.
        #[source]
        source: netlink::Error,
    },
    /// Default address pools that make no sense.
    #[error("invalid default address pool: {0}")]
    DefaultPool(String),
    /// All addresses of this family are in use. Docker's text goes on with ": name (id)" of the network.
    #[error("no available IPv{family} addresses on this network's address pools")]
    PoolFull {
        /// 4 or 6.
        family: u8,
    },
    /// An address that somebody has, or that nobody may have.
    #[error("Address already in use")]
    AddressInUse(IpAddr),
    /// An address in none of the network's subnets.
    #[error("invalid address {0}: It does not belong to any of this network's subnets")]
    AddressOutside(IpAddr),
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
    /// A device that a network or endpoint needs is not there.
    #[error("network device {0} was not found")]
    NoDevice(String),
    /// A device that belongs to another network.
    #[error(
        "network device {device} is in use by network {owner}: use another device, or end what is connected to it and remove it (ip link del {device})"
    )]
    Taken {
        /// The device.
        device: String,
        /// The id of its network.
        owner: String,
    },
    /// The namespace has a device of this name already.
    #[error("the container has a network device {device} already")]
    NameTaken {
        /// The device.
        device: String,
    },
    /// The kernel has no devices of a kind.
    #[error(
        "this kernel has no {kind} devices: load the module ({}), or use another driver",
        module(kind)
    )]
    Unsupported {
        /// `macvlan`, `ipvlan`, `vlan`.
        kind: &'static str,
    },
    /// A network without room for a gateway and one endpoint, or a name that is none.
    #[error("invalid network: {0}")]
    Invalid(String),
    /// Somebody has the port already.
    #[error("failed to bind host port for {}/{}: address already in use", SocketAddr::new(*host, *port), protocol.as_str())]
    PortInUse {
        /// The host's address.
        host: IpAddr,
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
    },
    /// No port of those that may be given out is free.
    #[error("all ports are allocated")]
    NoPort {
        /// Where it was looked for.
        ports: RangeInclusive<u16>,
        /// Its protocol.
        protocol: Protocol,
    },
    /// A port that cannot be bound: not an address of the host's, or not allowed.
    #[error("failed to bind host port for {}/{}", SocketAddr::new(*host, *port), protocol.as_str())]
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
    /// The program that answers containers' questions for names.
    #[error("{operation} the resolver of names")]
    Names {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

fn module(kind: &str) -> String {
    let module = if kind == "vlan" { "8021q" } else { kind };
    format!("modprobe {module}")
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
