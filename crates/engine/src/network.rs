//! Networks: `bridge`, `host` and `none`.

use crate::container::Endpoint;
use crate::{Engine, Error, ErrorKind, Result};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDetails {
    /// 64 hexadecimal digits.
    pub id: String,
    /// `bridge`, `host` or `none`.
    pub name: String,
    /// When.
    pub created: Timestamp,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// `172.17.0.0/16`; only the bridge has one.
    pub subnet: Option<String>,
    /// The bridge's address.
    pub gateway: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// The running containers in it, by id: name and endpoint.
    pub containers: BTreeMap<String, (String, Endpoint)>,
}

impl Engine {
    /// The networks.
    ///
    /// # Errors
    /// None at present.
    pub async fn networks(&self) -> Result<Vec<NetworkDetails>> {
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
        let networks = self.networks().await?;
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
