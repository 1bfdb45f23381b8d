//! Endpoints: a namespace's place on a bridge.

use crate::error::{file, link};
use crate::{Bridge, Error, netns};
use hull_linux::netlink::{self, Link, Mac, Socket, VethPair};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

/// A place on a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whose it is; the engine uses container ids.
    pub id: String,
    /// The network namespace's file.
    pub netns: PathBuf,
    /// Its address, in the bridge's network.
    pub address: Ipv4Addr,
    /// Its router; `None` for no default route.
    pub gateway: Option<Ipv4Addr>,
    /// Its Ethernet address; see [`Mac::from_ipv4`].
    pub mac: Mac,
    /// The device's name in the namespace.
    pub ifname: String,
}

/// What [`reconcile`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Host ends of veth pairs.
    pub links: Vec<String>,
    /// Namespace files.
    pub namespaces: Vec<PathBuf>,
}

/// The mark of our devices: their alias is this and the endpoint's id. Names alone prove nothing,
/// since other engines use the same pattern.
const MARK: &str = "hull:";
/// How many names are tried before it is said that they are all taken.
const NAMES: u8 = 4;

/// Connects an endpoint to a bridge: a veth pair whose other end comes to be in the namespace, under
/// its final name, with address and default route.
///
/// # Errors
/// [`Error`]; nothing is left behind then.
pub fn connect(bridge: &Bridge, endpoint: &Endpoint) -> Result<(), Error> {
    let error = || link("connect endpoint", &endpoint.id);
    let namespace = fs_err::File::open(&endpoint.netns).map_err(file("open", &endpoint.netns))?;
    let mut inside = netlink::open_in(namespace.as_fd()).map_err(error())?;
    let mut host = Socket::open().map_err(error())?;
    let alias = format!("{MARK}{}", endpoint.id);
    let name = create_pair(&mut host, bridge, endpoint, &alias, namespace.as_fd())?;
    configure(&mut inside, bridge, endpoint).map_err(|failed| {
        // The pair goes as a whole; should that fail too, the mark lets `reconcile` find it.
        let _ = host.delete_link(&name);
        error()(failed)
    })
}

/// Makes the pair under the first of the endpoint's names that is free.
fn create_pair(
    host: &mut Socket,
    bridge: &Bridge,
    endpoint: &Endpoint,
    alias: &str,
    namespace: std::os::fd::BorrowedFd<'_>,
) -> Result<String, Error> {
    let mut taken = None;
    for name in names(&endpoint.id) {
        let made = host.create_veth(&VethPair {
            name: &name,
            alias,
            master: bridge.index,
            namespace,
            peer_name: &endpoint.ifname,
            peer_mac: endpoint.mac,
            mtu: bridge.mtu,
        });
        match made {
            Ok(()) => return Ok(name),
            // It may also be the other end's name; then the next attempt fails the same way.
            Err(error) if error.is_existing() => taken = Some(error),
            Err(error) => return Err(link("connect endpoint", &endpoint.id)(error)),
        }
    }
    match taken {
        Some(error) => Err(link("connect endpoint", &endpoint.id)(error)),
        None => Err(Error::Invalid(format!(
            "endpoint {} has no name",
            endpoint.id
        ))),
    }
}

fn configure(
    inside: &mut Socket,
    bridge: &Bridge,
    endpoint: &Endpoint,
) -> Result<(), netlink::Error> {
    // The kernel cannot make the other end already up: its peer does not exist yet.
    inside.set_up(&endpoint.ifname)?;
    let device = inside.link(&endpoint.ifname)?;
    inside.add_address(device.index, endpoint.address, bridge.subnet.prefix_len())?;
    match endpoint.gateway {
        Some(gateway) => inside.add_default_route(device.index, gateway),
        None => Ok(()),
    }
}

