//! Connections of UDP: as long as packets come, conntrack sends them where the first one went, whatever
//! is published since.

use crate::model::{Protocol, Publication};
use hull_linux::conntrack;
use hull_linux::nftables::Socket;
use std::net::IpAddr;

/// Forgets connections that went past ports that are now published, and those to endpoints whose ports
/// no longer are. A failure is logged: such connections end by themselves in three minutes.
pub(super) fn forget(socket: &mut Socket, published: &[Publication], gone: &[Publication]) {
    let udp = |p: &&Publication| p.protocol == Protocol::Udp && p.host.is_some();
    let published: Vec<_> = published.iter().filter(udp).collect();
    let gone: Vec<_> = gone.iter().filter(udp).collect();
    if published.is_empty() && gone.is_empty() {
        return;
    }
    let stale = |flow: &conntrack::Flow| {
        let past = published.iter().any(|p| {
            p.host_ports.contains(&flow.destination.port())
                && p.host
                    .is_some_and(|host| is_meant(host, flow.destination.ip()))
                && flow.answered_by.ip() != p.target
        });
        let stale = gone.iter().any(|p| {
            flow.answered_by.ip() == p.target
                && flow.destination != flow.answered_by
                && p.host_ports.contains(&flow.destination.port())
        });
        past || stale
    };
    match conntrack::forget(socket, Protocol::Udp.number(), stale) {
        Ok(0) => {}
        Ok(count) => tracing::debug!(count, "connections of UDP forgotten"),
        Err(error) => tracing::warn!(%error, "connections of UDP could not be forgotten"),
    }
}

/// Whether packets to `destination` may be for ports published at `host`.
fn is_meant(host: IpAddr, destination: IpAddr) -> bool {
    host == destination || host.is_unspecified() && host.is_ipv4() == destination.is_ipv4()
}
