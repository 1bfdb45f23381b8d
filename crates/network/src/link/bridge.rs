//! Bridges.

use super::mark::{self, Owner};
use super::{background, forwarding, remove};
use crate::Error;
use crate::error::link;
use crate::model::{BridgeOptions, GatewayMode, Network};
use hull_linux::netlink::{Address, Batch, Link, LinkChange, LinkKind, NewLink, Socket};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How the bridge was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Not at all: it was made just now.
    New,
    /// Ours, from an earlier call.
    Ours,
    /// Somebody else's: it is used, and left as it is otherwise.
    Foreign,
}

pub(super) fn up(network: &Network, options: &BridgeOptions, forward: bool) -> Result<(), Error> {
    let name = options.device.as_str();
    mark::check_name(name)?;
    let mut socket = Socket::open().map_err(link("set up bridge", name))?;
    let (bridge, found) = match vacate(&mut socket, name)? {
        Some(bridge) => {
            let found = claim(&bridge, &network.id)?;
            (bridge, found)
        }
        None => (create(&mut socket, network, options)?, Found::New),
    };
    let result =
        set_up(&mut socket, network, options, &bridge, found).and_then(|()| match forward {
            true => enable_forwarding(network),
            false => Ok(()),
        });
    if result.is_err() && found == Found::New {
        // The first failure is the one to tell; the mark lets `reconcile` find what is left.
        let _ = socket.delete_link(name);
    }
    result
}

/// Whether the network's bridge is there, and ours.
pub(super) fn is_there(network: &Network, options: &BridgeOptions) -> Result<bool, Error> {
    let error = || link("look for bridge", &options.device);
    let mut socket = Socket::open().map_err(error())?;
    match socket.link(&options.device) {
        Ok(found) => {
            Ok(mark::owner(&found) == Owner::Id(&network.id) && found.group != mark::DOOMED)
        }
        Err(failed) if failed.is_absent() => Ok(false),
        Err(failed) => Err(error()(failed)),
    }
}

pub(super) fn down(network: &Network, options: &BridgeOptions) -> Result<(), Error> {
    let name = options.device.as_str();
    let error = || link("remove bridge", name);
    let mut socket = Socket::open().map_err(error())?;
    let bridge = match socket.link(name) {
        Ok(bridge) if bridge.kind == "bridge" => bridge,
        Ok(_) => return Ok(()),
        Err(failed) if failed.is_absent() => return Ok(()),
        Err(failed) => return Err(error()(failed)),
    };
    match mark::owner(&bridge) {
        Owner::Id(id) if id != network.id => Ok(()),
        Owner::Id(_) | Owner::Nobody => retire(socket, network, options, &bridge),
        Owner::Stranger => {
            let given = socket.marked_addresses(mark::GIVEN).map_err(error())?;
            let wanted = addresses(network, options, bridge.index);
            let mut batch = Batch::new();
            for address in given.iter().filter(|address| wanted.contains(address)) {
                batch.delete_address(address);
            }
            // Published loopback ports were the only reason for this.
            batch.change_link(
                bridge.index,
                &LinkChange {
                    route_localnet: Some(false),
                    ..LinkChange::default()
                },
            );
            match socket.run(batch) {
                Err(failed) if !failed.is_absent() => Err(error()(failed)),
                _ => Ok(()),
            }
        }
    }
}

/// Takes a bridge's addresses, and so its routes, and lets it be removed. The kernel needs some 30 ms
/// for that, for which nobody has to wait: whoever wants the name meanwhile finds the bridge doomed,
/// and removes it first.
fn retire(
    mut socket: Socket,
    network: &Network,
    options: &BridgeOptions,
    bridge: &Link,
) -> Result<(), Error> {
    let error = || link("remove bridge", &bridge.name);
    let mut batch = Batch::new();
    batch.change_link(
        bridge.index,
        &LinkChange {
            group: Some(mark::DOOMED),
            ..LinkChange::default()
        },
    );
    match socket.run(batch) {
        Err(failed) if failed.is_absent() => return Ok(()),
        other => other.map_err(error())?,
    }
    let mut batch = Batch::new();
    for address in addresses(network, options, bridge.index) {
        batch.delete_address(&address);
    }
    match socket.run(batch) {
        Err(failed) if !failed.is_absent() => return Err(error()(failed)),
        _ => {}
    }
    let name = bridge.name.clone();
    background::run("bridge", move || {
        if let Err(error) = remove::delete_doomed(&mut socket) {
            tracing::warn!(bridge = name, %error, "a bridge was left behind");
        }
    });
    Ok(())
}

