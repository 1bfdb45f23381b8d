//! Which subnet a network gets when nobody says.

use crate::Error;
use crate::error::link;
use crate::ipam::overlap;
use hull_linux::netlink::{Reach, Socket};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range that is cut into subnets of one size: dockerd's `--default-address-pool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultPool {
    /// The whole range.
    pub base: IpNet,
    /// The prefix length of each subnet.
    pub size: u8,
}

impl FromStr for DefaultPool {
    type Err = Error;

    /// Reads `base=10.0.0.0/8,size=24`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |words: String| Error::DefaultPool(words);
        let (mut base, mut size) = (None, None);
        for field in text.split(',') {
            let (key, value) = field.split_once('=').ok_or_else(|| {
                refused(format!("invalid field '{field}' must be a key=value pair"))
            })?;
            match key.to_ascii_lowercase().as_str() {
                "base" => {
                    let parsed = value.parse::<IpNet>();
                    base = Some(parsed.map_err(|_| {
                        refused(format!("invalid base prefix {value:?}: use ADDRESS/LENGTH"))
                    })?);
                }
                "size" => {
                    let parsed = value.parse();
                    size = Some(parsed.map_err(|_| {
                        refused(format!("invalid size value: {text:?} (must be integer)"))
                    })?);
                }
                _ => return Err(refused(format!("unexpected key '{key}' in '{text}'"))),
            }
        }
        let missing = || refused(format!("'{text}' must have a base and a size"));
        let pool = Self {
            base: base.ok_or_else(missing)?,
            size: size.ok_or_else(missing)?,
        };
        pool.check()
    }
}

impl fmt::Display for DefaultPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "base={},size={}", self.base, self.size)
    }
}

impl DefaultPool {
    /// The pool with its base cut to its prefix, if its size fits.
    fn check(self) -> Result<Self, Error> {
        let Self { base, size } = self;
        if size > base.max_prefix_len() {
            return Err(Error::DefaultPool(format!(
                "{base} has no subnets of size {size}"
            )));
        }
        if base.prefix_len() > size {
            return Err(Error::DefaultPool(format!(
                "{base} has a smaller prefix (/{}) than the target size of that pool (/{size})",
                base.prefix_len()
            )));
        }
        Ok(Self {
            base: base.trunc(),
            size,
        })
    }

    fn is_v6(&self) -> bool {
        matches!(self.base, IpNet::V6(_))
    }

    /// Its first subnet that overlaps none of `taken`.
    fn first_free(&self, taken: &[&IpNet]) -> Option<IpNet> {
        let mut candidate = IpNet::new(self.base.network(), self.size).ok()?;
        while let Some(other) = taken.iter().find(|other| overlap(other, &candidate)) {
            // On after whichever of the two ends later.
            let end = other.broadcast().max(candidate.broadcast());
            let next = IpNet::new(after(end)?, self.size).ok()?;
            // The other may end within a subnet of ours.
            candidate = match next.trunc() == next {
                true => next,
                false => IpNet::new(after(next.broadcast())?, self.size).ok()?,
            };
        }
        self.base.contains(&candidate).then_some(candidate)
    }
}

fn after(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(a) => Ipv4Addr::from(u32::from(a).checked_add(1)?).into(),
        IpAddr::V6(a) => Ipv6Addr::from(u128::from(a).checked_add(1)?).into(),
    })
}

/// The pools from which subnets are chosen: the `configured` ones, in the order of their addresses as
/// with dockerd, or else Docker's 31 subnets and after them /24 of 10.208.0.0/12, so that the 32nd
/// network works as well. Without a configured IPv6 pool there is one of /64 in a /48 of unique
/// local addresses (RFC 4193) that is derived from `engine_id` as dockerd derives its own.
///
/// # Errors
/// [`Error::DefaultPool`].
pub fn default_pools(
    configured: &[DefaultPool],
    engine_id: &str,
) -> Result<Vec<DefaultPool>, Error> {
    let mut pools = configured
        .iter()
        .map(|pool| pool.check())
        .collect::<Result<Vec<_>, _>>()?;
    pools.sort_by_key(|pool| (pool.base, pool.size));
    if pools.is_empty() {
        pools.extend(docker_pools());
        let more = Ipv4Net::new(Ipv4Addr::new(10, 208, 0, 0), 12);
        pools.extend(more.map(|base| DefaultPool {
            base: base.into(),
            size: 24,
        }));
    }
    if !pools.iter().any(DefaultPool::is_v6) {
        pools.extend(local_pool(engine_id));
    }
    Ok(pools)
}