/// Disconnects an endpoint: both ends of its pair are gone afterwards. One that is not connected, or
/// whose namespace ended and took the pair with it, is no error.
///
/// # Errors
/// [`Error::Link`].
pub fn disconnect(id: &str) -> Result<(), Error> {
    let error = || link("disconnect endpoint", id);
    let mut socket = Socket::open().map_err(error())?;
    let alias = format!("{MARK}{id}");
    for name in names(id) {
        match socket.link(&name) {
            Ok(found) if found.alias == alias => return delete(&mut socket, &found, id),
            // Another's device has the name, so ours has a later one.
            Ok(_) => {}
            Err(failed) if failed.is_absent() => {}
            Err(failed) => return Err(error()(failed)),
        }
    }
    Ok(())
}

/// Takes down the network of a container that ended: its namespace is unpinned at once, and its
/// endpoint's pair removed behind the caller's back. The kernel needs some 30 ms to remove a device,
/// nearly all of it waiting until no processor looks at it any more, and nobody else has to wait for
/// that: the address can be given out again, as it only means something inside the pair.
///
/// Should this process end before, the pair goes with its namespace, or else by [`reconcile`].
///
/// # Errors
/// [`Error::File`] when the namespace's file cannot be removed; the pair is removed all the same.
pub fn dismantle(id: &str, netns: &Path) -> Result<(), Error> {
    let unpinned = netns::remove(netns);
    let owner = id.to_owned();
    let remove = move || {
        if let Err(error) = disconnect(&owner) {
            tracing::warn!(endpoint = owner, %error, "an endpoint's device was left behind");
        }
    };
    let thread = std::thread::Builder::new()
        .name("disconnect".to_owned())
        .stack_size(128 << 10)
        .spawn(remove);
    if thread.is_err() {
        // No threads left: then the caller has to wait after all.
        disconnect(id)?;
    }
    unpinned
}

fn delete(socket: &mut Socket, device: &Link, id: &str) -> Result<(), Error> {
    match socket.delete_link(&device.name) {
        Err(failed) if !failed.is_absent() => Err(link("disconnect endpoint", id)(failed)),
        _ => Ok(()),
    }
}

/// Removes what no live endpoint owns: marked devices on `bridge` (or on none), and files in
/// `namespaces`. For a daemon's start, before it connects anything.
///
/// # Errors
/// The first failure, after everything else was tried.
pub fn reconcile(
    bridge: &str,
    namespaces: &Path,
    live: &HashSet<String>,
) -> Result<Removed, Error> {
    let error = || link("clean up network", bridge);
    let mut socket = Socket::open().map_err(error())?;
    let links = socket.links().map_err(error())?;
    let master = links.iter().find(|l| l.name == bridge).map(|l| l.index);
    let mut removed = Removed::default();
    let mut failure = None;
    for device in &links {
        let stale = device
            .alias
            .strip_prefix(MARK)
            .is_some_and(|id| !live.contains(id));
        if !stale || device.kind != "veth" || (device.master.is_some() && device.master != master) {
            continue;
        }
        match delete(&mut socket, device, &device.alias) {
            Ok(()) => removed.links.push(device.name.clone()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    for path in stale_files(namespaces, live)? {
        match netns::remove(&path) {
            Ok(()) => removed.namespaces.push(path),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(removed),
    }
}

fn stale_files(directory: &Path, live: &HashSet<String>) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs_err::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file("list", directory)(error)),
    };
    let mut stale = Vec::new();
    for entry in entries {
        let entry = entry.map_err(file("list", directory))?;
        let known = entry
            .file_name()
            .to_str()
            .is_some_and(|id| live.contains(id));
        if !known {
            stale.push(entry.path());
        }
    }
    Ok(stale)
}

/// The names of an endpoint's host end, `veth` and seven digits each, in the order in which they are
/// tried. They follow from the id, so nobody has to remember which one it was.
fn names(id: &str) -> impl Iterator<Item = String> {
    (0..NAMES).map(move |n| {
        // FNV-1a, then one more multiplication so that short ids reach the upper bits too. It must be
        // the same in every version of this program.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in id.bytes().chain([n]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("veth{:07x}", hash >> 36)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_devices_names_and_differ() {
        let all: HashSet<String> = ["a", "b", ""].into_iter().flat_map(names).collect();
        assert_eq!(all.len(), 12);
        assert!(all.iter().all(|name| name.len() == 11));
    }
}