/// The bridge with this name, if there is one.
pub(super) fn look(socket: &mut Socket, name: &str) -> Result<Option<Link>, Error> {
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

/// As [`look`]; one that is about to be removed is removed first.
fn vacate(socket: &mut Socket, name: &str) -> Result<Option<Link>, Error> {
    let found = look(socket, name)?;
    if found
        .as_ref()
        .is_some_and(|bridge| bridge.group == mark::DOOMED)
    {
        remove::delete_doomed(socket).map_err(link("remove bridge", name))?;
        return look(socket, name);
    }
    Ok(found)
}

/// Removes the bridge with this name if it is the network's `owner` and nothing is connected to it; whether
/// it was. For what an engine has left whose data are gone: call it only while holding the
/// [`Guard`](crate::Guard), and never with a network that is known.
///
/// # Errors
/// [`Error::Link`] when the devices cannot be listed or the bridge cannot be removed.
pub fn discard_idle(name: &str, owner: &str) -> Result<bool, Error> {
    let error = || link("remove bridge", name);
    let mut socket = Socket::open().map_err(error())?;
    let links = socket.links().map_err(error())?;
    let bridge = links
        .iter()
        .find(|device| device.name == name && mark::owner(device) == Owner::Id(owner));
    let Some(bridge) = bridge else {
        return Ok(false);
    };
    if links.iter().any(|port| port.master == Some(bridge.index)) {
        return Ok(false);
    }
    match socket.delete_link(name) {
        Err(failed) if !failed.is_absent() => Err(error()(failed)),
        _ => Ok(true),
    }
}

fn claim(bridge: &Link, network: &str) -> Result<Found, Error> {
    match mark::owner(bridge) {
        Owner::Id(id) if id == network => Ok(Found::Ours),
        Owner::Id(other) => Err(Error::Taken {
            device: bridge.name.clone(),
            owner: other.to_owned(),
        }),
        Owner::Nobody => Ok(Found::Ours),
        Owner::Stranger => Ok(Found::Foreign),
    }
}

fn create(socket: &mut Socket, network: &Network, options: &BridgeOptions) -> Result<Link, Error> {
    let name = options.device.as_str();
    let mut batch = Batch::new();
    batch.create_link(&NewLink {
        name,
        kind: LinkKind::Bridge,
        // A fixed address, or the bridge would take the least of its ports' and change it.
        mac: Some(mark::bridge_mac(&network.id)),
        mtu: options.mtu,
        master: None,
        lower: None,
        group: mark::GROUP,
        namespace: None,
        up: false,
    });
    socket
        .run_and_look(batch, name)
        .map_err(link("create bridge", name))
}

fn set_up(
    socket: &mut Socket,
    network: &Network,
    options: &BridgeOptions,
    bridge: &Link,
    found: Found,
) -> Result<(), Error> {
    let error = || link("set up bridge", &options.device);
    let wanted = addresses(network, options, bridge.index);
    let ipv6 = wanted.iter().any(|a| a.address.is_ipv6());
    set_ipv6(&options.device, ipv6, found)?;

    let mut batch = Batch::new();
    let ours = found != Found::Foreign;
    let alias = mark::alias(&network.id);
    batch.change_link(
        bridge.index,
        &LinkChange {
            alias: ours.then_some(alias.as_str()),
            mtu: options.mtu.filter(|mtu| ours && *mtu != bridge.mtu),
            group: ours.then_some(mark::GROUP),
            ..LinkChange::default()
        },
    );
    if found == Found::New {
        wanted.iter().for_each(|address| {
            batch.add_address(address);
        });
    } else {
        let all = socket.addresses().map_err(error())?;
        amend(&mut batch, &wanted, &all, bridge.index, ours);
    }
    batch.change_link(
        bridge.index,
        &LinkChange {
            up: Some(true),
            ..LinkChange::default()
        },
    );
    socket.run(batch).map_err(error())
}

fn enable_forwarding(network: &Network) -> Result<(), Error> {
    forwarding::enable_ipv4()?;
    if network
        .pools
        .iter()
        .any(|pool| pool.subnet.addr().is_ipv6())
    {
        forwarding::enable_ipv6()?;
    }
    Ok(())
}

/// The bridge's own addresses: the gateways of all pools, where the host is the router.
fn addresses(network: &Network, options: &BridgeOptions, device: u32) -> Vec<Address> {
    let has = |address: &IpAddr| match address {
        IpAddr::V4(_) => !options.inhibit_ipv4 && options.gateway_mode != GatewayMode::Isolated,
        IpAddr::V6(_) => options.gateway_mode6 != GatewayMode::Isolated,
    };
    let own = network.pools.iter().filter_map(|pool| {
        let address = pool.gateway.filter(has)?;
        Some(Address {
            device,
            address,
            prefix: pool.subnet.prefix_len(),
        })
    });
    own.collect()
}

/// Adds what is missing. From a bridge of ours goes what it had as another network, or before the
/// network was changed; link-local addresses are the kernel's.
fn amend(batch: &mut Batch, wanted: &[Address], all: &[Address], device: u32, ours: bool) {
    let link_local = |address: &IpAddr| match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let present: Vec<&Address> = all.iter().filter(|a| a.device == device).collect();
    for address in present.iter().filter(|a| ours && !link_local(&a.address)) {
        if !wanted.contains(address) {
            batch.delete_address(address);
        }
    }
    for address in wanted.iter().filter(|a| !present.contains(a)) {
        match ours {
            true => batch.add_address(address),
            // So that it is known whose it is when the network goes.
            false => batch.add_marked_address(address, mark::GIVEN),
        };
    }
}

/// Before the bridge is up, so that the kernel does nothing by itself: no addresses from routers'
/// advertisements, which any container could send, and no IPv6 at all on a network without it. A
/// foreign bridge only gets what an IPv6 network cannot do without.
fn set_ipv6(device: &str, wanted: bool, found: Found) -> Result<(), Error> {
    let settings = PathBuf::from("/proc/sys/net/ipv6/conf").join(device);
    if !wanted && (found == Found::Foreign || !settings.exists()) {
        return Ok(());
    }
    let set = |name: &str, value: &str| {
        let path: &Path = &settings.join(name);
        forwarding::write(path, value)
    };
    if found == Found::Foreign {
        // The rest is its owner's: the host may have its own addresses from advertisements there.
        return match forwarding::reads(&settings.join("disable_ipv6"), "1") {
            true => set("disable_ipv6", "0"),
            false => Ok(()),
        };
    }
    set("accept_ra", "0")?;
    set("disable_ipv6", if wanted { "0" } else { "1" })
}

/// The bridge for an endpoint to join.
pub(super) fn joinable(socket: &mut Socket, options: &BridgeOptions) -> Result<Link, Error> {
    look(socket, &options.device)?.ok_or_else(|| Error::NoDevice(options.device.clone()))
}
