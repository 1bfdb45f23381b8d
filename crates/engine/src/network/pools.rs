//! Networks' address ranges: those that were asked for, and those that the engine chooses.

use super::AddressPool;
use super::request::{IpamRequest, PoolRequest};
use crate::{Error, ErrorKind, Result};
use hull_network::model::Pool;
use hull_network::{DefaultPool, PoolText};
use ipnet::IpNet;

/// Several complaints in one, as dockerd puts them.
pub(super) fn complain(about: &str, complaints: &[String]) -> Result<()> {
    let lines = match complaints {
        [] => return Ok(()),
        [one] => one.clone(),
        several => format!("* {}", several.join("\n* ")),
    };
    let text = format!("{about}:\n{lines}");
    Err(Error::new(ErrorKind::InvalidInput, text))
}

/// What `hull-network` says of ranges: the request's fault, or something else's that is in the way.
pub(super) fn refused(error: hull_network::Error) -> Error {
    use hull_network::Error as E;
    let kind = match &error {
        E::PoolConfig(_) | E::NoSubnet | E::DefaultPool(_) | E::SeveralSubnets | E::Subnet(_) => {
            ErrorKind::InvalidInput
        }
        E::PoolOverlap | E::PoolAddress { .. } | E::PoolFull { .. } | E::AddressInUse(_) => {
            ErrorKind::Forbidden
        }
        E::AddressOutside(_) => ErrorKind::InvalidInput,
        _ => {
            return Error::new(ErrorKind::Internal, "could not set up the network")
                .caused_by(error);
        }
    };
    Error::new(kind, error.to_string())
}

/// The address ranges that were asked for.
///
/// # Errors
/// `InvalidInput` with all that is wrong with them.
pub(super) fn asked(ipam: &IpamRequest, v6: bool) -> Result<Vec<Pool>> {
    let texts: Vec<PoolText> = ipam
        .pools
        .iter()
        .map(|pool| PoolText {
            subnet: pool.subnet.clone(),
            range: pool.range.clone(),
            gateway: pool.gateway.clone(),
            reserved: pool.reserved.clone(),
        })
        .collect();
    hull_network::read_pools(&texts, v6).map_err(refused)
}

/// Gives a pool its gateway, when nobody named one.
pub(super) fn with_gateway(mut pool: Pool) -> Result<Pool> {
    if pool.gateway.is_none() {
        let gateway = hull_network::default_gateway(pool.subnet, pool.range).map_err(refused)?;
        pool.gateway = Some(gateway);
    }
    Ok(pool)
}

/// A pool as it is shown.
pub(super) fn shown(pool: &Pool) -> PoolRequest {
    let text = |value: Option<String>| value.unwrap_or_default();
    let reserved = pool.reserved.iter();
    PoolRequest {
        subnet: pool.subnet.to_string(),
        range: text(pool.range.map(|range| range.to_string())),
        gateway: text(pool.gateway.map(|gateway| gateway.to_string())),
        reserved: reserved
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    }
}

/// A range that overlaps neither `taken` nor anything that the host reaches.
///
/// # Errors
/// `InvalidInput` when there is none left, as dockerd says it.
pub(super) fn choose(
    own: &[AddressPool],
    engine_id: &str,
    v6: bool,
    taken: &[IpNet],
) -> Result<Pool> {
    let mut configured = Vec::new();
    for pool in own {
        let text = format!("base={},size={}", pool.base, pool.size);
        configured.push(text.parse::<DefaultPool>().map_err(refused)?);
    }
    let pools = hull_network::default_pools(&configured, engine_id).map_err(refused)?;
    let host = hull_network::host_networks().map_err(refused)?;
    let subnet = hull_network::choose_subnet(&pools, v6, taken, &host).map_err(refused)?;
    with_gateway(Pool {
        subnet,
        range: None,
        gateway: None,
        reserved: std::collections::BTreeMap::new(),
    })
}
