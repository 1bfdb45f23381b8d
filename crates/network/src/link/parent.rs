//! The device below a macvlan or ipvlan network.

use super::mark::{self, Owner};
use super::{child, forwarding};
use crate::Error;
use crate::error::link;
use crate::model::{IpvlanMode, MacvlanMode, Network, ParentOptions};
use hull_linux::netlink::{self, Batch, Link, LinkChange, LinkKind, NewLink, Socket};
use std::path::PathBuf;

/// Digits of the network's id in the name of a parent that leads nowhere, as Docker's.
const ID_DIGITS: usize = 12;
const VLANS: std::ops::RangeInclusive<u16> = 1..=4094;

pub(super) fn up_macvlan(
    network: &Network,
    options: &ParentOptions<MacvlanMode>,
) -> Result<(), Error> {
    up(
        network,
        options.parent.as_deref(),
        LinkKind::Macvlan(child::macvlan_mode(options.mode)),
        "macvlan",
    )
}

pub(super) fn up_ipvlan(
    network: &Network,
    options: &ParentOptions<IpvlanMode>,
) -> Result<(), Error> {
    up(
        network,
        options.parent.as_deref(),
        LinkKind::Ipvlan(child::ipvlan_mode(options.mode)),
        "ipvlan",
    )
}

fn up(
    network: &Network,
    parent: Option<&str>,
    kind: LinkKind<'_>,
    kind_name: &'static str,
) -> Result<(), Error> {
    let name = name(network, parent);
    mark::check_name(&name)?;
    if name == "lo" {
        return Err(Error::Invalid(format!(
            "loopback interface is not a valid {kind_name} parent link"
        )));
    }
    let error = || link("set up the parent device", &name);
    let mut socket = Socket::open().map_err(error())?;
    if !socket.supports(kind).map_err(error())? {
        return Err(Error::Unsupported { kind: kind_name });
    }
    match socket.link(&name) {
        Ok(found) => return adopt(&mut socket, network, &found),
        Err(failed) if failed.is_absent() => {}
        Err(failed) => return Err(error()(failed)),
    }
    let made = match parent {
        None => create_dead_end(&mut socket, &name).map_err(error()),
        Some(parent) => create_vlan(&mut socket, parent),
    };
    let settled = made.and_then(|()| settle(&mut socket, network, &name));
    if settled.is_err() && ours(&mut socket, &name) {
        let _ = socket.delete_link(&name);
    }
    settled
}

/// The parent is there; one whose creation was interrupted is finished.
fn adopt(socket: &mut Socket, network: &Network, found: &Link) -> Result<(), Error> {
    match mark::owner(found) {
        Owner::Nobody => settle(socket, network, &found.name),
        // A VLAN may be another network's, made first; it stays as long as that one.
        Owner::Id(_) | Owner::Stranger => Ok(()),
    }
}

fn ours(socket: &mut Socket, name: &str) -> bool {
    socket
        .link(name)
        .is_ok_and(|found| found.group == mark::GROUP)
}

pub(super) fn down(network: &Network, parent: Option<&str>) -> Result<(), Error> {
    let name = name(network, parent);
    let error = || link("remove the parent device", &name);
    let mut socket = Socket::open().map_err(error())?;
    match socket.link(&name) {
        Ok(found) if mark::owner(&found) == Owner::Id(&network.id) => {
            match socket.delete_link(&name) {
                Err(failed) if !failed.is_absent() => Err(error()(failed)),
                _ => Ok(()),
            }
        }
        Ok(_) => Ok(()),
        Err(failed) if failed.is_absent() => Ok(()),
        Err(failed) => Err(error()(failed)),
    }
}

/// The parent's name: as given, or `dm-` and the beginning of the network's id.
pub(super) fn name(network: &Network, parent: Option<&str>) -> String {
    match parent {
        Some(parent) => parent.to_owned(),
        None => format!(
            "dm-{}",
            network.id.chars().take(ID_DIGITS).collect::<String>()
        ),
    }
}

/// A device that leads nowhere: a dummy, or a bridge without ports where the kernel has no dummies.
fn create_dead_end(socket: &mut Socket, name: &str) -> Result<(), netlink::Error> {
    match socket.run(creation(name, LinkKind::Dummy, None)) {
        Err(error) if error.is_unsupported() => socket.run(creation(name, LinkKind::Bridge, None)),
        other => other,
    }
}

/// `eth0.5`: VLAN 5 of `eth0`.
fn create_vlan(socket: &mut Socket, name: &str) -> Result<(), Error> {
    let error = || link("create VLAN", name);
    let Some((below, id)) = name.rsplit_once('.') else {
        return Err(Error::NoDevice(name.to_owned()));
    };
    let id = id.parse().ok().filter(|id| VLANS.contains(id)).ok_or_else(|| {
        Error::Invalid(format!(
            "`{name}` is no device and no VLAN of one: that is DEVICE.NUMBER, the number from {} to {}",
            VLANS.start(),
            VLANS.end()
        ))
    })?;
    let below = match socket.link(below) {
        Ok(found) => found,
        Err(failed) if failed.is_absent() => return Err(Error::NoDevice(below.to_owned())),
        Err(failed) => return Err(error()(failed)),
    };
    match socket.run(creation(name, LinkKind::Vlan(id), Some(below.index))) {
        Err(failed) if failed.is_unsupported() => Err(Error::Unsupported { kind: "vlan" }),
        other => other.map_err(error()),
    }
}

fn creation(name: &str, kind: LinkKind<'_>, lower: Option<u32>) -> Batch {
    let mut batch = Batch::new();
    batch.create_link(&NewLink {
        name,
        kind,
        mac: None,
        mtu: None,
        master: None,
        lower,
        group: mark::GROUP,
        namespace: None,
        up: false,
    });
    batch
}

/// Marks a parent that was made here, and sets it up. The host itself has no IPv6 address there.
fn settle(socket: &mut Socket, network: &Network, name: &str) -> Result<(), Error> {
    let settings = PathBuf::from("/proc/sys/net/ipv6/conf")
        .join(name)
        .join("disable_ipv6");
    if settings.exists() {
        forwarding::write(&settings, "1")?;
    }
    let mut batch = Batch::new();
    batch.change_named(
        name,
        &LinkChange {
            alias: Some(&mark::alias(&network.id)),
            group: Some(mark::GROUP),
            up: Some(true),
            ..LinkChange::default()
        },
    );
    socket
        .run(batch)
        .map_err(link("set up the parent device", name))
}
