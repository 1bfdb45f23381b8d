//! Networks and containers' places in them, as the API shows and takes them.

use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::network::{
    ConfigReference, CreateRequest, Endpoint, EndpointIpamConfig, EndpointSettings, Inspect, Ipam,
    IpamPool, PortExplanation, Way,
};
use hull_engine::container::Endpoint as Place;
use hull_engine::network::{
    EndpointRequest, IpamRequest, Member, NetworkDetails, NetworkRequest, PoolRequest, PortReach,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// `POST /networks/create`.
pub(crate) fn request(asked: CreateRequest, version: ApiVersion) -> NetworkRequest {
    let ipam = asked.ipam.unwrap_or_default();
    let pools = ipam.config.unwrap_or_default().into_iter();
    let pools = pools.map(|pool| PoolRequest {
        subnet: pool.subnet,
        range: pool.ip_range,
        gateway: pool.gateway,
        reserved: pool.auxiliary_addresses,
    });
    let from = asked.config_from.map(|from| from.network);
    NetworkRequest {
        name: asked.name,
        driver: asked.driver,
        scope: asked.scope,
        // Older clients cannot mean it.
        enable_ipv4: asked.enable_ipv4.filter(|_| version.since(47)),
        enable_ipv6: asked.enable_ipv6,
        internal: asked.internal,
        attachable: asked.attachable,
        ingress: asked.ingress,
        config_only: asked.config_only,
        config_from: from.filter(|name| !name.is_empty()),
        ipam: IpamRequest {
            driver: ipam.driver,
            options: ipam.options,
            pools: pools.collect(),
        },
        options: asked.options.unwrap_or_default(),
        labels: asked.labels.unwrap_or_default(),
    }
}

/// What is asked for of a container's place in a network.
///
/// # Errors
/// 400 in dockerd's words for addresses that are none.
pub(crate) fn place(
    asked: EndpointSettings,
    version: ApiVersion,
) -> Result<EndpointRequest, ApiError> {
    let mut mistakes = Vec::new();
    let ipam = asked.ipam_config.unwrap_or_default();
    let ipv4 = address::<Ipv4Addr>("IPv4", &ipam.ipv4_address, &mut mistakes);
    let ipv6 = address::<Ipv6Addr>("IPv6", &ipam.ipv6_address, &mut mistakes);
    let mut link_local = Vec::new();
    for text in &ipam.link_local_ips {
        link_local.extend(address::<IpAddr>("link-local IP", text, &mut mistakes));
    }
    match mistakes.as_slice() {
        [] => {}
        [one] => {
            return Err(ApiError::bad_request(format!(
                "invalid endpoint settings:\n{one}"
            )));
        }
        several => {
            return Err(ApiError::bad_request(format!(
                "invalid endpoint settings:\n* {}",
                several.join("\n* ")
            )));
        }
    }
    check_mac(&asked.mac_address)?;
    Ok(EndpointRequest {
        aliases: asked.aliases.unwrap_or_default(),
        links: asked.links.unwrap_or_default(),
        ipv4,
        ipv6,
        link_local,
        mac: Some(asked.mac_address).filter(|mac| !mac.is_empty() && version.since(44)),
        driver_options: asked.driver_opts.unwrap_or_default(),
        gateway_priority: if version.since(48) {
            asked.gw_priority
        } else {
            0
        },
    })
}

/// Six pairs of hexadecimal digits, or nothing.
///
/// # Errors
/// 400 in dockerd's words.
pub(crate) fn check_mac(text: &str) -> Result<(), ApiError> {
    let pair = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits =
        |separator: char| text.split(separator).count() == 6 && text.split(separator).all(pair);
    if text.is_empty() || fits(':') || fits('-') {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("invalid MAC address {text}")))
}

fn address<T: std::str::FromStr>(what: &str, text: &str, mistakes: &mut Vec<String>) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let what = match what {
            "link-local IP" => "link-local IP address".to_owned(),
            family => format!("{family} address"),
        };
        mistakes.push(format!("invalid {what}: {text}"));
    }
    parsed
}

