//! What nobody owns any more.

use super::mark::{self, Owner};
use super::remove::doom;
use crate::error::{file, link};
use crate::model::{Driver, Network};
use crate::{Error, netns};
use hull_linux::netlink::{self, Link, Socket};
use std::collections::HashSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

/// What [`reconcile`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Devices, of the host's namespace and of live ones.
    pub links: Vec<String>,
    /// Namespace files.
    pub namespaces: Vec<PathBuf>,
}

/// Removes what nobody owns: marked devices of none of these networks and endpoints, and files in
/// `namespaces` of which none is `live`. For a daemon's start, before it connects anything. All marked
/// devices of the host are taken for ours: one daemon to a network namespace.
///
/// # Errors
/// The first failure, after everything else was tried.
pub fn reconcile(
    networks: &[Network],
    endpoints: &HashSet<String>,
    namespaces: &Path,
    live: &HashSet<String>,
) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    let owned = |id: &str| endpoints.contains(id) || networks.iter().any(|n| n.id == id);
    let mut failure = sweep(owned).map(|names| removed.links = names).err();
    let nested = networks
        .iter()
        .any(|network| !matches!(network.driver, Driver::Bridge(_)));
    for path in files(namespaces)? {
        let known = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|id| live.contains(id));
        let result = match (known, nested) {
            (false, _) => netns::remove(&path).map(|()| removed.namespaces.push(path)),
            // The devices of macvlan and ipvlan endpoints are in their namespaces only.
            (true, true) => sweep_inside(&path, owned).map(|names| removed.links.extend(names)),
            (true, false) => Ok(()),
        };
        failure = failure.or(result.err());
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(removed),
    }
}

/// Removes the stale devices of the calling thread's network namespace.
fn sweep(owned: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
    let error = || link("clean up", "network devices");
    let mut socket = Socket::open().map_err(error())?;
    let mut stale = socket.links().map_err(error())?;
    stale.retain(|device: &Link| match mark::owner(device) {
        Owner::Id(id) => !owned(id),
        Owner::Nobody => true,
        Owner::Stranger => false,
    });
    doom(&mut socket, &stale).map_err(error())?;
    Ok(stale.into_iter().map(|device| device.name).collect())
}

fn sweep_inside(path: &Path, owned: impl Fn(&str) -> bool + Send) -> Result<Vec<String>, Error> {
    let namespace = fs_err::File::open(path).map_err(file("open", path))?;
    netlink::inside(namespace.as_fd(), || sweep(owned))
        .map_err(link("clean up", path.display().to_string()))?
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs_err::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file("list", directory)(error)),
    };
    entries
        .map(|entry| Ok(entry.map_err(file("list", directory))?.path()))
        .collect()
}
