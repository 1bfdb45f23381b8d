//! Which network a bridge gets when nobody says.

use crate::Error;
use crate::error::link;
use hull_linux::netlink::Socket;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Docker's default pools in its order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in /20.
fn defaults() -> impl Iterator<Item = Ipv4Net> {
    let net = |a, b, c, prefix| Ipv4Net::new(Ipv4Addr::new(a, b, c, 0), prefix).ok();
    let large = (17..=31).filter_map(move |b| net(172, b, 0, 16));
    let small = (0..=240)
        .step_by(16)
        .filter_map(move |c| net(192, 168, c, 20));
    large.chain(small)
}

/// The first default network that overlaps none of `taken`. Networks that cover everything, such
/// as the default route, do not count.
///
/// # Errors
/// [`Error::NoSubnet`].
pub fn choose_subnet(taken: &[Ipv4Net]) -> Result<Ipv4Net, Error> {
    let overlaps = |net: &Ipv4Net, other: &Ipv4Net| {
        other.prefix_len() > 0 && (net.contains(&other.network()) || other.contains(&net.network()))
    };
    defaults()
        .find(|net| !taken.iter().any(|other| overlaps(net, other)))
        .ok_or(Error::NoSubnet)
}

/// The networks that this host has routes to or addresses in.
///
/// # Errors
/// [`Error::Link`] when the kernel cannot be asked.
pub fn host_networks(socket: &mut Socket) -> Result<Vec<Ipv4Net>, Error> {
    let error = |what| link("read the host's", what);
    let routes = socket.routes().map_err(error("routes"))?;
    let addresses = socket.addresses().map_err(error("addresses"))?;
    let routes = routes.into_iter().map(|r| (r.destination, r.prefix));
    let addresses = addresses
        .into_iter()
        .map(|(_, address, prefix)| (address, prefix));
    Ok(routes
        .chain(addresses)
        .filter_map(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
        .map(|net| net.trunc())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(taken: &[&str]) -> Option<String> {
        let taken: Vec<Ipv4Net> = taken.iter().map(|net| net.parse().unwrap()).collect();
        choose_subnet(&taken).ok().map(|net| net.to_string())
    }

    #[test]
    fn the_first_free_default_is_taken() {
        assert_eq!(chosen(&["0.0.0.0/0"]).unwrap(), "172.17.0.0/16");
        assert_eq!(chosen(&["172.17.5.0/24"]).unwrap(), "172.18.0.0/16");
        assert_eq!(
            chosen(&["172.16.0.0/14", "172.20.0.1/32"]).unwrap(),
            "172.21.0.0/16"
        );
        assert_eq!(
            chosen(&["172.16.0.0/12", "192.168.1.0/24"]).unwrap(),
            "192.168.16.0/20"
        );
        assert_eq!(chosen(&["172.0.0.0/8", "192.168.0.0/16"]), None);
    }
}