/// Docker's default pools in its order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in /20.
fn docker_pools() -> impl Iterator<Item = DefaultPool> {
    let large = (17..=31).map(|b| (Ipv4Addr::new(172, b, 0, 0), 16, 16));
    large
        .chain([(Ipv4Addr::new(192, 168, 0, 0), 16, 20)])
        .filter_map(|(address, prefix, size)| {
            let base = Ipv4Net::new(address, prefix).ok()?.into();
            Some(DefaultPool { base, size })
        })
}

/// `fd` and 40 bits of the SHA-256 of the engine's id: bytes 3 to 7 of it, as dockerd takes them.
fn local_pool(engine_id: &str) -> Option<DefaultPool> {
    let digest: [u8; 32] = sha2::Sha256::digest(engine_id).into();
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&digest[3..8]);
    let base = Ipv6Net::new(Ipv6Addr::from(octets), 48).ok()?.into();
    Some(DefaultPool { base, size: 64 })
}

/// What addresses the host has to do with already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNetworks {
    /// The networks it is part of, and its name servers.
    pub near: Vec<IpNet>,
    /// Networks to which it has a route by way of others; of a VPN, for instance.
    pub far: Vec<IpNet>,
}

/// What the host has routes to, in all tables, addresses in, and asks for names. Default routes,
/// also halves of one, are left out, and link-local networks.
///
/// # Errors
/// [`Error::Link`] when the kernel cannot be asked.
pub fn host_networks() -> Result<HostNetworks, Error> {
    let error = |what| link("read the host's", what);
    let mut socket = Socket::open().map_err(error("routes"))?;
    let mut networks = HostNetworks::default();
    for route in socket.reaches().map_err(error("routes"))? {
        if let Some(net) = worth_knowing(&route) {
            match route.on_link {
                true => networks.near.push(net),
                false => networks.far.push(net),
            }
        }
    }
    let addresses = socket.addresses().map_err(error("addresses"))?;
    let addresses = addresses
        .into_iter()
        .filter(|own| !matches!(own.address, IpAddr::V6(ip) if ip.is_unicast_link_local()))
        .filter_map(|own| IpNet::new(own.address, own.prefix).ok());
    networks.near.extend(addresses.map(|net| net.trunc()));
    networks.near.extend(name_servers().map(IpNet::from));
    for all in [&mut networks.near, &mut networks.far] {
        all.sort();
        all.dedup();
    }
    Ok(networks)
}

