//! Networks: what Docker means by them.

mod details;
mod request;

pub use details::{Member, NetworkDetails};
pub use request::{EndpointRequest, IpamRequest, NetworkCreated, NetworkRequest, PoolRequest};

use crate::{Engine, Error, ErrorKind, Filters, Result};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

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

fn unfinished<T>(what: &str) -> Result<T> {
    let text = format!("{what} is not supported by this version of Hull");
    Err(Error::new(ErrorKind::NotImplemented, text))
}

impl Engine {
    /// Makes a network.
    ///
    /// # Errors
    /// `InvalidInput`, `Forbidden` and `Conflict` in dockerd's words.
    pub async fn network_create(
        self: &Arc<Self>,
        request: NetworkRequest,
    ) -> Result<NetworkCreated> {
        drop(request);
        unfinished("a user's network")
    }

    /// Removes a network, by name, id or beginning of an id; returns its name.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for a predefined one and one that is in use.
    pub async fn network_remove(self: &Arc<Self>, name: &str) -> Result<String> {
        Ok(self.network_inspect(name).await?.name).and_then(|_| unfinished("a user's network"))
    }

    /// Removes the networks that no container is in; returns their names. Filters: `until`, `label`, `label!`.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that makes no sense, `Conflict` while another prune runs.
    pub async fn network_prune(self: &Arc<Self>, filters: Filters) -> Result<Vec<String>> {
        drop(filters);
        Ok(Vec::new())
    }

    /// Puts a container into a network, now if it runs and at its start otherwise.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `InvalidInput` and `Conflict` in dockerd's words.
    pub async fn network_connect(
        self: &Arc<Self>,
        network: &str,
        container: &str,
        request: EndpointRequest,
    ) -> Result<()> {
        drop(request);
        self.find(container)?;
        self.network_inspect(network).await?;
        unfinished("connecting a container")
    }

    /// Takes a container out of a network; `force` also when the container is not known.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden` in dockerd's words.
    pub async fn network_disconnect(
        self: &Arc<Self>,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<()> {
        let _ = force;
        self.find(container)?;
        self.network_inspect(network).await?;
        unfinished("disconnecting a container")
    }

    /// Who can reach a container, or one port of it, from where and by which rule: in words, a line each.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` for one that does not run.
    pub async fn network_explain(
        self: &Arc<Self>,
        container: &str,
        port: Option<crate::container::Port>,
    ) -> Result<Vec<String>> {
        drop(port);
        self.find(container)?;
        unfinished("explaining networks")
    }

    /// The networks that fit. Filters: `dangling`, `driver`, `id`, `label`, `name`, `scope`, `type`.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that makes no sense.
    pub async fn networks(&self, filters: Filters) -> Result<Vec<NetworkDetails>> {
        drop(filters);
        let mut connected = BTreeMap::new();
        for container in self.containers() {
            container.read(|record| {
                if let Some(endpoint) = &record.endpoint {
                    connected.insert(record.id.clone(), (record.name.clone(), endpoint.clone()));
                }
            });
        }
        Ok(self.wiring.list(&connected))
    }

    /// One network, by name, id or beginning of an id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn network_inspect(&self, name: &str) -> Result<NetworkDetails> {
        let networks = self.networks(Filters::new()).await?;
        let found = networks
            .iter()
            .find(|network| network.name == name || network.id == name);
        let found = found.or_else(|| {
            networks
                .iter()
                .find(|network| !name.is_empty() && network.id.starts_with(name))
        });
        found
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("network {name} not found")))
    }
}
