//! `route_localnet`: lets a bridge carry packets from and to 127.0.0.0/8, which ports published at the
//! loopback device need. On only while there are such ports, since without the table's rules a
//! container, or whoever else is on the bridge, would reach the host's own programs there.

use super::NetworkRules;
use crate::model::Publication;
use hull_linux::netlink::{Batch, Error, LinkChange, Socket};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The setting of bridges in the network namespace where this was made.
#[derive(Debug)]
pub(super) struct Loopback {
    socket: Option<Socket>,
    /// Bridges where it was switched on.
    on: BTreeSet<String>,
}

/// Whether the host itself may ask 127.0.0.0/8 for it.
fn concerns(publication: &Publication) -> bool {
    matches!(publication.host, Some(IpAddr::V4(host)) if host.is_unspecified() || host.is_loopback())
}

impl Loopback {
    /// Of the calling thread's network namespace.
    pub(super) fn new() -> Self {
        Self {
            socket: Socket::open().ok(),
            on: BTreeSet::new(),
        }
    }

    /// Switches it on where ports are published and off where they no longer are. A failure is logged:
    /// the ports are reached at the host's other addresses.
    pub(super) fn sync<'a>(
        &mut self,
        published: impl Iterator<Item = &'a Publication>,
        network: impl Fn(&str) -> Option<&'a NetworkRules>,
    ) {
        let wanted: BTreeSet<String> = published
            .filter(|publication| concerns(publication))
            .filter_map(|publication| network(&publication.network))
            .filter(|network| !network.internal)
            .map(|network| network.device.clone())
            .collect();
        for device in &self.on - &wanted {
            self.set(&device, false);
            self.on.remove(&device);
        }
        for device in &wanted - &self.on {
            if self.set(&device, true) {
                self.on.insert(device);
            }
        }
    }

    fn set(&mut self, device: &str, on: bool) -> bool {
        let Some(socket) = &mut self.socket else {
            return false;
        };
        match write(socket, device, on) {
            Ok(()) => true,
            // It is on its way, or went first.
            Err(error) if error.is_absent() => false,
            Err(error) => {
                tracing::warn!(%error, device, "ports are not published at 127.0.0.1");
                false
            }
        }
    }
}

fn write(socket: &mut Socket, device: &str, on: bool) -> Result<(), Error> {
    let mut batch = Batch::new();
    let change = LinkChange {
        route_localnet: Some(on),
        ..LinkChange::default()
    };
    batch.change_link(socket.link(device)?.index, &change);
    socket.run(batch)
}