/// The network of a route that says where somebody is.
pub(crate) fn worth_knowing(route: &Reach) -> Option<IpNet> {
    let net = IpNet::new(route.destination, route.prefix).ok()?.trunc();
    // 0.0.0.0/1 and 128.0.0.0/1 are how OpenVPN overrides the default route; 2000::/3 is all of IPv6
    // that is routed.
    let least = match net {
        IpNet::V4(_) => 2,
        IpNet::V6(_) => 4,
    };
    let link_local = match net.network() {
        IpAddr::V4(address) => address.is_multicast(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    };
    (net.prefix_len() >= least && !link_local).then_some(net)
}

/// The addresses of the host's resolv.conf and of those behind systemd-resolved. A file that cannot be
/// read names none.
fn name_servers() -> impl Iterator<Item = IpAddr> {
    const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
    FILES.into_iter().flat_map(|path| {
        let text = fs_err::read_to_string(path).unwrap_or_default();
        let servers: Vec<IpAddr> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"))
            .filter_map(|rest| rest.trim().parse().ok())
            .collect();
        servers
    })
}

/// The first subnet of the pools that overlaps neither one of `networks` nor one of the host's: not even
/// one that the host reaches by way of others, unless nothing is left then. (A VPN may claim all
/// private addresses.)
///
/// # Errors
/// [`Error::NoSubnet`].
pub fn choose_subnet(
    pools: &[DefaultPool],
    v6: bool,
    networks: &[IpNet],
    host: &HostNetworks,
) -> Result<IpNet, Error> {
    let close: Vec<&IpNet> = networks.iter().chain(&host.near).collect();
    let mut all = close.clone();
    all.extend(&host.far);
    let first = |taken: &[&IpNet]| {
        let of_family = pools.iter().filter(|pool| pool.is_v6() == v6);
        of_family.filter_map(|pool| pool.first_free(taken)).next()
    };
    first(&all).or_else(|| first(&close)).ok_or(Error::NoSubnet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn chosen(near: &[&str], far: &[&str]) -> Option<String> {
        let pools = default_pools(&[], "x").unwrap();
        let host = HostNetworks {
            near: nets(near),
            far: nets(far),
        };
        let chosen = choose_subnet(&pools, false, &[], &host).ok();
        chosen.map(|net| net.to_string())
    }

    #[test]
    fn the_first_free_default_is_taken() {
        assert_eq!(chosen(&[], &[]).unwrap(), "172.17.0.0/16");
        assert_eq!(chosen(&["172.17.5.0/24"], &[]).unwrap(), "172.18.0.0/16");
        assert_eq!(
            chosen(&["172.16.0.0/14"], &["172.20.0.1/32"]).unwrap(),
            "172.21.0.0/16"
        );
        let mut docker = vec!["172.16.0.0/12", "192.168.1.0/24"];
        assert_eq!(chosen(&docker, &[]).unwrap(), "192.168.16.0/20");
        docker.push("192.168.0.0/16");
        docker.push("10.208.1.7/32");
        assert_eq!(
            chosen(&docker, &["10.208.0.0/24"]).unwrap(),
            "10.208.2.0/24"
        );
        // A VPN that claims everything does not keep networks from being made.
        let everything = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
        assert_eq!(
            chosen(&["172.17.0.0/16"], &everything).unwrap(),
            "172.18.0.0/16"
        );
        assert_eq!(chosen(&everything, &[]), None);
    }

    #[test]
    fn two_hundred_networks_of_both_families() {
        let pools = default_pools(&[], "engine").unwrap();
        let mut networks = Vec::new();
        for _ in 0..200 {
            for v6 in [false, true] {
                let host = HostNetworks::default();
                let next = choose_subnet(&pools, v6, &networks, &host).unwrap();
                assert!(networks.iter().all(|other| !overlap(other, &next)));
                networks.push(next);
            }
        }
        assert_eq!(networks[60].to_string(), "192.168.240.0/20");
        assert_eq!(networks[62].to_string(), "10.208.0.0/24");
    }

    #[test]
    fn unique_local_addresses_are_dockers_of_the_same_id() {
        let derived = |id: &str| {
            let pools = default_pools(&[], id).unwrap();
            pools.last().unwrap().to_string()
        };
        assert_eq!(derived(""), "base=fd42:98fc:1c14::/48,size=64");
        assert_eq!(
            derived("499d4bc0-b0b3-416f-b1ee-cf6486315593"),
            "base=fd62:fb69:18af::/48,size=64"
        );
    }

    #[test]
    fn pools_are_read_and_checked() {
        let read = |text: &str| text.parse::<DefaultPool>().map(|pool| pool.to_string());
        assert_eq!(
            read("base=10.1.2.3/8,size=24").unwrap(),
            "base=10.0.0.0/8,size=24"
        );
        for bad in [
            "",
            "base=10.0.0.0/8",
            "size=24",
            "base=10.0.0.0/24,size=16",
            "base=10.0.0.0/24,size=33",
            "base=10.0.0.0,size=24",
            "base=10.0.0.0/8,size=x",
            "base=10.0.0.0/8,size=24,more=1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let configured: Vec<DefaultPool> =
            ["base=192.168.0.0/16,size=24", "base=10.5.0.0/16,size=24"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        let pools = default_pools(&configured, "x").unwrap();
        assert_eq!(pools[0].base.to_string(), "10.5.0.0/16");
        assert_eq!(pools.len(), 3);
    }

    fn any_net() -> impl Strategy<Value = IpNet> {
        (any::<u16>(), 2_u8..=32).prop_map(|(low, prefix)| {
            let address = Ipv4Addr::from(0x0a00_0000 | u32::from(low));
            Ipv4Net::new(address, prefix).unwrap().trunc().into()
        })
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_free_and_the_first(
            taken in proptest::collection::vec(any_net(), 0..20),
            base in 16_u8..=24,
            more in 0_u8..=6,
        ) {
            let base: IpNet = format!("10.0.0.0/{base}").parse().unwrap();
            let pool = DefaultPool { base, size: base.prefix_len() + more };
            let refs: Vec<&IpNet> = taken.iter().collect();
            let expected = base
                .subnets(pool.size)
                .unwrap()
                .find(|net| !taken.iter().any(|other| overlap(other, net)));
            prop_assert_eq!(pool.first_free(&refs), expected);
        }
    }
}
