//! Places on a device of the host's: macvlan and ipvlan.

use super::join::{Joined, Joining};
use super::remove::doom;
use super::{mark, parent};
use crate::Error;
use crate::error::link;
use crate::model::{IpvlanMode, MacvlanMode, Network, ParentOptions};
use hull_linux::netlink::{self, Batch, Link, LinkChange, LinkKind, Mac, NewLink};

pub(super) const fn macvlan_mode(mode: MacvlanMode) -> netlink::MacvlanMode {
    match mode {
        MacvlanMode::Bridge => netlink::MacvlanMode::Bridge,
        MacvlanMode::Private => netlink::MacvlanMode::Private,
        MacvlanMode::Vepa => netlink::MacvlanMode::Vepa,
        MacvlanMode::Passthru => netlink::MacvlanMode::Passthru,
    }
}

pub(super) const fn ipvlan_mode(mode: IpvlanMode) -> netlink::IpvlanMode {
    match mode {
        IpvlanMode::L2 => netlink::IpvlanMode::L2,
        IpvlanMode::L3 => netlink::IpvlanMode::L3,
        IpvlanMode::L3s => netlink::IpvlanMode::L3s,
    }
}

pub(super) fn join_macvlan(
    joining: &mut Joining<'_>,
    network: &Network,
    options: &ParentOptions<MacvlanMode>,
) -> Result<Joined, Error> {
    let mac = joining.endpoint.mac.map(|mac| mac.0);
    let kind = LinkKind::Macvlan(macvlan_mode(options.mode));
    join(
        joining,
        &parent::name(network, options.parent.as_deref()),
        kind,
        mac,
    )
}

pub(super) fn join_ipvlan(
    joining: &mut Joining<'_>,
    network: &Network,
    options: &ParentOptions<IpvlanMode>,
) -> Result<Joined, Error> {
    let kind = LinkKind::Ipvlan(ipvlan_mode(options.mode));
    join(
        joining,
        &parent::name(network, options.parent.as_deref()),
        kind,
        None,
    )
}

fn join(
    joining: &mut Joining<'_>,
    parent: &str,
    kind: LinkKind<'_>,
    mac: Option<Mac>,
) -> Result<Joined, Error> {
    let device = create(joining, parent, kind, mac)?;
    let joined = settle(joining, &device);
    if joined.is_err() {
        // The first failure is the one to tell.
        let _ = doom(&mut joining.inside, &[device]);
    }
    joined
}

/// Makes the device in the namespace, under a name for the moment: kernels before 6.15 look in the host's
/// namespace whether a name is taken, and `eth0` is there.
fn create(
    joining: &mut Joining<'_>,
    parent: &str,
    kind: LinkKind<'_>,
    mac: Option<Mac>,
) -> Result<Link, Error> {
    let endpoint = joining.endpoint;
    let error = || link("join endpoint", &endpoint.id);
    let lower = match joining.host.link(parent) {
        Ok(found) => found.index,
        Err(failed) if failed.is_absent() => return Err(Error::NoDevice(parent.to_owned())),
        Err(failed) => return Err(error()(failed)),
    };
    let mut failure = Error::NameTaken {
        device: endpoint.ifname.clone(),
    };
    for name in mark::names(&endpoint.id) {
        let mut batch = Batch::new();
        batch.create_link(&NewLink {
            name: &name,
            kind,
            mac,
            mtu: None,
            master: None,
            lower: Some(lower),
            group: mark::GROUP,
            namespace: Some(joining.namespace),
            up: false,
        });
        match joining.host.run(batch) {
            Ok(()) => return joining.inside.link(&name).map_err(error()),
            Err(failed) if failed.is_existing() => failure = error()(failed),
            Err(failed) => return Err(error()(failed)),
        }
    }
    Err(failure)
}

fn settle(joining: &mut Joining<'_>, device: &Link) -> Result<Joined, Error> {
    let endpoint = joining.endpoint;
    let mut batch = Batch::new();
    batch.change_link(
        device.index,
        &LinkChange {
            name: Some(&endpoint.ifname),
            alias: Some(&mark::alias(&endpoint.id)),
            ..LinkChange::default()
        },
    );
    let renamed = joining.inside.run(batch);
    let device = match renamed.and_then(|()| joining.inside.link_at(device.index)) {
        Ok(device) => device,
        Err(failed) if failed.is_existing() => return Err(joining.name_taken()),
        Err(failed) => return Err(link("join endpoint", &endpoint.id)(failed)),
    };
    joining.configure(&device)?;
    let mac = device.mac.unwrap_or(Mac([0; 6]));
    joining.announce(&device, mac);
    Ok(Joined {
        mac,
        ifname: device.name,
        without_ipv6: joining.without_ipv6,
    })
}
