//! Devices: what carries networks, and endpoints' places on it. All calls block, and leave nothing
//! behind when they fail.

use crate::Error;
use crate::model::{Endpoint, Network};
use hull_linux::netlink::Mac;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// An endpoint that has been joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its device's name in the namespace.
    pub ifname: String,
}

/// What [`reconcile`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Devices of the host's.
    pub links: Vec<String>,
    /// Namespace files.
    pub namespaces: Vec<PathBuf>,
}

fn not_yet<T>() -> Result<T, Error> {
    Err(Error::Invalid("no driver is there yet".to_owned()))
}

/// Makes what carries a network, or takes what is there. Idempotent.
///
/// # Errors
/// [`Error`]; what was made here is gone again then.
pub fn up(_network: &Network) -> Result<(), Error> {
    not_yet()
}

/// Removes what [`up`] made; what is not there, or was there before, is no error.
///
/// # Errors
/// [`Error::Link`].
pub fn down(_network: &Network) -> Result<(), Error> {
    not_yet()
}

/// Gives a namespace a place on a network that is up; also one in which programs run already.
///
/// # Errors
/// [`Error`]; nothing is left behind then.
pub fn join(_network: &Network, _endpoint: &Endpoint, _netns: &Path) -> Result<Joined, Error> {
    not_yet()
}

/// Takes an endpoint away; one that is not there is no error. `netns`: where it is, if that still exists.
///
/// # Errors
/// [`Error`].
pub fn leave(
    _network: &Network,
    _endpoint_id: &str,
    _netns: Option<&Path>,
    _ifname: &str,
) -> Result<(), Error> {
    not_yet()
}

/// Makes these the default routes of a namespace, in place of all it has; none of a family: none.
///
/// # Errors
/// [`Error`].
pub fn set_default_routes(_netns: &Path, _ifname: &str, _gateways: &[IpAddr]) -> Result<(), Error> {
    not_yet()
}

/// Takes down the network of a container that ended: its namespace is unpinned at once, and its
/// endpoints' devices are removed behind the caller's back.
///
/// # Errors
/// [`Error::File`] when the namespace's file cannot be removed; the devices are removed all the same.
pub fn dismantle(_netns: &Path, _endpoints: &[String]) -> Result<(), Error> {
    not_yet()
}

/// Removes what nobody owns: marked devices of no network and of no endpoint, and files in
/// `namespaces` of which none is `live`. For a daemon's start, before it connects anything.
///
/// # Errors
/// The first failure, after everything else was tried.
pub fn reconcile(
    _networks: &[Network],
    _endpoints: &HashSet<String>,
    _namespaces: &Path,
    _live: &HashSet<String>,
) -> Result<Removed, Error> {
    not_yet()
}
