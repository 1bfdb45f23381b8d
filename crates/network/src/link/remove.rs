//! Removing endpoints.

use super::mark::{self, Owner};
use super::{background, parent};
use crate::error::{file, link};
use crate::model::{Driver, Network};
use crate::{Error, netns};
use hull_linux::netlink::{self, Batch, Link, LinkChange, Socket};
use std::os::fd::AsFd as _;
use std::path::Path;

/// Takes an endpoint away; one that is not there is no error. `netns`: where it is, if that still
/// exists; with the namespace its devices go by themselves. Waits until the device is gone.
///
/// # Errors
/// [`Error`]; of macvlan and ipvlan also when it cannot be told which of the namespace's devices it is.
pub fn leave(
    network: &Network,
    endpoint_id: &str,
    netns: Option<&Path>,
    ifname: &str,
) -> Result<(), Error> {
    match (&network.driver, netns) {
        (Driver::Bridge(_), _) => remove_pairs(&[endpoint_id]),
        (Driver::Macvlan(options), Some(netns)) => {
            let parent = parent::name(network, options.parent.as_deref());
            remove_inside(endpoint_id, netns, ifname, ("macvlan", &parent))
        }
        (Driver::Ipvlan(options), Some(netns)) => {
            let parent = parent::name(network, options.parent.as_deref());
            remove_inside(endpoint_id, netns, ifname, ("ipvlan", &parent))
        }
        (_, None) => Ok(()),
    }
}

/// Whether an endpoint on a bridge has sent nothing but the announcements of its `addresses` that belong to
/// joining. The packets are counted at the host's end, where the container has no say. Not of one that is
/// not there, or cannot be asked about: that is not known.
#[must_use]
pub fn is_silent(endpoint_id: &str, addresses: usize) -> bool {
    let look = || -> Result<Option<Link>, netlink::Error> {
        let mut socket = Socket::open()?;
        pair(&mut socket, endpoint_id)
    };
    let received = look().ok().flatten().and_then(|near| near.received);
    received.is_some_and(|packets| packets <= addresses as u64)
}

/// Takes down the network of a container that ended: its namespace is unpinned at once, and its
/// endpoints' devices are removed behind the caller's back. The kernel needs some 30 ms to remove a
/// device, nearly all of it waiting until no processor looks at it any more, and nobody else has to
/// wait for that: the address can be given out again, as it only means something inside the pair.
///
/// Should this process end before, the devices go with their namespace, or else by
/// [`reconcile`](super::reconcile()).
///
/// # Errors
/// [`Error::File`] when the namespace's file cannot be removed; the devices are removed all the same.
pub fn dismantle(netns: &Path, endpoints: &[String]) -> Result<(), Error> {
    let unpinned = netns::remove(netns);
    if endpoints.is_empty() {
        return unpinned;
    }
    let owners = endpoints.to_vec();
    background::run("dismantle", move || {
        let ids: Vec<&str> = owners.iter().map(String::as_str).collect();
        if let Err(error) = remove_pairs(&ids) {
            tracing::warn!(endpoints = ?ids, %error, "endpoints' devices were left behind");
        }
    });
    unpinned
}

fn remove_pairs(endpoints: &[&str]) -> Result<(), Error> {
    let error = || link("remove endpoint", endpoints.join(", "));
    let mut socket = Socket::open().map_err(error())?;
    let mut found = Vec::new();
    for id in endpoints {
        found.extend(pair(&mut socket, id).map_err(error())?);
    }
    doom(&mut socket, &found).map_err(error())
}

/// The host's end of an endpoint's pair.
fn pair(socket: &mut Socket, id: &str) -> Result<Option<Link>, netlink::Error> {
    for name in mark::names(id) {
        match socket.link(&name) {
            Ok(found) if mark::owner(&found) == Owner::Id(id) => return Ok(Some(found)),
            // Another's device has the name, so ours has a later one.
            Ok(_) => {}
            Err(failed) if failed.is_absent() => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(None)
}

/// Removes devices. They are put into one group first, and the group is removed: whoever waits for the
/// kernel at the same time finds that the first of them has removed everybody's.
pub(super) fn doom(socket: &mut Socket, devices: &[Link]) -> Result<(), netlink::Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new();
    for device in devices {
        batch.change_link(
            device.index,
            &LinkChange {
                group: Some(mark::DOOMED),
                ..LinkChange::default()
            },
        );
    }
    match socket.run(batch) {
        // One of them has gone by itself; the others are in the group.
        Err(error) if !error.is_absent() => return Err(error),
        _ => {}
    }
    delete_doomed(socket)
}

/// Removes whatever is in that group, of the socket's namespace.
pub(super) fn delete_doomed(socket: &mut Socket) -> Result<(), netlink::Error> {
    let mut batch = Batch::new();
    batch.delete_group(mark::DOOMED);
    match socket.run(batch) {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}

/// `kind` and parent are what nobody inside can change; alias and name are changed by whoever may
/// configure the container's network.
fn remove_inside(
    id: &str,
    netns: &Path,
    ifname: &str,
    (kind, parent): (&str, &str),
) -> Result<(), Error> {
    let error = || link("remove endpoint", id);
    let namespace = match fs_err::File::open(netns) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file("open", netns)(error)),
    };
    let mut host = Socket::open().map_err(error())?;
    let lower = match host.link(parent) {
        Ok(parent) => parent.index,
        // What was on it has gone with it.
        Err(failed) if failed.is_absent() => return Ok(()),
        Err(failed) => return Err(error()(failed)),
    };
    let inside = || {
        let mut socket = Socket::open().map_err(error())?;
        let mut devices = socket.links().map_err(error())?;
        devices.retain(|device| device.kind == kind && device.lower == Some(lower));
        match which(&devices, id, ifname) {
            Some(device) => doom(&mut socket, std::slice::from_ref(device)).map_err(error()),
            None if devices.is_empty() => Ok(()),
            None => Err(Error::Unknown {
                endpoint: id.to_owned(),
                devices: devices.into_iter().map(|device| device.name).collect(),
            }),
        }
    };
    netlink::inside(namespace.as_fd(), inside).map_err(error())?
}

/// Of devices on the same parent.
fn which<'a>(devices: &'a [Link], id: &str, ifname: &str) -> Option<&'a Link> {
    let ours = |device: &&Link| mark::owner(device) == Owner::Id(id);
    let mut marked = devices.iter().filter(ours);
    let named = || devices.iter().find(|device| device.name == ifname);
    let unmarked = |device: &&Link| !matches!(mark::owner(device), Owner::Id(_));
    let mut others = devices.iter().filter(unmarked);
    match (marked.next(), marked.next()) {
        (Some(device), None) => Some(device),
        (Some(_), Some(_)) => named().filter(ours),
        (None, _) => match (others.next(), others.next()) {
            (Some(device), None) => Some(device),
            _ => named().filter(unmarked),
        },
    }
}
