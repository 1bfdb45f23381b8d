//! What is asked for: networks, and containers' places in them. Texts are kept as the client wrote them
//! where the engine's complaint repeats them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network as asked for; nothing is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkRequest {
    /// Letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// `bridge`, `macvlan`, `ipvlan`; empty is `bridge`.
    pub driver: String,
    /// Empty or `local`.
    pub scope: String,
    /// `None`: yes.
    pub enable_ipv4: Option<bool>,
    /// `None`: no.
    pub enable_ipv6: Option<bool>,
    /// Nothing gets in or out.
    pub internal: bool,
    /// Kept and shown; it means something for swarms only.
    pub attachable: bool,
    /// A swarm's; refused.
    pub ingress: bool,
    /// It is only there for others to take their configuration from.
    pub config_only: bool,
    /// The network whose configuration this one has.
    pub config_from: Option<String>,
    /// How addresses are given out.
    pub ipam: IpamRequest,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// How a network's addresses are given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamRequest {
    /// Empty or `default`; `null` gives out none.
    pub driver: String,
    /// Kept and shown: an empty list is not none.
    pub options: Option<BTreeMap<String, String>>,
    /// Address ranges; for families without one the engine chooses.
    pub pools: Vec<PoolRequest>,
}

/// An address range, as written. Empty texts are not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolRequest {
    /// `192.168.5.0/24`.
    pub subnet: String,
    /// The part of it from which addresses are given out.
    pub range: String,
    /// The router's address.
    pub gateway: String,
    /// Addresses that are not given out, by name.
    pub reserved: BTreeMap<String, String>,
}

/// A container's place in a network, as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointRequest {
    /// More names that it has in this network.
    pub aliases: Vec<String>,
    /// `container[:alias]`: names that only it sees.
    pub links: Vec<String>,
    /// Instead of the next free one.
    pub ipv4: Option<Ipv4Addr>,
    /// Instead of the next free one.
    pub ipv6: Option<Ipv6Addr>,
    /// Link-local addresses besides.
    pub link_local: Vec<IpAddr>,
    /// Six pairs of hexadecimal digits; `None`: the engine's choice.
    pub mac: Option<String>,
    /// `com.docker.network.endpoint.sysctls`, `com.docker.network.endpoint.ifname`.
    pub driver_options: BTreeMap<String, String>,
    /// The network with the highest provides the default route; among equals the first by name.
    pub gateway_priority: i64,
}

impl EndpointRequest {
    /// Whether nothing in particular is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A new network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkCreated {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Empty, or what its maker should know.
    pub warning: String,
}
