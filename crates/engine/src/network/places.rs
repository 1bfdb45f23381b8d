//! What a new container asks of networks: checked, and written as the engine keeps it.

use super::place::{IFNAME, SYSCTLS};
use super::pools::complain;
use super::request::EndpointRequest;
use super::row::Row;
use super::{links, names, options, publish};
use crate::container::record::Record;
use crate::container::{Config, Endpoint, NetworkMode, Places};
use crate::{Engine, Error, ErrorKind, Result};
use hull_network::model::MacAddress;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

impl Engine {
    /// Checks what a container asks of networks, and puts ids in the place of others' names.
    ///
    /// # Errors
    /// `InvalidInput` and `NotFound` in dockerd's words.
    pub(crate) fn settle_config(&self, config: &mut Config) -> Result<()> {
        publish::check(&config.ports)?;
        if let NetworkMode::Container(name) = &config.network {
            refuse_for_shared(config)?;
            let id = self.find(name)?.id.clone();
            config.network = NetworkMode::Container(id);
        }
        if config.network == NetworkMode::Host && !config.links.is_empty() {
            return Err(invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            ));
        }
        for text in &mut config.links {
            let (name, alias) = names::link(text);
            let other = self.find(name).map_err(|error| {
                let text = format!("could not get container for {name}: {}", error.message());
                Error::new(ErrorKind::InvalidInput, text)
            })?;
            *text = links::settled(&other.id, alias, name);
        }
        Ok(())
    }

    /// The places of a new container, by network name.
    ///
    /// # Errors
    /// `InvalidInput` in dockerd's words.
    pub(crate) fn new_places(&self, record: &Record) -> Result<Places> {
        let config = &record.config;
        if matches!(config.network, NetworkMode::Container(_)) {
            return Ok(BTreeMap::new());
        }
        let main = config.network.text();
        let mut asked: BTreeMap<String, EndpointRequest> = BTreeMap::new();
        asked.insert(self.network_name(&main), EndpointRequest::default());
        for (name, request) in &config.networks {
            let name = match name.as_str() {
                "default" => super::BRIDGE,
                name => name,
            };
            asked.insert(self.network_name(name), request.clone());
        }
        let main = self.network_name(&main);
        only_one(&main, &asked)?;
        if let Some(request) = asked.get_mut(&main) {
            request.mac = request.mac.take().or_else(|| config.mac_address.clone());
        }
        let mut places = BTreeMap::new();
        for (name, request) in asked {
            let row = self.networks.find(&name).ok().map(|live| live.row());
            check_request(&request)?;
            if let Some(row) = &row {
                let about = format!("invalid config for network {name}: invalid endpoint settings");
                complain(&about, &complaints(row, &request))?;
            }
            let place = Endpoint {
                dns_names: row
                    .as_ref()
                    .and_then(|row| names::of(row, record, &request)),
                network_id: row.map(|row| row.id.clone()).unwrap_or_default(),
                request,
                ..Endpoint::default()
            };
            places.insert(name, Box::new(place));
        }
        Ok(places)
    }

    /// The name of a network that is there; otherwise the text as it is.
    fn network_name(&self, text: &str) -> String {
        let found = self.networks.find(text);
        found.map_or_else(|_| text.to_owned(), |live| live.row().name().to_owned())
    }
}

/// `host` and `none` go with no other network.
pub(super) fn only_one(main: &str, asked: &BTreeMap<String, EndpointRequest>) -> Result<()> {
    if asked.len() < 2 {
        return Ok(());
    }
    if main == "host" || asked.contains_key("host") {
        return Err(invalid(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        ));
    }
    if asked.contains_key("none") {
        return Err(invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ));
    }
    Ok(())
}

