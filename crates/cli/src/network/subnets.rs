//! `--subnet` and what lies in one: ranges, gateways, addresses that are never given out.

use hull_api::network::IpamPool;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Puts each range, gateway and address into its subnet, with the errors of Docker's client. What a subnet
/// is otherwise worth is the daemon's business.
pub(super) fn pools(
    subnets: &[String],
    ranges: &[String],
    gateways: &[String],
    auxiliary: &BTreeMap<String, String>,
) -> Result<Vec<IpamPool>, String> {
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut pools: Vec<IpamPool> = Vec::new();
    for subnet in subnets {
        for other in &pools {
            if contains(subnet, &other.subnet)? || contains(&other.subnet, subnet)? {
                let text = "multiple overlapping subnet configuration is not supported";
                return Err(text.to_owned());
            }
        }
        pools.push(IpamPool {
            subnet: subnet.clone(),
            ..IpamPool::default()
        });
    }
    for range in ranges {
        network(range)?;
        let pool = pool_of(&mut pools, range, "range")?;
        if !pool.ip_range.is_empty() {
            return Err(format!(
                "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                pool.ip_range, pool.subnet
            ));
        }
        range.clone_into(&mut pool.ip_range);
    }
    for gateway in gateways {
        let pool = pool_of(&mut pools, gateway, "gateway")?;
        if !pool.gateway.is_empty() {
            return Err(format!(
                "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                pool.gateway, pool.subnet
            ));
        }
        gateway.clone_into(&mut pool.gateway);
    }
    for (name, address) in auxiliary {
        let pool = pool_of(&mut pools, address, "aux-address")?;
        let known = &mut pool.auxiliary_addresses;
        known.insert(name.clone(), address.clone());
    }
    Ok(pools)
}

fn pool_of<'a>(
    pools: &'a mut [IpamPool],
    data: &str,
    what: &str,
) -> Result<&'a mut IpamPool, String> {
    for pool in pools {
        if contains(&pool.subnet, data)? {
            return Ok(pool);
        }
    }
    Err(format!("no matching subnet for {what} {data}"))
}

/// Whether an address, or the address of a range, is in a subnet.
fn contains(subnet: &str, data: &str) -> Result<bool, String> {
    let (base, length) = network(subnet).map_err(|error| format!("invalid subnet: {error}"))?;
    let address = if data.contains('/') {
        Some(network(data)?.0)
    } else {
        data.parse::<IpAddr>().ok()
    };
    Ok(match (base, address) {
        (IpAddr::V4(base), Some(IpAddr::V4(address))) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(base), Some(IpAddr::V6(address))) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    })
}

/// An address and how many of its first bits are the network's.
fn network(text: &str) -> Result<(IpAddr, u32), String> {
    let invalid = || format!("invalid CIDR address: {text}");
    let (address, length) = text.split_once('/').ok_or_else(invalid)?;
    let address: IpAddr = address.parse().map_err(|_| invalid())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = length.bytes().all(|b| b.is_ascii_digit());
    let length = length
        .parse()
        .ok()
        .filter(|bits| digits && *bits <= longest);
    Ok((address, length.ok_or_else(invalid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_of_no_bits_has_every_address() {
        assert_eq!(contains("0.0.0.0/0", "10.0.0.1"), Ok(true));
        assert_eq!(contains("::/0", "fd00::1"), Ok(true));
        assert_eq!(contains("::/0", "10.0.0.1"), Ok(false));
        assert_eq!(contains("10.1.2.3/32", "10.1.2.3"), Ok(true));
        assert_eq!(
            contains("10.1.2.3/33", "10.1.2.3").unwrap_err(),
            "invalid subnet: invalid CIDR address: 10.1.2.3/33"
        );
    }

    #[test]
    fn a_subnet_has_one_range_and_one_gateway() {
        let text = |text: &str| vec![text.to_owned()];
        let subnets = ["10.1.0.0/16".to_owned(), "10.2.0.0/16".to_owned()];
        let ranges = ["10.1.1.0/24".to_owned(), "10.1.2.0/24".to_owned()];
        let error = pools(&subnets, &ranges, &[], &BTreeMap::new()).unwrap_err();
        assert_eq!(
            error,
            "cannot configure multiple ranges (10.1.2.0/24, 10.1.1.0/24) on the same subnet (10.1.0.0/16)"
        );
        let bad = pools(&text("x"), &text("10.1.0.0/24"), &[], &BTreeMap::new());
        assert_eq!(bad.unwrap_err(), "invalid subnet: invalid CIDR address: x");
    }
}
