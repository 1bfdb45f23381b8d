//! Ports that are published already. Not all are held by sockets: long ranges are not, and whoever asks
//! first has them.

use crate::Error;
use crate::model::Publication;
use std::net::IpAddr;

/// Refuses ports that others have, and such as contradict each other.
pub(super) fn refuse<'a>(
    publications: &[Publication],
    others: impl Iterator<Item = &'a Publication>,
) -> Result<(), Error> {
    let others: Vec<_> = others.collect();
    for (at, wanted) in publications.iter().enumerate() {
        let before = publications.iter().take(at);
        let mut own = before.filter(|p| leads(p) != leads(wanted));
        let taken = others.iter().find_map(|p| both(wanted, p));
        if let Some((host, port)) = taken.or_else(|| own.find_map(|p| both(wanted, p))) {
            return Err(Error::PortInUse {
                host,
                port,
                protocol: wanted.protocol,
            });
        }
    }
    Ok(())
}

/// Where the host's port 0 would lead: the same for publications that agree where they overlap.
fn leads(publication: &Publication) -> (IpAddr, i32) {
    let shift = i32::from(publication.target_port) - i32::from(*publication.host_ports.start());
    (publication.target, shift)
}

/// The first port that two publications both take, and the wanted address.
fn both(wanted: &Publication, held: &Publication) -> Option<(IpAddr, u16)> {
    let (host, other) = (wanted.host?, held.host?);
    let meet = host.is_ipv4() == other.is_ipv4()
        && (host == other || host.is_unspecified() || other.is_unspecified());
    let first = *wanted.host_ports.start().max(held.host_ports.start());
    let last = *wanted.host_ports.end().min(held.host_ports.end());
    (meet && wanted.protocol == held.protocol && first <= last).then_some((host, first))
}