/// dockerd's list of what makes no sense for a container in another's network, in its order.
fn refuse_for_shared(config: &Config) -> Result<()> {
    let publishes = config.publish_all || !config.ports.is_empty();
    let rules = [
        (config.hostname.is_some(), "hostname and the network mode"),
        (
            !config.links.is_empty(),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (!config.dns.is_empty(), "dns and the network mode"),
        (
            !config.extra_hosts.is_empty(),
            "custom host-to-IP mapping and the network mode",
        ),
        (
            publishes,
            "port publishing and the container type network mode",
        ),
        (
            !config.exposed_ports.is_empty(),
            "port exposing and the container type network mode",
        ),
    ];
    match rules.into_iter().find(|(broken, _)| *broken) {
        Some((_, text)) => Err(invalid(format!("conflicting options: {text}"))),
        None => Ok(()),
    }
}

/// What makes no sense in any network.
pub(super) fn check_request(request: &EndpointRequest) -> Result<()> {
    if let Some(mac) = &request.mac {
        let address = mac.parse::<MacAddress>();
        // The lowest bit of the first byte is a group's (IEEE 802).
        if address.is_err() || address.is_ok_and(|address| address.0.0[0] & 1 == 1) {
            return Err(invalid(format!("invalid MAC address {mac}")));
        }
    }
    if let Some(name) = request.driver_options.get(IFNAME)
        && (!options::is_name(name) || name == "lo")
    {
        return Err(invalid(format!(
            "invalid endpoint settings:\ninvalid interface name {name:?}"
        )));
    }
    Ok(())
}

/// Whether an address is of a subnet that was asked for in a family that the network does not have: dockerd
/// keeps both, and does nothing with them.
fn ignored(row: &Row, address: IpAddr) -> bool {
    let has_family = row
        .subnets()
        .iter()
        .any(|subnet| subnet.addr().is_ipv6() == address.is_ipv6());
    let asked = row.request.ipam.pools.iter();
    let mut subnets = asked.filter_map(|pool| pool.subnet.parse::<ipnet::IpNet>().ok());
    !has_family && subnets.any(|subnet| subnet.contains(&address))
}

/// What makes no sense in this network.
pub(super) fn complaints(row: &Row, request: &EndpointRequest) -> Vec<String> {
    let mut complaints = Vec::new();
    let asked = [request.ipv4.map(IpAddr::V4), request.ipv6.map(IpAddr::V6)];
    let asks = asked.iter().any(Option::is_some);
    if row.predefined {
        if asks {
            complaints.push(
                "user specified IP address is supported on user defined networks only".to_owned(),
            );
        }
        if !request.aliases.is_empty() {
            complaints.push(
                "network-scoped alias is supported only for containers in user defined networks"
                    .to_owned(),
            );
        }
    } else {
        for (at, address) in asked
            .iter()
            .enumerate()
            .filter_map(|(at, a)| Some((at, (*a)?)))
        {
            if ignored(row, address) {
                continue;
            }
            if !row.own_subnets[at] {
                complaints.push("user specified IP address is supported only when connecting to networks with user configured subnets".to_owned());
            } else if !row.subnets().iter().any(|subnet| subnet.contains(&address)) {
                complaints.push(format!(
                    "no configured subnet or ip-range contain the IP address {address}"
                ));
            }
        }
    }
    let sysctls = request
        .driver_options
        .get(SYSCTLS)
        .map_or("", String::as_str);
    for sysctl in sysctls.split(',').filter(|sysctl| !sysctl.is_empty()) {
        if !is_endpoint_sysctl(sysctl) {
            complaints.push(format!(
                "unrecognised network interface sysctl '{sysctl}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            ));
        }
    }
    complaints
}

fn is_endpoint_sysctl(setting: &str) -> bool {
    let Some((name, _)) = setting.split_once('=') else {
        return false;
    };
    let parts: Vec<&str> = name.split('.').collect();
    let plain = parts
        .iter()
        .all(|part| !part.is_empty() && !part.contains('/'));
    matches!(
        parts.as_slice(),
        [
            "net",
            "ipv4" | "ipv6" | "mpls",
            _,
            "IFNAME" | "ifname",
            _,
            ..
        ]
    ) && plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Port;

    #[test]
    fn sharing_a_network_excludes_ones_own_settings() {
        let refusal = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            refuse_for_shared(&config).unwrap_err().message().to_owned()
        };
        assert_eq!(
            refusal(|c| c.hostname = Some("x".to_owned())),
            "conflicting options: hostname and the network mode"
        );
        assert_eq!(
            refusal(|c| c.publish_all = true),
            "conflicting options: port publishing and the container type network mode"
        );
        let exposes = |c: &mut Config| {
            c.exposed_ports.insert(Port {
                number: 80,
                protocol: "tcp".to_owned(),
            });
        };
        assert_eq!(
            refusal(exposes),
            "conflicting options: port exposing and the container type network mode"
        );
        assert!(refuse_for_shared(&Config::default()).is_ok());
    }

    #[test]
    fn sysctls_of_endpoints_name_no_device() {
        assert!(is_endpoint_sysctl("net.ipv4.conf.IFNAME.log_martians=1"));
        for bad in [
            "net.ipv4.conf.eth0.x=1",
            "net.core.IFNAME.x.y=1",
            "kernel.x=1",
            "net.ipv4.conf.IFNAME.x",
            "net.ipv4.conf.IFNAME.../../x=1",
            "net.ipv4.conf.IFNAME.a/b=1",
        ] {
            assert!(!is_endpoint_sysctl(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_of_devices_are_one_machines() {
        let check = |mac: &str| {
            check_request(&EndpointRequest {
                mac: Some(mac.to_owned()),
                ..EndpointRequest::default()
            })
        };
        assert!(check("02:42:ac:11:00:99").is_ok());
        assert_eq!(check("x").unwrap_err().message(), "invalid MAC address x");
        assert!(check("01:42:ac:11:00:99").is_err());
    }
}
