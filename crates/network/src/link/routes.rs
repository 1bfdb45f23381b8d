//! Default routes of a namespace.

use crate::Error;
use crate::error::{file, link};
use hull_linux::netlink::{self, Batch, DefaultRoute, Socket};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;

/// Makes these the default routes of a namespace, each over the device it is named with, in place of all
/// that it has: a family without one has none afterwards. The unspecified address stands for the device
/// itself, without a router. Routes learnt from router advertisements stay.
///
/// # Errors
/// [`Error`]; the routes may be partly changed then.
pub fn set_default_routes(netns: &Path, routes: &[(&str, IpAddr)]) -> Result<(), Error> {
    inside(netns, "set", |socket| {
        let wanted = wanted(socket, routes)?;
        replace(socket, &wanted, |_| true)
    })
}

/// As [`set_default_routes`], but only in families that have no default route at all: what a daemon that
/// was killed left undone. What the namespace's own programs have made of their routes stays.
///
/// # Errors
/// [`Error`]; the routes may be partly changed then.
pub fn restore_default_routes(netns: &Path, routes: &[(&str, IpAddr)]) -> Result<(), Error> {
    inside(netns, "restore", |socket| {
        let there = socket.default_routes()?;
        let missing = |gateway: IpAddr| {
            let mut same = there.iter().map(|route| route.gateway.is_ipv6());
            !same.any(|ipv6| ipv6 == gateway.is_ipv6())
        };
        let mut routes = routes.to_vec();
        routes.retain(|(_, gateway)| missing(*gateway));
        let wanted = wanted(socket, &routes)?;
        replace(socket, &wanted, |_| false)
    })
}

fn inside(
    netns: &Path,
    what: &'static str,
    work: impl FnOnce(&mut Socket) -> Result<(), netlink::Error> + Send,
) -> Result<(), Error> {
    let namespace = fs_err::File::open(netns).map_err(file("open", netns))?;
    netlink::inside(namespace.as_fd(), || work(&mut Socket::open()?))
        .and_then(|result| result)
        .map_err(link(what, "the default routes"))
}

fn wanted(
    socket: &mut Socket,
    routes: &[(&str, IpAddr)],
) -> Result<Vec<DefaultRoute>, netlink::Error> {
    let route = |(ifname, gateway): &(&str, IpAddr)| {
        Ok(DefaultRoute {
            device: Some(socket.link(ifname)?.index),
            gateway: *gateway,
            metric: 0,
        })
    };
    routes.iter().map(route).collect()
}

/// The new ones come first, in place of an old one each: there is no moment without a route. The old ones
/// of the families for which `all` says so (`true`: IPv6) go.
pub(super) fn replace(
    socket: &mut Socket,
    wanted: &[DefaultRoute],
    all: impl Fn(bool) -> bool,
) -> Result<(), netlink::Error> {
    let mut batch = Batch::new();
    for route in wanted {
        batch.replace_default_route(route);
    }
    socket.run(batch)?;
    let same = |old: &DefaultRoute| {
        wanted
            .iter()
            .any(|new| new.device == old.device && new.gateway == old.gateway)
    };
    let mut batch = Batch::new();
    let old = socket.default_routes()?;
    let goes = |route: &&DefaultRoute| all(route.gateway.is_ipv6()) && !same(route);
    for route in old.iter().filter(goes) {
        batch.delete_default_route(route);
    }
    match socket.run(batch) {
        // Gone by itself meanwhile.
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}
