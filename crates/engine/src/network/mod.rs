//! Networks: what Docker means by them.
//!
//! ```text
//! request ── create ──► Row (engine.networks) ──► Live in Networks: addresses, endpoints, up or not
//! Config.networks ── places ──► Record.networks: by name, what was asked for and what came of it
//! start ── sandbox ──► place (one endpoint), names, publish          undone in reverse by unwire
//! ```
//!
//! A network's devices are made when it is created and, after a restart, when somebody first needs it.

mod connect;
mod create;
mod details;
mod disconnect;
mod explain;
mod files;
mod links;
mod list;
pub(crate) mod names;
mod options;
pub(crate) mod place;
mod places;
mod pools;
mod predefined;
pub(crate) mod publish;
pub(crate) mod published;
mod recover;
mod registry;
mod remove;
mod request;
mod row;
mod sandbox;
mod watch;

pub(crate) use create::attributes;
pub(crate) use predefined::BRIDGE;
pub(crate) use registry::Networks;
use registry::not_found;
pub(crate) use row::Row;
pub(crate) use sandbox::Wired;

pub use details::{Member, NetworkDetails};
pub use explain::{Answer, PortReach, Source, Way};
pub use request::{EndpointRequest, IpamRequest, NetworkCreated, NetworkRequest, PoolRequest};

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Settings of the daemon's for all networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Where ports are published when nobody says; of all networks. `None`: at all addresses of the host.
    pub publish_address: Option<IpAddr>,
    /// Whether the host's own rules for incoming packets decide who may reach published ports.
    pub host_firewall: bool,
    /// From which ranges networks are made when nobody says; empty: the engine's.
    pub address_pools: Vec<AddressPool>,
    /// The network `bridge`.
    pub bridge: BridgeConfig,
    /// What `host-gateway` stands for; empty: the default bridge's addresses.
    pub host_gateways: Vec<IpAddr>,
    /// Options that new networks have, by driver; their own count before.
    pub default_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Name servers of containers that name none.
    pub dns: Vec<String>,
    /// Search domains of containers that name none.
    pub dns_search: Vec<String>,
    /// Resolver options of containers that name none.
    pub dns_options: Vec<String>,
    /// Whether other machines may reach published ports at containers' own addresses.
    pub allow_direct_routing: bool,
    /// Whether the host's forwarding stays as it is: `--ip-forward=false`.
    pub keep_forwarding: bool,
    /// The program that answers containers' questions for names.
    pub dns_program: std::path::PathBuf,
}

/// A range that is cut into networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// `10.10.0.0/16`, of either family.
    pub base: String,
    /// Bits of each network.
    pub size: u8,
}

/// The network `bridge`. Empty texts are the engine's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// A bridge that is there already, instead of `hull0`; `none`: no default bridge at all.
    pub device: String,
    /// What the bridge is called that is made when `device` names none; empty: `hull0`.
    pub made: String,
    /// Its address with prefix length: `--bip`.
    pub address: String,
    /// Its IPv6 address with prefix length: `--bip6`.
    pub address6: String,
    /// From which part of it addresses are given out: `--fixed-cidr`.
    pub range: String,
    /// As `range`, IPv6: `--fixed-cidr-v6`.
    pub range6: String,
    /// The router, when it is not the bridge itself: `--default-gateway`.
    pub gateway: String,
    /// As `gateway`, IPv6.
    pub gateway6: String,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// The longest packet, bytes.
    pub mtu: Option<u32>,
    /// Whether containers reach each other.
    pub icc: bool,
    /// Whether what leaves gets the host's address.
    pub masquerade: bool,
    /// Where its ports are published when nobody says, before the setting for all networks: `--ip`.
    pub publish_address: Option<IpAddr>,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            device: String::new(),
            made: String::new(),
            address: String::new(),
            address6: String::new(),
            range: String::new(),
            range6: String::new(),
            gateway: String::new(),
            gateway6: String::new(),
            ipv6: false,
            mtu: None,
            icc: true,
            masquerade: true,
            publish_address: None,
        }
    }
}
