//! The default bridge, and containers' places on it.

use crate::container::Endpoint;
use crate::network::{Member, NetworkDetails, PoolRequest};
use crate::{Error, ErrorKind, Result};
use hull_network::model::Pool;
use hull_network::{Bridge, BridgeConfig, Ipam, Mac};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Docker's name of the network that containers are in by default.
pub(crate) const BRIDGE: &str = "bridge";

/// The networks of an engine.
#[derive(Debug)]
pub(crate) struct Wiring {
    namespaces: PathBuf,
    began: Timestamp,
    /// Ids of `bridge`, `host` and `none`: made from the engine's own, so that they stay.
    ids: [String; 3],
    /// Set up when the first container needs it: an engine without one costs no time at its start.
    up: Mutex<Option<Up>>,
}

#[derive(Debug)]
struct Up {
    bridge: Bridge,
    addresses: Ipam,
}

fn failed(what: &'static str) -> impl FnOnce(hull_network::Error) -> Error {
    move |source| Error::new(ErrorKind::Internal, what).caused_by(source)
}

impl Wiring {
    pub(crate) fn new(exec_root: &Path, engine_id: &str) -> Self {
        let ids = ["bridge", "host", "none"].map(|name| digest(&format!("{engine_id} {name}")));
        Self {
            namespaces: exec_root.join("netns"),
            began: Timestamp::now(),
            ids,
            up: Mutex::default(),
        }
    }

