//! Bridges.

use crate::Error;
use crate::error::link;
use crate::pool::{choose_subnet, default_pools, host_networks};
use hull_linux::netlink::{Link, Socket};
use ipnet::{IpNet, Ipv4Net};
use std::net::Ipv4Addr;

/// What a bridge shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The device's name, at most 15 bytes.
    pub name: String,
    /// Its network. `None`: the one it has already, or else the first default that is free.
    pub subnet: Option<Ipv4Net>,
    /// Its own address, the endpoints' router. `None`: the one it has, or else the network's first.
    pub gateway: Option<Ipv4Addr>,
    /// The longest packet, in bytes.
    pub mtu: u32,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            name: "hull0".to_owned(),
            subnet: None,
            gateway: None,
            mtu: 1500,
        }
    }
}

/// A bridge that exists, is up and has its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The device's name.
    pub name: String,
    /// The device's number.
    pub index: u32,
    /// Its network.
    pub subnet: Ipv4Net,
    /// Its address.
    pub gateway: Ipv4Addr,
    /// The longest packet, in bytes.
    pub mtu: u32,
}

const MAX_NAME: usize = 15;

impl Bridge {
    /// Makes the bridge, or takes the one that is there, gives it its address and lets the host
    /// forward packets.
    ///
    /// # Errors
    /// [`Error`]; a bridge made here is gone again then.
    pub fn ensure(config: &BridgeConfig) -> Result<Self, Error> {
        check_name(&config.name)?;
        let mut socket = Socket::open().map_err(link("set up bridge", &config.name))?;
        let found = existing(&mut socket, &config.name)?;
        let (subnet, gateway) = addressing(&mut socket, config, found.as_ref())?;
        let bridge = Self {
            name: config.name.clone(),
            index: 0,
            subnet,
            gateway,
            mtu: config.mtu,
        };
        crate::link::up(&network(&bridge))?;
        let made = socket
            .link(&config.name)
            .map_err(link("set up bridge", &config.name))?;
        Ok(Self {
            index: made.index,
            mtu: made.mtu,
            ..bridge
        })
    }

    /// Removes the bridge; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn remove(name: &str) -> Result<(), Error> {
        let error = || link("remove bridge", name);
        let mut socket = Socket::open().map_err(error())?;
        match existing(&mut socket, name)? {
            Some(_) => socket.delete_link(name).map_err(error()),
            None => Ok(()),
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let valid = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(plain)
        // The kernel refuses dots alone; nft's grammar wants a letter first.
        && name.starts_with(|c: char| c.is_ascii_alphabetic());
    if valid {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "`{name}` cannot be a bridge's name"
    )))
}

fn existing(socket: &mut Socket, name: &str) -> Result<Option<Link>, Error> {
    match socket.link(name) {
        Ok(found) if found.kind == "bridge" => Ok(Some(found)),
        Ok(found) => Err(Error::NotABridge {
            name: name.to_owned(),
            kind: found.kind,
        }),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(link("look for bridge", name)(error)),
    }
}

/// The network and gateway: as configured, else as the bridge has them, else the next free ones.
fn addressing(
    socket: &mut Socket,
    config: &BridgeConfig,
    bridge: Option<&Link>,
) -> Result<(Ipv4Net, Ipv4Addr), Error> {
    let current = match bridge {
        Some(bridge) => socket
            .addresses()
            .map_err(link("read the addresses of", &config.name))?
            .into_iter()
            .find(|(index, _, _)| *index == bridge.index)
            .and_then(|(_, address, prefix)| Ipv4Net::new(address, prefix).ok()),
        None => None,
    };
    let subnet = match (config.subnet, current) {
        (Some(subnet), _) => subnet.trunc(),
        (None, Some(current)) => current.trunc(),
        (None, None) => free_subnet()?,
    };
    let first = || subnet.hosts().next();
    let gateway = config
        .gateway
        .or_else(|| current.map(|c| c.addr()).filter(|a| subnet.contains(a)))
        .or_else(first)
        .filter(|gateway| subnet.contains(gateway) && subnet.prefix_len() <= 30)
        .ok_or_else(|| {
            Error::Invalid(format!("{subnet} has no room for a gateway and endpoints"))
        })?;
    Ok((subnet, gateway))
}

fn free_subnet() -> Result<Ipv4Net, Error> {
    match choose_subnet(&default_pools(&[], "")?, false, &[], &host_networks()?)? {
        IpNet::V4(subnet) => Ok(subnet),
        IpNet::V6(_) => Err(Error::NoSubnet),
    }
}

/// As the drivers know it.
pub(crate) fn network(bridge: &Bridge) -> crate::model::Network {
    crate::model::Network {
        id: bridge.name.clone(),
        driver: crate::model::Driver::Bridge(crate::model::BridgeOptions {
            device: bridge.name.clone(),
            mtu: Some(bridge.mtu),
            icc: true,
            masquerade: true,
            masquerade6: true,
            gateway_mode: crate::model::GatewayMode::Nat,
            gateway_mode6: crate::model::GatewayMode::Nat,
            source: Vec::new(),
            trusted_interfaces: Vec::new(),
            inhibit_ipv4: false,
        }),
        pools: vec![crate::model::Pool {
            subnet: bridge.subnet.into(),
            range: None,
            gateway: Some(bridge.gateway.into()),
            reserved: std::collections::BTreeMap::new(),
        }],
        internal: false,
    }
}
