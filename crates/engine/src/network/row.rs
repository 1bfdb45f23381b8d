//! What is kept of a network: one row, whole, per network.

use super::details::NetworkDetails;
use super::request::NetworkRequest;
use hull_network::NetworkRules;
use hull_network::model::{Driver, Network};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A network as it is kept: the request, with what the engine chose filled in, and what its driver needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    /// As it is shown: its address ranges are filled in.
    pub(crate) request: NetworkRequest,
    /// `None` for `host`, `none`, and those that are only configuration.
    pub(crate) model: Option<Network>,
    /// `bridge`, `host` or `none`.
    pub(crate) predefined: bool,
    /// Whether the user chose its IPv4 and its IPv6 ranges: only then an address can be asked for.
    pub(crate) own_subnets: [bool; 2],
    /// Where ports are published when a container names no address.
    pub(crate) binding: Option<IpAddr>,
    /// Of devices' names in containers.
    pub(crate) ifname_prefix: String,
}

impl Row {
    pub(crate) fn name(&self) -> &str {
        &self.request.name
    }

    /// Whether containers know each other's names in it.
    pub(crate) fn has_names(&self) -> bool {
        !self.predefined
    }

    /// Its address ranges.
    pub(crate) fn subnets(&self) -> Vec<IpNet> {
        let pools = self.model.iter().flat_map(|model| &model.pools);
        pools.map(|pool| pool.subnet).collect()
    }

    /// What the firewall must know; only of bridges.
    pub(crate) fn rules(&self) -> Option<NetworkRules> {
        let model = self.model.as_ref()?;
        let Driver::Bridge(options) = &model.driver else {
            return None;
        };
        Some(NetworkRules {
            id: self.id.clone(),
            device: options.device.clone(),
            subnets: self.subnets(),
            internal: model.internal,
            options: options.clone(),
        })
    }

    /// Everything for inspect and lists, but who is in it.
    pub(crate) fn details(&self) -> NetworkDetails {
        let request = self.request.clone();
        let ipam = request.ipam;
        let null = matches!(request.driver.as_str(), "host" | "null") && self.predefined;
        NetworkDetails {
            id: self.id.clone(),
            name: request.name,
            created: self.created,
            driver: request.driver,
            scope: if request.scope.is_empty() {
                "local".to_owned()
            } else {
                request.scope
            },
            ipv4: request.enable_ipv4.unwrap_or(true),
            ipv6: request.enable_ipv6.unwrap_or(false),
            internal: request.internal,
            attachable: request.attachable,
            config_only: request.config_only,
            config_from: request.config_from,
            ipam_driver: if ipam.driver.is_empty() {
                "default".to_owned()
            } else {
                ipam.driver
            },
            ipam_options: ipam.options,
            pools: (!null).then_some(ipam.pools),
            options: Some(request.options),
            labels: Some(request.labels),
            predefined: self.predefined,
            members: std::collections::BTreeMap::new(),
        }
    }
}
