//! What users ask for as a network's pools, read and checked with dockerd's words.

use crate::Error;
use crate::ipam::overlap;
use crate::model::Pool;
use ipnet::{IpNet, Ipv6Net};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// A pool as it was typed; empty texts say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolText {
    /// `10.1.0.0/16`.
    pub subnet: String,
    /// The part of it that is given out, `10.1.5.0/24`.
    pub range: String,
    /// The router's address.
    pub gateway: String,
    /// Addresses that are kept free, by name.
    pub reserved: BTreeMap<String, String>,
}

/// Reads pools. Without IPv6 (`v6`) those of that family are passed over unread, as with dockerd.
///
/// # Errors
/// [`Error::PoolConfig`] with everything that is wrong.
pub fn read_pools(texts: &[PoolText], v6: bool) -> Result<Vec<Pool>, Error> {
    let mut wrong = Vec::new();
    let mut pools = Vec::new();
    for text in texts {
        match parse_net(&text.subnet) {
            None => wrong.push(format!(
                "invalid subnet {}: invalid CIDR block notation",
                text.subnet
            )),
            Some(IpNet::V6(_)) if !v6 => {}
            Some(subnet) => pools.push(read_pool(subnet, text, &mut wrong)),
        }
    }
    match wrong.as_slice() {
        [] => Ok(pools),
        [one] => Err(Error::PoolConfig(one.clone())),
        several => Err(Error::PoolConfig(format!("* {}", several.join("\n* ")))),
    }
}

fn read_pool(subnet: IpNet, text: &PoolText, wrong: &mut Vec<String>) -> Pool {
    if subnet != subnet.trunc() {
        wrong.push(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.trunc()
        ));
    }
    let range = read_range(subnet, &text.range, wrong);
    let mut address = |what: String, text: &str| match read_address(subnet, text) {
        Ok(address) => address,
        Err(why) => {
            wrong.push(format!("invalid {what}: {why}"));
            None
        }
    };
    let gateway = address(format!("gateway {}", text.gateway), &text.gateway);
    let mut reserved = BTreeMap::new();
    for (name, text) in &text.reserved {
        if let Some(address) = address(format!("auxiliary address {name}"), text) {
            reserved.insert(name.clone(), address);
        }
    }
    Pool {
        subnet: subnet.trunc(),
        range,
        gateway,
        reserved,
    }
}

