//! Endpoints: a namespace's place on a bridge.

use crate::error::{file, link};
use crate::{Bridge, Error, netns};
use hull_linux::netlink::{Link, Mac, Socket};
use std::collections::HashSet;
use std::net::Ipv4Addr;
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

/// Connects an endpoint to a bridge: a veth pair whose other end comes to be in the namespace, under
/// its final name, with address and default route.
///
/// # Errors
/// [`Error`]; nothing is left behind then.
pub fn connect(bridge: &Bridge, endpoint: &Endpoint) -> Result<(), Error> {
    let network = crate::bridge::network(bridge);
    let new = crate::model::Endpoint {
        id: endpoint.id.clone(),
        ifname: endpoint.ifname.clone(),
        mac: Some(crate::model::MacAddress(endpoint.mac)),
        addresses: ipnet::IpNet::new(endpoint.address.into(), bridge.subnet.prefix_len())
            .into_iter()
            .collect(),
        gateways: endpoint.gateway.map(Into::into).into_iter().collect(),
        sysctls: Vec::new(),
    };
    crate::link::join(&network, &new, &endpoint.netns).map(|_| ())
}

/// Disconnects an endpoint.
///
/// # Errors
/// [`Error::Link`].
pub fn disconnect(id: &str) -> Result<(), Error> {
    crate::link::remove_pairs(&[id])
}

/// As [`crate::link::dismantle`], for one endpoint.
///
/// # Errors
/// [`Error::File`].
pub fn dismantle(id: &str, netns: &Path) -> Result<(), Error> {
    crate::link::dismantle(netns, &[id.to_owned()])
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
