//! Networks as the API shows them.

use hull_api::network::{ConfigReference, Endpoint, Inspect, Ipam, IpamPool};
use hull_engine::network::{Member, NetworkDetails, PoolRequest};

/// `GET /networks/{id}`; without `containers` an element of `GET /networks`.
pub(crate) fn inspect(network: &NetworkDetails, containers: bool) -> Inspect {
    let members = network.members.iter().filter(|_| containers);
    let pools = network.pools.as_ref();
    Inspect {
        name: network.name.clone(),
        id: network.id.clone(),
        created: network.created.to_string(),
        scope: network.scope.clone(),
        driver: network.driver.clone(),
        enable_ipv4: network.ipv4,
        enable_ipv6: network.ipv6,
        ipam: Ipam {
            driver: network.ipam_driver.clone(),
            options: network.ipam_options.clone(),
            config: pools.map(|pools| pools.iter().map(pool).collect()),
        },
        internal: network.internal,
        attachable: network.attachable,
        config_only: network.config_only,
        config_from: ConfigReference {
            network: network.config_from.clone().unwrap_or_default(),
        },
        containers: members
            .map(|(id, member)| (id.clone(), endpoint(member)))
            .collect(),
        options: network.options.clone(),
        labels: network.labels.clone(),
        ..Inspect::default()
    }
}

fn pool(pool: &PoolRequest) -> IpamPool {
    IpamPool {
        subnet: pool.subnet.clone(),
        ip_range: pool.range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: pool.reserved.clone(),
    }
}

fn endpoint(member: &Member) -> Endpoint {
    Endpoint {
        name: member.name.clone(),
        endpoint_id: member.endpoint_id.clone(),
        mac_address: member.mac_address.clone(),
        ipv4_address: member.ipv4.clone(),
        ipv6_address: member.ipv6.clone(),
    }
}
