//! What networks, endpoints and published ports are: plain values without I/O, shared by all parts of
//! this crate and kept by whoever uses it.

use hull_linux::netlink::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// A network of the host, as its driver needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Unique and stable; the engine uses 64 hexadecimal digits. Marks the network's devices.
    pub id: String,
    /// What carries it.
    pub driver: Driver,
    /// Its address ranges, of both families, in the order in which they were given.
    pub pools: Vec<Pool>,
    /// Nothing gets in or out, but from the host itself.
    pub internal: bool,
}

/// A range of addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The range on the wire.
    pub subnet: IpNet,
    /// The part of it from which addresses are given out; `None`: all of it.
    pub range: Option<IpNet>,
    /// The router; on a bridge, its own address. `None` where nothing routes (internal macvlan, layer 3 ipvlan).
    pub gateway: Option<IpAddr>,
    /// Addresses that are never given out, by the names that the user gave them.
    #[serde(default)]
    pub reserved: BTreeMap<String, IpAddr>,
}

/// What carries a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Driver {
    /// A bridge of the host's; containers are joined by veth pairs.
    Bridge(BridgeOptions),
    /// Devices with Ethernet addresses of their own on a device of the host's.
    Macvlan(ParentOptions<MacvlanMode>),
    /// Devices that share the Ethernet address of a device of the host's.
    Ipvlan(ParentOptions<IpvlanMode>),
}

/// What a bridge network shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeOptions {
    /// The device's name, at most 15 bytes.
    pub device: String,
    /// The longest packet, in bytes; `None`: the kernel's 1500.
    pub mtu: Option<u32>,
    /// Whether endpoints reach each other.
    pub icc: bool,
    /// Whether what leaves over IPv4 gets the host's address.
    pub masquerade: bool,
    /// Whether what leaves over IPv6 gets the host's address.
    pub masquerade6: bool,
    /// How IPv4 gets in.
    pub gateway_mode: GatewayMode,
    /// How IPv6 gets in.
    pub gateway_mode6: GatewayMode,
    /// The host's addresses that outgoing packets get, at most one of a family; without one, that of the
    /// device by which they leave.
    pub source: Vec<IpAddr>,
    /// Other devices of the host's over which endpoints may be reached by their own addresses.
    pub trusted_interfaces: Vec<String>,
    /// The bridge gets no IPv4 address (somebody else routes).
    pub inhibit_ipv4: bool,
}

impl BridgeOptions {
    /// A bridge as Docker makes it when nothing else is said.
    #[must_use]
    pub fn new(device: impl Into<String>) -> Self {
        Self {
            device: device.into(),
            mtu: None,
            icc: true,
            masquerade: true,
            masquerade6: true,
            gateway_mode: GatewayMode::Nat,
            gateway_mode6: GatewayMode::Nat,
            source: Vec::new(),
            trusted_interfaces: Vec::new(),
            inhibit_ipv4: false,
        }
    }
}

/// How packets of one family get from elsewhere to an endpoint of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GatewayMode {
    /// To published ports at the host's address; its own address is reachable from its network alone.
    #[default]
    Nat,
    /// As [`GatewayMode::Nat`], and everything at its own address.
    NatUnprotected,
    /// To published ports at its own address, without translation.
    Routed,
    /// Not at all, and the bridge has no address of this family either.
    Isolated,
}

/// What a network on a device of the host's shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentOptions<M> {
    /// The host's device; `name.5` makes a VLAN on `name` if there is none. `None`: a device that leads nowhere.
    pub parent: Option<String>,
    /// How endpoints reach each other and the wire.
    pub mode: M,
}

/// Modes of macvlan (ip-link(8)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MacvlanMode {
    /// They reach each other directly.
    #[default]
    Bridge,
    /// They never reach each other.
    Private,
    /// They reach each other by way of the switch.
    Vepa,
    /// One endpoint has the device to itself.
    Passthru,
}

/// Modes of ipvlan (ip-link(8)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpvlanMode {
    /// The host's device switches.
    #[default]
    L2,
    /// The host routes; no broadcast.
    L3,
    /// As L3, and packets pass the host's filter.
    L3s,
}

/// A namespace's place on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Unique and stable; the engine uses 64 hexadecimal digits.
    pub id: String,
    /// The device's name in the namespace; `eth%d` is the first of that kind that is free.
    pub ifname: String,
    /// Its Ethernet address; `None`: the driver's choice. Ipvlan knows none of its own.
    pub mac: Option<MacAddress>,
    /// Its addresses, each with the prefix length of its pool (or 16 for IPv4 and 64 for IPv6 link-local ones).
    pub addresses: Vec<IpNet>,
    /// The routers by which everything else is reached, at most one of a family. Empty: another
    /// endpoint of the namespace, or none, leads out. The unspecified address (`0.0.0.0`, `::`) stands for
    /// the device itself, without a router (ipvlan of layer 3).
    pub gateways: Vec<IpAddr>,
    /// Names below `/proc/sys/net`, with `/` or `.` between their parts and `IFNAME` for the device, and their values.
    #[serde(default)]
    pub sysctls: Vec<(String, String)>,
}

/// An Ethernet address that is kept as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub Mac);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for MacAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for MacAddress {
    type Err = String;

    /// Six pairs of hexadecimal digits with `:` or `-` between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is no Ethernet address");
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let part = part.filter(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = part
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(invalid)?;
        }
        match parts.next() {
            None => Ok(Self(Mac(bytes))),
            Some(_) => Err(invalid()),
        }
    }
}

/// Transport protocols that are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Number 6.
    Tcp,
    /// Number 17.
    Udp,
    /// Number 132.
    Sctp,
}

impl Protocol {
    /// Its number in the IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// `tcp`, `udp`, `sctp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Ports of the host's that lead to an endpoint: one or a range, one rule either way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The id of the network by which the endpoint is reached.
    pub network: String,
    /// Of both sides.
    pub protocol: Protocol,
    /// The host's address: `0.0.0.0` and `::` are all of that family. `None` for ports that are opened at the
    /// endpoint's own address only ([`GatewayMode::Routed`]).
    pub host: Option<IpAddr>,
    /// The host's ports; with `host: None`, those of the endpoint.
    pub host_ports: RangeInclusive<u16>,
    /// The endpoint's address, of the same family as `host`, or of IPv4 where ports at IPv6 addresses are relayed.
    pub target: IpAddr,
    /// The endpoint's first port; as many follow as there are in `host_ports`.
    pub target_port: u16,
    /// Whether the host's own rules for incoming packets decide who gets through.
    pub host_firewall: bool,
}

impl Publication {
    /// Whether the host's address is of another family than the endpoint's: nothing that the kernel could
    /// translate, so a program that has the port passes bytes on.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.host
            .is_some_and(|host| host.is_ipv6() != self.target.is_ipv6())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_addresses_are_read_and_written() {
        let address: MacAddress = "02:42:Ac-11:00:02".parse().unwrap();
        assert_eq!(address.to_string(), "02:42:ac:11:00:02");
        for bad in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:00:02",
            "02:42:ac:11:00:+2",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }
}
