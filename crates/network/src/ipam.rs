//! Addresses of one network.

use crate::Error;
use crate::model::Pool;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of a network: which are in use, and which comes next. As with dockerd 28 that is the
/// lowest free one of the first pool that has one. The caller keeps the addresses; after a restart
/// it reserves them anew. Costs memory for addresses in use alone, however large the pools are.
#[derive(Clone, Debug)]
pub struct Ipam {
    subnets: Vec<Subnet>,
}

/// One pool; addresses of both families are numbers here.
#[derive(Clone, Debug)]
struct Subnet {
    net: IpNet,
    /// The first and last address that are given out unasked.
    range: (u128, u128),
    /// In use, or nobody's.
    used: BTreeSet<u128>,
    /// Nothing in the range below this is free.
    lowest: u128,
}

impl Ipam {
    /// All addresses of `pools` free but the gateways, the reserved ones and those that are nobody's:
    /// an IPv4 network's own and its broadcast address, except where it has but two addresses (RFC 3021),
    /// and the anycast address of an IPv6 network's routers (RFC 4291, section 2.6.1).
    ///
    /// # Errors
    /// [`Error::PoolOverlap`]; [`Error::PoolAddress`] when a gateway or a reserved address is not in its
    /// subnet or is taken.
    pub fn new(pools: &[Pool]) -> Result<Self, Error> {
        let mut subnets: Vec<Subnet> = Vec::with_capacity(pools.len());
        for pool in pools {
            let subnet = Subnet::new(pool)?;
            if subnets.iter().any(|other| overlap(&other.net, &subnet.net)) {
                return Err(Error::PoolOverlap);
            }
            subnets.push(subnet);
        }
        Ok(Self { subnets })
    }

    /// Takes the next free address of IPv6 (`v6`) or IPv4, with its pool's prefix length; `None` when
    /// the network has no pool of that family.
    ///
    /// # Errors
    /// [`Error::PoolFull`].
    pub fn allocate(&mut self, v6: bool) -> Result<Option<IpNet>, Error> {
        let mut any = false;
        for subnet in &mut self.subnets {
            if is_v6(&subnet.net) != v6 {
                continue;
            }
            any = true;
            if let Some(address) = subnet.take_next() {
                return Ok(Some(subnet.with_prefix(address)));
            }
        }
        if any {
            let family = if v6 { 6 } else { 4 };
            return Err(Error::PoolFull { family });
        }
        Ok(None)
    }

    /// Takes this very address: one that the user asked for, or that an endpoint has from before. It need
    /// not lie in the range of a pool, but in its subnet.
    ///
    /// # Errors
    /// [`Error::AddressInUse`], [`Error::AddressOutside`].
    pub fn reserve(&mut self, address: IpAddr) -> Result<IpNet, Error> {
        let subnet = self
            .subnets
            .iter_mut()
            .find(|subnet| subnet.net.contains(&address))
            .ok_or(Error::AddressOutside(address))?;
        if !subnet.used.insert(number(address)) {
            return Err(Error::AddressInUse(address));
        }
        Ok(subnet.with_prefix(address))
    }

    /// Gives back an address that [`Ipam::allocate`] or [`Ipam::reserve`] gave; one that is not in use,
    /// or that is nobody's, does no harm.
    pub fn release(&mut self, address: IpAddr) {
        for subnet in &mut self.subnets {
            if subnet.net.contains(&address) {
                subnet.release(number(address));
            }
        }
    }
}

impl Subnet {
    fn new(pool: &Pool) -> Result<Self, Error> {
        let net = pool.subnet.trunc();
        let range = pool.range.map_or(net, |range| range.trunc());
        let range = if net.contains(&range) { range } else { net };
        let bounds = (number(range.network()), number(range.broadcast()));
        let mut subnet = Self {
            net,
            range: bounds,
            used: nobodys(&net).into_iter().collect(),
            lowest: bounds.0,
        };
        if let Some(gateway) = pool.gateway {
            subnet.keep(gateway, || format!("gateway ({gateway})"))?;
        }
        for (name, address) in &pool.reserved {
            subnet.keep(*address, || {
                format!("secondary ip address ({name}:{address})")
            })?;
        }
        Ok(subnet)
    }

    fn keep(&mut self, address: IpAddr, what: impl Fn() -> String) -> Result<(), Error> {
        let failed = |reason| Error::PoolAddress {
            what: what(),
            reason,
        };
        if !self.net.contains(&address) {
            return Err(failed("requested address is out of range"));
        }
        if !self.used.insert(number(address)) {
            return Err(failed("Address already in use"));
        }
        Ok(())
    }

    fn take_next(&mut self) -> Option<IpAddr> {
        let (_, last) = self.range;
        if self.lowest > last {
            return None;
        }
        let mut candidate = self.lowest;
        for used in self.used.range(self.lowest..=last) {
            if *used != candidate {
                break;
            }
            // Nothing follows the last address of all.
            candidate = candidate.checked_add(1)?;
        }
        self.lowest = candidate;
        if candidate > last {
            return None;
        }
        self.used.insert(candidate);
        Some(self.address(candidate))
    }