fn read_range(subnet: IpNet, text: &str, wrong: &mut Vec<String>) -> Option<IpNet> {
    if text.is_empty() {
        return None;
    }
    let Some(range) = parse_net(text) else {
        wrong.push(format!(
            "invalid ip-range {text}: invalid CIDR block notation"
        ));
        return None;
    };
    if family(range.addr()) != family(subnet.addr()) {
        let family = family(subnet.addr());
        wrong.push(format!(
            "invalid ip-range {text}: parent subnet is an {family} block"
        ));
        return None;
    }
    if range.prefix_len() < subnet.prefix_len() {
        wrong.push(format!(
            "invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if range != range.trunc() {
        let trunc = range.trunc();
        wrong.push(format!("invalid ip-range {range}: it should be {trunc}"));
    }
    if !overlap(&range, &subnet) {
        wrong.push(format!(
            "invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"
        ));
    }
    Some(range.trunc())
}

fn read_address(subnet: IpNet, text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| "invalid address".to_owned())?;
    if family(address) != family(subnet.addr()) {
        let family = family(subnet.addr());
        return Err(format!("parent subnet is an {family} block"));
    }
    if !subnet.contains(&address) {
        return Err(format!(
            "parent subnet {subnet} doesn't contain this address"
        ));
    }
    Ok(Some(address))
}

fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

/// `ADDRESS/LENGTH` without leading zeroes or signs. IPv4 addresses in IPv6 notation are no networks.
fn parse_net(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let plain =
        length.bytes().all(|b| b.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let address: IpAddr = address.parse().ok().filter(|_| plain)?;
    let mapped = matches!(address, IpAddr::V6(a) if a.to_ipv4_mapped().is_some());
    IpNet::new(address, length.parse().ok()?)
        .ok()
        .filter(|_| !mapped)
}

/// Checks that the subnets `wanted` of a new network overlap neither each other nor those of `others`.
///
/// # Errors
/// [`Error::PoolOverlap`].
pub fn check_overlap(wanted: &[Pool], others: &[IpNet]) -> Result<(), Error> {
    for (at, pool) in wanted.iter().enumerate() {
        let mut before = wanted[..at].iter().map(|pool| &pool.subnet).chain(others);
        if before.any(|other| overlap(other, &pool.subnet)) {
            return Err(Error::PoolOverlap);
        }
    }
    Ok(())
}

/// Checks what a bridge cannot carry: more than one subnet of a family, multicast addresses, more than
/// the one link-local network. The pools have their gateways by now.
///
/// # Errors
/// [`Error::SeveralSubnets`], [`Error::Subnet`].
pub fn check_bridge_pools(pools: &[Pool]) -> Result<(), Error> {
    for name in ["IPv4", "IPv6"] {
        let of_family = pools
            .iter()
            .filter(|pool| family(pool.subnet.addr()) == name);
        if of_family.count() > 1 {
            return Err(Error::SeveralSubnets);
        }
    }
    let link_local = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);
    let link_local = IpNet::V6(link_local);
    for pool in pools {
        let IpNet::V6(subnet) = pool.subnet else {
            continue;
        };
        let length = subnet.prefix_len();
        let shown = pool.gateway.unwrap_or(IpAddr::V6(subnet.network()));
        if subnet.network().is_multicast() {
            return Err(Error::Subnet(format!(
                "multicast subnet '{shown}/{length}' is not allowed"
            )));
        }
        if pool.subnet != link_local && overlap(&pool.subnet, &link_local) {
            return Err(Error::Subnet(format!(
                "'{shown}/{length}' clashes with the Link-Local prefix 'fe80::/64'"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(subnet: &str, range: &str, gateway: &str) -> PoolText {
        PoolText {
            subnet: subnet.to_owned(),
            range: range.to_owned(),
            gateway: gateway.to_owned(),
            reserved: BTreeMap::new(),
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn refusals_are_dockerds() {
        let refused = |subnet, range, gateway| {
            let error = read_pools(&[text(subnet, range, gateway)], true).unwrap_err();
            let words = error.to_string();
            words
                .strip_prefix("invalid network config:\n")
                .unwrap()
                .to_owned()
        };
        let net = "10.99.0.0/24";
        for (subnet, range, gateway, words) in [
            (
                net,
                "",
                "10.98.0.1",
                "invalid gateway 10.98.0.1: parent subnet 10.99.0.0/24 doesn't contain this address",
            ),
            (
                net,
                "",
                "fd99::1",
                "invalid gateway fd99::1: parent subnet is an IPv4 block",
            ),
            (net, "", "foo", "invalid gateway foo: invalid address"),
            (
                net,
                "10.98.0.0/25",
                "",
                "invalid ip-range 10.98.0.0/25: parent subnet 10.99.0.0/24 doesn't contain ip-range",
            ),
            (
                net,
                "10.99.0.5/25",
                "",
                "invalid ip-range 10.99.0.5/25: it should be 10.99.0.0/25",
            ),
            (
                net,
                "foo",
                "",
                "invalid ip-range foo: invalid CIDR block notation",
            ),
            (
                net,
                "fd99::/64",
                "",
                "invalid ip-range fd99::/64: parent subnet is an IPv4 block",
            ),
            (
                "10.99.0.5/24",
                "",
                "",
                "invalid subnet 10.99.0.5/24: it should be 10.99.0.0/24",
            ),
            (
                "10.99.0.0/33",
                "",
                "",
                "invalid subnet 10.99.0.0/33: invalid CIDR block notation",
            ),
            (
                "010.99.0.0/24",
                "",
                "",
                "invalid subnet 010.99.0.0/24: invalid CIDR block notation",
            ),
            (
                "10.99.0.0/024",
                "",
                "",
                "invalid subnet 10.99.0.0/024: invalid CIDR block notation",
            ),
            (
                "10.99.0.0",
                "",
                "",
                "invalid subnet 10.99.0.0: invalid CIDR block notation",
            ),
            (
                "",
                "",
                "10.99.0.1",
                "invalid subnet : invalid CIDR block notation",
            ),
        ] {
            assert_eq!(refused(subnet, range, gateway), words);
        }
        assert_eq!(
            refused("10.98.0.0/24", "10.98.0.0/23", ""),
            "invalid ip-range 10.98.0.0/23: CIDR block is bigger than its parent subnet 10.98.0.0/24"
        );
        let mut aux = text(net, "", "");
        aux.reserved.insert("a".into(), "10.98.0.1".into());
        let words = read_pools(&[aux], true).unwrap_err().to_string();
        assert!(words.ends_with(
            "invalid auxiliary address a: parent subnet 10.99.0.0/24 doesn't contain this address"
        ));
        let two = [
            text("fd99::/64", "fd99::1:1/112", ""),
            text("foo", "", "bar"),
        ];
        assert_eq!(
            read_pools(&two, true).unwrap_err().to_string(),
            "invalid network config:\n* invalid ip-range fd99::1:1/112: it should be fd99::1:0/112\n\
             * invalid subnet foo: invalid CIDR block notation"
        );
    }

    #[test]
    fn pools_are_read() {
        let texts = [
            text(NET, "10.99.0.128/25", "10.99.0.1"),
            text("fd99::/64", "", ""),
        ];
        let pools = read_pools(&texts, true).unwrap();
        assert_eq!(pools.len(), 2);
        assert_eq!(pools[0].range.unwrap().to_string(), "10.99.0.128/25");
        assert_eq!(pools[0].gateway.unwrap().to_string(), "10.99.0.1");
        assert_eq!(read_pools(&texts, false).unwrap().len(), 1);
    }

    const NET: &str = "10.99.0.0/24";

    #[test]
    fn overlaps_and_what_bridges_cannot_carry() {
        let pools = |nets: &[&str]| {
            let texts: Vec<PoolText> = nets.iter().map(|net| text(net, "", "")).collect();
            read_pools(&texts, true).unwrap()
        };
        let others = ["172.17.0.0/16".parse().unwrap()];
        assert!(check_overlap(&pools(&[NET, "fd99::/64"]), &others).is_ok());
        for bad in [
            &["172.17.3.0/24"][..],
            &["0.0.0.0/0"],
            &[NET, "10.99.0.0/25"],
        ] {
            assert!(matches!(
                check_overlap(&pools(bad), &others),
                Err(Error::PoolOverlap)
            ));
        }
        assert!(check_bridge_pools(&pools(&[NET, "fe80::/64"])).is_ok());
        let refused = |nets: &[&str]| check_bridge_pools(&pools(nets)).unwrap_err().to_string();
        assert_eq!(
            refused(&[NET, "10.98.0.0/24"]),
            "bridge driver doesn't support multiple subnets"
        );
        assert_eq!(
            refused(&["ff02::/64"]),
            "multicast subnet 'ff02::/64' is not allowed"
        );
        assert_eq!(
            refused(&["fe80::/10"]),
            "'fe80::/10' clashes with the Link-Local prefix 'fe80::/64'"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(subnet in ".{0,40}", range in ".{0,40}", gateway in ".{0,40}") {
            let _ = read_pools(&[text(&subnet, &range, &gateway)], true);
        }
    }
}
