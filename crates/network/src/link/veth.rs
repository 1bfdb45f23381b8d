//! Places on a bridge: veth pairs.

use super::join::{Joined, Joining};
use super::{bridge, mark};
use crate::Error;
use crate::error::link;
use crate::model::BridgeOptions;
use hull_linux::netlink::{Batch, BridgePort, Link, LinkChange, LinkKind, NewLink, VethPeer};

pub(super) fn join(joining: &mut Joining<'_>, options: &BridgeOptions) -> Result<Joined, Error> {
    let bridge = bridge::joinable(&mut joining.host, options)?;
    let name = create(joining, options, &bridge)?;
    let joined = connect(joining, options, &name);
    if joined.is_err() {
        // The pair goes as a whole; should that fail too, its mark lets `reconcile` find it.
        let _ = joining.host.delete_link(&name);
    }
    joined
}

/// Makes the pair under the first of the endpoint's names that is free, the far end in the namespace
/// under its final name.
fn create(
    joining: &mut Joining<'_>,
    options: &BridgeOptions,
    bridge: &Link,
) -> Result<String, Error> {
    let endpoint = joining.endpoint;
    let error = || link("join endpoint", &endpoint.id);
    let mut taken = None;
    for name in mark::names(&endpoint.id) {
        let mut batch = Batch::new();
        batch.create_link(&NewLink {
            name: &name,
            kind: LinkKind::Veth(VethPeer {
                name: &endpoint.ifname,
                mac: endpoint.mac.map(|mac| mac.0),
                namespace: joining.namespace,
            }),
            mac: None,
            mtu: Some(options.mtu.unwrap_or(bridge.mtu)),
            master: Some(bridge.index),
            lower: None,
            group: mark::GROUP,
            namespace: None,
            up: true,
        });
        match joining.host.run(batch) {
            Ok(()) => return Ok(name),
            Err(failed) if failed.is_existing() => {
                if joining.name_is_taken() {
                    return Err(joining.name_taken());
                }
                taken = Some(failed);
            }
            Err(failed) => return Err(error()(failed)),
        }
    }
    match taken {
        Some(failed) => Err(error()(failed)),
        None => Err(joining.name_taken()),
    }
}

fn connect(
    joining: &mut Joining<'_>,
    options: &BridgeOptions,
    name: &str,
) -> Result<Joined, Error> {
    let endpoint = joining.endpoint;
    let error = || link("join endpoint", &endpoint.id);
    // Not with the creation: had the name been another's, his device would get our mark.
    let mut batch = Batch::new();
    batch.change_named(
        name,
        &LinkChange {
            alias: Some(&mark::alias(&endpoint.id)),
            port: Some(BridgePort {
                // A published port may lead back to whoever asks.
                hairpin: true,
                isolated: !options.icc,
            }),
            ..LinkChange::default()
        },
    );
    let near = joining.host.run_and_look(batch, name).map_err(error())?;
    let far = match (near.lower, endpoint.mac) {
        (Some(index), Some(mac)) if !endpoint.ifname.ends_with("%d") => Link {
            index,
            name: endpoint.ifname.clone(),
            mac: Some(mac.0),
            ..Link::default()
        },
        (Some(index), _) => joining.inside.link_at(index).map_err(error())?,
        // Only if somebody took it away a moment ago.
        (None, _) => return Err(Error::NoDevice(endpoint.ifname.clone())),
    };
    joining.configure(&far)?;
    // Or the bridge would drop the first packets.
    joining.host.carrier(name).map_err(error())?;
    let mac = far.mac.unwrap_or(hull_linux::netlink::Mac([0; 6]));
    joining.announce(&far, mac);
    Ok(Joined {
        mac,
        ifname: far.name,
        without_ipv6: joining.without_ipv6,
    })
}