    fn release(&mut self, address: u128) {
        if nobodys(&self.net).contains(&address) {
            return;
        }
        self.used.remove(&address);
        if address >= self.range.0 {
            self.lowest = self.lowest.min(address);
        }
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.net {
            // The number came from such an address.
            IpNet::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            IpNet::V6(_) => Ipv6Addr::from(number).into(),
        }
    }

    fn with_prefix(&self, address: IpAddr) -> IpNet {
        // The prefix length is one of this family's: it cannot be too long.
        IpNet::new(address, self.net.prefix_len()).unwrap_or(self.net)
    }
}

/// The addresses of a subnet that no endpoint may have.
fn nobodys(net: &IpNet) -> Vec<u128> {
    match net {
        IpNet::V4(net) if net.prefix_len() >= 31 => Vec::new(),
        IpNet::V4(v4) => vec![
            u32::from(v4.network()).into(),
            u32::from(v4.broadcast()).into(),
        ],
        IpNet::V6(v6) => vec![v6.network().into()],
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn is_v6(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(_))
}

/// Whether two networks have an address in common.
pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The gateway of a pool for which nobody chose one: the first address that may be somebody's of its
/// range, or of its subnet.
///
/// # Errors
/// [`Error::PoolAddress`].
pub fn default_gateway(subnet: IpNet, range: Option<IpNet>) -> Result<IpAddr, Error> {
    let pool = Pool {
        subnet,
        range,
        gateway: None,
        reserved: std::collections::BTreeMap::new(),
    };
    Subnet::new(&pool)?
        .take_next()
        .ok_or_else(|| Error::PoolAddress {
            what: "gateway ()".to_owned(),
            reason: "no available addresses on this pool",
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(subnet: &str, range: &str, gateway: &str) -> Pool {
        Pool {
            subnet: subnet.parse().unwrap(),
            range: (!range.is_empty()).then(|| range.parse().unwrap()),
            gateway: (!gateway.is_empty()).then(|| gateway.parse().unwrap()),
            reserved: Default::default(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn next(ipam: &mut Ipam, v6: bool) -> String {
        match ipam.allocate(v6) {
            Ok(address) => address.map_or("-".to_owned(), |a| a.to_string()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_next_is_the_lowest_free_one() {
        let mut ipam = Ipam::new(&[pool("10.0.0.0/29", "", "10.0.0.1")]).unwrap();
        assert_eq!(next(&mut ipam, false), "10.0.0.2/29");
        assert_eq!(next(&mut ipam, false), "10.0.0.3/29");
        ipam.release(ip("10.0.0.2"));
        assert_eq!(
            ipam.reserve(ip("10.0.0.5")).unwrap().to_string(),
            "10.0.0.5/29"
        );
        for taken in ["10.0.0.5", "10.0.0.7", "10.0.0.0", "10.0.0.1"] {
            let error = ipam.reserve(ip(taken)).unwrap_err();
            assert_eq!(error.to_string(), "Address already in use");
        }
        assert!(ipam.reserve(ip("10.0.1.5")).is_err());
        let all: Vec<_> = (0..4).map(|_| next(&mut ipam, false)).collect();
        assert_eq!(all[..3], ["10.0.0.2/29", "10.0.0.4/29", "10.0.0.6/29"]);
        assert_eq!(
            all[3],
            "no available IPv4 addresses on this network's address pools"
        );
        assert_eq!(next(&mut ipam, true), "-");
        // What is nobody's never becomes free.
        for address in ["10.0.0.0", "10.0.0.7"] {
            ipam.release(ip(address));
            assert!(ipam.reserve(ip(address)).is_err());
        }
    }

    #[test]
    fn ranges_bind_only_what_is_given_out_unasked() {
        let mut ipam = Ipam::new(&[pool("10.0.0.0/24", "10.0.0.128/30", "10.0.0.128")]).unwrap();
        assert_eq!(ipam.reserve(ip("10.0.0.5")).unwrap().prefix_len(), 24);
        ipam.release(ip("10.0.0.5"));
        let all: Vec<_> = (0..4).map(|_| next(&mut ipam, false)).collect();
        assert_eq!(
            all[..3],
            ["10.0.0.129/24", "10.0.0.130/24", "10.0.0.131/24"]
        );
        assert!(all[3].starts_with("no available"));
        ipam.release(ip("10.0.0.130"));
        assert_eq!(next(&mut ipam, false), "10.0.0.130/24");
    }

    #[test]
    fn several_pools_follow_one_another() {
        let mut ipam = Ipam::new(&[
            pool("10.0.0.0/30", "", "10.0.0.1"),
            pool("fd00::/64", "", "fd00::1"),
            pool("10.0.1.0/30", "", "10.0.1.1"),
            pool("fd01::/127", "", ""),
        ])
        .unwrap();
        let all: Vec<_> = (0..3).map(|_| next(&mut ipam, false)).collect();
        assert_eq!(all[..2], ["10.0.0.2/30", "10.0.1.2/30"]);
        assert!(all[2].starts_with("no available IPv4"));
        assert_eq!(next(&mut ipam, true), "fd00::2/64");
        let overlapping = [pool("10.0.0.0/16", "", ""), pool("10.0.9.0/24", "", "")];
        assert!(matches!(Ipam::new(&overlapping), Err(Error::PoolOverlap)));
    }

    #[test]
    fn small_and_huge_subnets() {
        let mut two = Ipam::new(&[pool("10.0.0.0/31", "", "10.0.0.0")]).unwrap();
        assert_eq!(next(&mut two, false), "10.0.0.1/31");
        assert!(next(&mut two, false).starts_with("no available"));
        let mut one = Ipam::new(&[pool("10.0.0.9/32", "", "")]).unwrap();
        assert_eq!(next(&mut one, false), "10.0.0.9/32");
        let mut all = Ipam::new(&[pool(
            "::/0",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            "",
        )])
        .unwrap();
        assert_eq!(
            next(&mut all, true),
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/0"
        );
        assert!(next(&mut all, true).starts_with("no available"));
        let mut all = Ipam::new(&[pool("0.0.0.0/0", "", "")]).unwrap();
        assert_eq!(next(&mut all, false), "0.0.0.1/0");
        assert!(default_gateway("fd00::1/128".parse().unwrap(), None).is_err());
        let gateway = |net: &str| {
            default_gateway(net.parse().unwrap(), None)
                .unwrap()
                .to_string()
        };
        assert_eq!(gateway("10.1.0.0/16"), "10.1.0.1");
        assert_eq!(gateway("10.1.0.0/31"), "10.1.0.0");
        assert_eq!(gateway("fd00::/64"), "fd00::1");
    }

    #[test]
    fn gateways_and_reserved_addresses_are_held() {
        let refused = |subnet, gateway: &str, reserved: &[(&str, &str)]| {
            let mut pool = pool(subnet, "", gateway);
            pool.reserved = reserved
                .iter()
                .map(|(name, a)| ((*name).to_owned(), ip(a)))
                .collect();
            Ipam::new(&[pool]).unwrap_err().to_string()
        };
        let in_use = "Address already in use";
        assert_eq!(
            refused("10.0.0.0/24", "10.0.0.255", &[]),
            format!("failed to allocate gateway (10.0.0.255): {in_use}")
        );
        assert_eq!(
            refused("10.0.0.0/24", "10.0.0.5", &[("a", "10.0.0.5")]),
            format!("failed to allocate secondary ip address (a:10.0.0.5): {in_use}")
        );
        assert_eq!(
            refused("10.0.0.0/24", "", &[("a", "10.0.0.5"), ("b", "10.0.0.5")]),
            format!("failed to allocate secondary ip address (b:10.0.0.5): {in_use}")
        );
        assert!(refused("10.0.0.0/24", "10.0.1.1", &[]).contains("out of range"));
    }

    proptest! {
        #[test]
        fn an_address_has_one_holder(
            v6: bool,
            size in 2_u8..=8,
            steps in proptest::collection::vec((0_u8..3, any::<prop::sample::Index>()), 1..300),
        ) {
            let text = if v6 { format!("fd09::/{}", 128 - size) } else { format!("10.9.8.0/{}", 32 - size) };
            let subnet: IpNet = text.parse().unwrap();
            let gateway = default_gateway(subnet, None).unwrap();
            let mut ipam = Ipam::new(&[Pool { subnet, range: None, gateway: Some(gateway), reserved: Default::default() }]).unwrap();
            let all: Vec<IpAddr> = subnet.hosts().filter(|host| *host != gateway && (!v6 || *host != subnet.network())).collect();
            let mut held: BTreeSet<IpAddr> = BTreeSet::new();
            for (what, which) in steps {
                match what {
                    0 => match ipam.allocate(v6) {
                        Ok(Some(address)) => {
                            let lowest = all.iter().find(|a| !held.contains(*a)).copied();
                            prop_assert_eq!(Some(address.addr()), lowest);
                            prop_assert_eq!(address.prefix_len(), subnet.prefix_len());
                            held.insert(address.addr());
                        }
                        Ok(None) => prop_assert!(false, "no pool"),
                        Err(_) => prop_assert_eq!(held.len(), all.len()),
                    },
                    1 => {
                        let address = all[which.index(all.len())];
                        prop_assert_eq!(ipam.reserve(address).is_ok(), held.insert(address));
                    }
                    _ => {
                        let address = all[which.index(all.len())];
                        ipam.release(address);
                        held.remove(&address);
                    }
                }
            }
        }
    }
}
