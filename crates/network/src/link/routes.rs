//! Default routes of a namespace.

use crate::Error;
use crate::error::{file, link};
use hull_linux::netlink::{self, Batch, DefaultRoute, Socket};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;

/// Makes these the default routes of a namespace, over its device `ifname`, in place of all it has; a
/// family without one in `gateways` has none afterwards. The unspecified address stands for the device
/// itself, without a router. Routes learnt from router advertisements stay.
///
/// # Errors
/// [`Error`]; the routes may be partly changed then.
pub fn set_default_routes(netns: &Path, ifname: &str, gateways: &[IpAddr]) -> Result<(), Error> {
    let namespace = fs_err::File::open(netns).map_err(file("open", netns))?;
    let error = || link("set the default routes of", ifname);
    netlink::inside(namespace.as_fd(), || {
        let mut socket = Socket::open()?;
        // Without a new route the device does not matter, and may be gone.
        let index = match gateways {
            [] => 0,
            _ => socket.link(ifname)?.index,
        };
        replace(&mut socket, index, gateways)
    })
    .and_then(|result| result)
    .map_err(error())
}

/// The new ones come first, in place of an old one each: there is no moment without a route.
pub(super) fn replace(
    socket: &mut Socket,
    index: u32,
    gateways: &[IpAddr],
) -> Result<(), netlink::Error> {
    let wanted: Vec<DefaultRoute> = gateways
        .iter()
        .map(|gateway| DefaultRoute {
            device: Some(index),
            gateway: *gateway,
            metric: 0,
        })
        .collect();
    let mut batch = Batch::new();
    for route in &wanted {
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
    for route in old.iter().filter(|route| !same(route)) {
        batch.delete_default_route(route);
    }
    match socket.run(batch) {
        // Gone by itself meanwhile.
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}
