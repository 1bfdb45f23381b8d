//! Addresses of one network.

use crate::Error;
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The addresses of a network: which are in use, and which comes next. As in Docker that is the one
/// after the last given out, so that a freed address rests as long as possible before it is used
/// again. The caller keeps the addresses; after a restart it reserves them anew.
#[derive(Clone, Debug)]
pub struct Ipam {
    subnet: Ipv4Net,
    /// In use, the gateway among them.
    used: BTreeSet<u32>,
    last: u32,
}

impl Ipam {
    /// All addresses of `subnet` free but those that are nobody's (the network's own and broadcast)
    /// and the gateway.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the network is smaller than a /30 or the gateway is not in it.
    pub fn new(subnet: Ipv4Net, gateway: Ipv4Addr) -> Result<Self, Error> {
        let subnet = subnet.trunc();
        if subnet.prefix_len() > 30 {
            return Err(Error::Invalid(format!(
                "{subnet} has no room for endpoints"
            )));
        }
        let mut ipam = Self {
            subnet,
            used: BTreeSet::new(),
            last: u32::from(subnet.network()),
        };
        if !ipam.is_usable(gateway) {
            return Err(Error::Invalid(format!(
                "gateway {gateway} is not in {subnet}"
            )));
        }
        ipam.used.insert(gateway.into());
        Ok(ipam)
    }

    /// The network.
    #[must_use]
    pub fn subnet(&self) -> Ipv4Net {
        self.subnet
    }

    /// Takes the next free address.
    ///
    /// # Errors
    /// [`Error::PoolFull`].
    pub fn allocate(&mut self) -> Result<Ipv4Addr, Error> {
        let first = u32::from(self.subnet.network()) + 1;
        let end = u32::from(self.subnet.broadcast());
        let start = (self.last + 1).clamp(first, end);
        let free = self
            .first_free(start, end)
            .or_else(|| self.first_free(first, start))
            .ok_or(Error::PoolFull(self.subnet))?;
        self.used.insert(free);
        self.last = free;
        Ok(free.into())
    }

    /// The first number in `start..end` that is not in use.
    fn first_free(&self, start: u32, end: u32) -> Option<u32> {
        let mut candidate = start;
        for used in self.used.range(start..end) {
            if *used != candidate {
                break;
            }
            candidate += 1;
        }
        (candidate < end).then_some(candidate)
    }

    /// Takes this very address: one that the user asked for, or that a container has from before.
    ///
    /// # Errors
    /// [`Error::AddressUnavailable`].
    pub fn reserve(&mut self, address: Ipv4Addr) -> Result<(), Error> {
        if self.is_usable(address) && self.used.insert(address.into()) {
            return Ok(());
        }
        Err(Error::AddressUnavailable {
            address,
            subnet: self.subnet,
        })
    }

    /// Gives an address back; one that is not in use does no harm.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address.into());
    }

    fn is_usable(&self, address: Ipv4Addr) -> bool {
        self.subnet.contains(&address)
            && address != self.subnet.network()
            && address != self.subnet.broadcast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_next_is_the_one_after_the_last() {
        let mut ipam =
            Ipam::new("10.0.0.0/29".parse().unwrap(), Ipv4Addr::new(10, 0, 0, 1)).unwrap();
        let mut next = || ipam.allocate().map(|a| a.octets()[3]).ok();
        assert_eq!((next(), next()), (Some(2), Some(3)));
        ipam.release(Ipv4Addr::new(10, 0, 0, 2));
        ipam.reserve(Ipv4Addr::new(10, 0, 0, 5)).unwrap();
        assert!(ipam.reserve(Ipv4Addr::new(10, 0, 0, 5)).is_err());
        assert!(ipam.reserve(Ipv4Addr::new(10, 0, 0, 7)).is_err());
        let mut next = || ipam.allocate().map(|a| a.octets()[3]).ok();
        assert_eq!(
            [next(), next(), next(), next()],
            [Some(4), Some(6), Some(2), None]
        );
    }

    #[test]
    fn networks_without_room_are_refused() {
        assert!(Ipam::new("10.0.0.0/31".parse().unwrap(), Ipv4Addr::new(10, 0, 0, 1)).is_err());
        assert!(Ipam::new("10.0.0.0/24".parse().unwrap(), Ipv4Addr::new(10, 0, 1, 1)).is_err());
        let mut all = Ipam::new("0.0.0.0/0".parse().unwrap(), Ipv4Addr::new(10, 0, 0, 1)).unwrap();
        assert_eq!(all.allocate().unwrap(), Ipv4Addr::new(0, 0, 0, 1));
    }

    proptest! {
        #[test]
        fn an_address_has_one_holder(
            prefix in 24_u8..=30,
            steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            let subnet = Ipv4Net::new(Ipv4Addr::new(10, 9, 8, 0), prefix).unwrap();
            let gateway = Ipv4Addr::new(10, 9, 8, 1);
            let mut ipam = Ipam::new(subnet, gateway).unwrap();
            let mut held: Vec<Ipv4Addr> = Vec::new();
            for (allocate, which) in steps {
                if allocate || held.is_empty() {
                    match ipam.allocate() {
                        Ok(address) => {
                            prop_assert!(!held.contains(&address) && address != gateway);
                            prop_assert!(subnet.hosts().any(|host| host == address));
                            held.push(address);
                        }
                        Err(_) => prop_assert_eq!(held.len(), subnet.hosts().count() - 1),
                    }
                } else {
                    ipam.release(held.swap_remove(which.index(held.len())));
                }
            }
        }
    }
}