/// A container's place in a network: what was asked for, then what came of it.
pub(crate) fn settings(place: &Place) -> EndpointSettings {
    let asked = &place.request;
    let text = |address: Option<String>| address.unwrap_or_default();
    let ipam = EndpointIpamConfig {
        ipv4_address: text(asked.ipv4.map(|address| address.to_string())),
        ipv6_address: text(asked.ipv6.map(|address| address.to_string())),
        link_local_ips: asked.link_local.iter().map(IpAddr::to_string).collect(),
    };
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let mac = match (place.mac_address.as_str(), &asked.mac) {
        ("", Some(asked)) => asked.clone(),
        (mac, _) => mac.to_owned(),
    };
    EndpointSettings {
        ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
        links: some(&asked.links),
        aliases: some(&asked.aliases),
        mac_address: mac,
        driver_opts: (!asked.driver_options.is_empty()).then(|| asked.driver_options.clone()),
        gw_priority: asked.gateway_priority,
        network_id: place.network_id.clone(),
        endpoint_id: place.endpoint_id.clone(),
        gateway: place.gateway.clone(),
        ip_address: place.address.clone(),
        ip_prefix_len: place.prefix_len.into(),
        ipv6_gateway: place.gateway6.clone(),
        global_ipv6_address: place.address6.clone(),
        global_ipv6_prefix_len: place.prefix_len6.into(),
        dns_names: place.dns_names.clone(),
    }
}

/// Who can reach a port.
pub(crate) fn explanation(reach: PortReach) -> PortExplanation {
    let way = |way: hull_engine::network::Way| Way {
        from: word(&way.from),
        family: way.family,
        reachable: word(&way.reachable),
        at: way.at.iter().map(ToString::to_string).collect(),
        rule: way.rule,
        why: way.why,
    };
    PortExplanation {
        network: reach.network,
        protocol: reach.port.protocol,
        port: reach.port.number,
        ways: reach.ways.into_iter().map(way).collect(),
        remarks: reach.remarks,
    }
}

/// The word that an enum is written with.
fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none_are_told_all_at_once() {
        let asked = |ipv4: &str, ipv6: &str, local: &[&str]| EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: ipv4.to_owned(),
                ipv6_address: ipv6.to_owned(),
                link_local_ips: local.iter().map(|text| (*text).to_owned()).collect(),
            }),
            ..EndpointSettings::default()
        };
        let refused = |settings| place(settings, ApiVersion::NEWEST).unwrap_err().message;
        assert_eq!(
            refused(asked("x", "", &[])),
            "invalid endpoint settings:\ninvalid IPv4 address: x"
        );
        assert_eq!(
            refused(asked("fd00::1", "1.2.3.4", &["x"])),
            "invalid endpoint settings:\n* invalid IPv4 address: fd00::1\n* invalid IPv6 address: 1.2.3.4\n* invalid link-local IP address: x"
        );
        let mac = EndpointSettings {
            mac_address: "zz".to_owned(),
            ..EndpointSettings::default()
        };
        assert_eq!(refused(mac), "invalid MAC address zz");
        assert!(
            place(
                asked("10.0.0.1", "fd00::1", &["fe80::1"]),
                ApiVersion::NEWEST
            )
            .is_ok()
        );
    }

    #[test]
    fn older_clients_ask_for_less() {
        let asked = EndpointSettings {
            mac_address: "02:42:ac:11:00:02".to_owned(),
            gw_priority: 7,
            ..EndpointSettings::default()
        };
        let of = |minor| place(asked.clone(), ApiVersion::new(1, minor)).unwrap();
        assert_eq!((of(43).mac, of(43).gateway_priority), (None, 0));
        assert_eq!((of(44).mac.is_some(), of(48).gateway_priority), (true, 7));
        let network = CreateRequest {
            enable_ipv4: Some(false),
            ..CreateRequest::default()
        };
        let of = |minor| request(network.clone(), ApiVersion::new(1, minor)).enable_ipv4;
        assert_eq!((of(46), of(47)), (None, Some(false)));
    }
}