    /// The file of a container's network namespace.
    pub(crate) fn namespace(&self, id: &str) -> PathBuf {
        self.namespaces.join(id)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Up>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a namespace with a place on the bridge. Nothing is left of a failed attempt.
    pub(crate) fn connect(&self, id: &str) -> Result<Endpoint> {
        let (bridge, address) = self.claim()?;
        let namespace = self.namespace(id);
        let made = hull_network::netns::create(&namespace)
            .map_err(failed("failed to set up container networking"))
            .and_then(|()| {
                let endpoint = hull_network::Endpoint {
                    id: id.to_owned(),
                    netns: namespace.clone(),
                    address,
                    gateway: Some(bridge.gateway),
                    mac: Mac::from_ipv4(address),
                    ifname: "eth0".to_owned(),
                };
                hull_network::connect(&bridge, &endpoint)
                    .map_err(failed("failed to set up container networking"))
            });
        if let Err(error) = made {
            let _ = hull_network::netns::remove(&namespace);
            self.release(address);
            return Err(error);
        }
        Ok(Endpoint {
            network_id: self.ids[0].clone(),
            endpoint_id: digest(&format!("{id} {address}")),
            gateway: bridge.gateway.to_string(),
            address: address.to_string(),
            prefix_len: bridge.subnet.prefix_len(),
            mac_address: Mac::from_ipv4(address).to_string(),
            ifname: "eth0".to_owned(),
            ..Endpoint::default()
        })
    }

    /// Takes a container off the bridge and its namespace away. What is gone already is no error.
    pub(crate) fn disconnect(&self, id: &str, endpoint: &Endpoint) -> Result<()> {
        let dismantled = hull_network::dismantle(id, &self.namespace(id))
            .map_err(failed("could not remove the container's network"));
        if let Ok(address) = endpoint.address.parse() {
            self.release(address);
        }
        dismantled
    }

    fn claim(&self) -> Result<(Bridge, Ipv4Addr)> {
        let mut up = self.lock();
        self.ensure(&mut up)?;
        let Some(up) = up.as_mut() else {
            return Err(Error::new(ErrorKind::Internal, "the bridge is not there"));
        };
        let address = up
            .addresses
            .allocate(false)
            .map_err(failed("no address is free on the default bridge"))?;
        match address.map(|address| address.addr()) {
            Some(IpAddr::V4(address)) => Ok((up.bridge.clone(), address)),
            _ => Err(Error::new(
                ErrorKind::Internal,
                "the default bridge has no IPv4 addresses",
            )),
        }
    }

    fn ensure(&self, up: &mut Option<Up>) -> Result<()> {
        if up.is_some() {
            return Ok(());
        }
        let bridge = Bridge::ensure(&BridgeConfig::default())
            .map_err(failed("could not set up the default bridge"))?;
        hull_network::firewall::ensure(bridge.subnet, &bridge.name).map_err(failed(
            "could not set up the firewall of the default bridge",
        ))?;
        let pool = Pool {
            subnet: bridge.subnet.into(),
            range: None,
            gateway: Some(bridge.gateway.into()),
            reserved: BTreeMap::new(),
        };
        let addresses =
            Ipam::new(&[pool]).map_err(failed("could not set up the default bridge"))?;
        *up = Some(Up { bridge, addresses });
        Ok(())
    }

    fn release(&self, address: Ipv4Addr) {
        if let Some(up) = self.lock().as_mut() {
            up.addresses.release(address.into());
        }
    }

    /// Takes over after an earlier daemon: keeps what `live` containers have, removes the rest.
    pub(crate) fn recover(&self, live: &[(String, Endpoint)]) -> Result<()> {
        let ids: HashSet<String> = live.iter().map(|(id, _)| id.clone()).collect();
        if !ids.is_empty() {
            let mut up = self.lock();
            self.ensure(&mut up)?;
            for (_, endpoint) in live {
                if let (Some(up), Ok(address)) = (up.as_mut(), endpoint.address.parse()) {
                    // It may lie outside, if somebody has changed the bridge meanwhile: then it is not ours to give.
                    let _ = up.addresses.reserve(address);
                }
            }
        }
        if !ids.is_empty() || self.namespaces.exists() {
            hull_network::reconcile(&BridgeConfig::default().name, &self.namespaces, &ids)
                .map_err(failed("could not clean up the network"))?;
        }
        Ok(())
    }

    /// The networks, as Docker shows them; `containers` are those on the bridge.
    pub(crate) fn list(
        &self,
        containers: &BTreeMap<String, (String, Endpoint)>,
    ) -> Vec<NetworkDetails> {
        let bridge = self.lock().as_ref().map(|up| up.bridge.clone());
        let network = |at: usize, name: &str, driver: &str| NetworkDetails {
            id: self.ids[at].clone(),
            name: name.to_owned(),
            created: self.began,
            driver: driver.to_owned(),
            scope: "local".to_owned(),
            ipv4: true,
            ipv6: false,
            internal: false,
            attachable: false,
            config_only: false,
            config_from: None,
            ipam_driver: "default".to_owned(),
            ipam_options: None,
            pools: None,
            options: Some(BTreeMap::new()),
            labels: Some(BTreeMap::new()),
            predefined: true,
            members: BTreeMap::new(),
        };
        let members = containers.iter().map(|(id, (name, endpoint))| {
            let member = Member {
                name: name.clone(),
                endpoint_id: endpoint.endpoint_id.clone(),
                mac_address: endpoint.mac_address.clone(),
                ipv4: format!("{}/{}", endpoint.address, endpoint.prefix_len),
                ipv6: String::new(),
            };
            (id.clone(), member)
        });
        let options = [
            ("enable_icc", "true"),
            ("enable_ip_masquerade", "true"),
            ("host_binding_ipv4", "0.0.0.0"),
            ("default_bridge", "true"),
            ("name", "hull0"),
        ];
        let options = options
            .map(|(key, value)| (format!("com.docker.network.bridge.{key}"), value.to_owned()));
        vec![
            NetworkDetails {
                pools: bridge.map(|bridge| {
                    vec![PoolRequest {
                        subnet: bridge.subnet.to_string(),
                        gateway: bridge.gateway.to_string(),
                        ..PoolRequest::default()
                    }]
                }),
                options: Some(BTreeMap::from(options)),
                members: members.collect(),
                ..network(0, BRIDGE, "bridge")
            },
            network(1, "host", "host"),
            network(2, "none", "null"),
        ]
    }

    /// The id of `bridge`, `host` or `none`.
    pub(crate) fn id(&self, name: &str) -> &str {
        match name {
            "host" => &self.ids[1],
            "none" => &self.ids[2],
            _ => &self.ids[0],
        }
    }
}

fn digest(text: &str) -> String {
    use sha2::Digest as _;
    let bytes: [u8; 32] = sha2::Sha256::digest(text).into();
    hull_spec::Digest::from_sha256(&bytes).hex().to_owned()
}
