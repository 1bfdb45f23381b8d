//! Networks as the API shows them.

use hull_api::network::{Endpoint, Inspect, Ipam, IpamPool};
use hull_engine::network::NetworkDetails;

/// `GET /networks/{id}`; without `containers` an element of `GET /networks`.
pub(crate) fn inspect(network: &NetworkDetails, containers: bool) -> Inspect {
    let pool = network.subnet.clone().map(|subnet| IpamPool {
        subnet,
        gateway: network.gateway.clone().unwrap_or_default(),
        ..IpamPool::default()
    });
    let members = network.containers.iter().filter(|_| containers);
    Inspect {
        name: network.name.clone(),
        id: network.id.clone(),
        created: network.created.to_string(),
        scope: "local".to_owned(),
        driver: network.driver.clone(),
        enable_ipv4: true,
        enable_ipv6: false,
        ipam: Ipam {
            driver: "default".to_owned(),
            options: None,
            config: pool.map(|pool| vec![pool]),
        },
        containers: members
            .map(|(id, (name, endpoint))| {
                let endpoint = Endpoint {
                    name: name.clone(),
                    endpoint_id: endpoint.endpoint_id.clone(),
                    mac_address: endpoint.mac_address.clone(),
                    ipv4_address: match endpoint.address.as_str() {
                        "" => String::new(),
                        address => format!("{address}/{}", endpoint.prefix_len),
                    },
                    ipv6_address: String::new(),
                };
                (id.clone(), endpoint)
            })
            .collect(),
        options: Some(network.options.clone()),
        labels: Some(std::collections::BTreeMap::new()),
        ..Inspect::default()
    }
}
