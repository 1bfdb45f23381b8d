//! The networks of a new container, and its ports on the host.

use super::create::port;
use super::network;
use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::container::{Config as WireConfig, CreateRequest, HostConfig};
use hull_engine::container::{NetworkMode, Port, PortBinding};
use hull_engine::network::EndpointRequest;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The networks that a container shall be in.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) mode: NetworkMode,
    pub(super) networks: BTreeMap<String, EndpointRequest>,
    /// The old links, which only the default bridge has.
    pub(super) links: Vec<String>,
}

fn refused(text: impl Into<String>) -> ApiError {
    ApiError::bad_request(text)
}

/// Refuses what makes no sense in the network of the host or of another container.
///
/// # Errors
/// 400 in dockerd's words.
pub(super) fn check_sharing(config: &WireConfig, host: &HostConfig) -> Result<(), ApiError> {
    let links = host.links.as_ref().is_some_and(|links| !links.is_empty());
    if host.network_mode == "host" && links {
        return Err(refused(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ));
    }
    let Some(name) = host.network_mode.strip_prefix("container:") else {
        return Ok(());
    };
    if name.is_empty() {
        return Err(refused(
            "invalid network mode: invalid container format container:<name|id>",
        ));
    }
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let publishes = host.publish_all_ports
        || host
            .port_bindings
            .as_ref()
            .is_some_and(|ports| !ports.is_empty());
    let exposes = config
        .exposed_ports
        .as_ref()
        .is_some_and(|ports| !ports.is_empty());
    for (asked, what) in [
        (!config.hostname.is_empty(), "hostname and the network mode"),
        (
            links,
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (some(&host.dns), "dns and the network mode"),
        (
            some(&host.extra_hosts),
            "custom host-to-IP mapping and the network mode",
        ),
        (
            !config.mac_address.is_empty(),
            "mac-address and the network mode",
        ),
        (
            publishes,
            "port publishing and the container type network mode",
        ),
        (exposes, "port exposing and the container type network mode"),
    ] {
        if asked {
            return Err(refused(format!("conflicting options: {what}")));
        }
    }
    Ok(())
}

/// Reads the network mode and what is said of each network.
///
/// # Errors
/// 400 for what makes no sense, or needs a newer API.
pub(super) fn places(request: &mut CreateRequest, version: ApiVersion) -> Result<Places, ApiError> {
    let written = request.host_config.network_mode.clone();
    let asked = request
        .networking_config
        .endpoints_config
        .get_or_insert_default();
    // Names of networks hold no colon: this one is the mode, said twice.
    asked.retain(|name, _| !name.starts_with("container:"));
    if asked.len() > 1 && !version.since(44) {
        let names: Vec<&str> = asked.keys().map(String::as_str).collect();
        return Err(refused(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    let mut networks = BTreeMap::new();
    for (name, settings) in asked.iter() {
        let place =
            network::place(settings.clone(), version).map_err(|error| of_network(name, error))?;
        networks.insert(name.clone(), place);
    }
    check_main_mac(&request.config, &written, networks.get(&written))?;
    let mode = match written.as_str() {
        _ if request.config.network_disabled => NetworkMode::None,
        "" | "default" | "bridge" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        other => match other.strip_prefix("container:") {
            Some(name) => NetworkMode::Container(name.to_owned()),
            None => NetworkMode::Named(other.to_owned()),
        },
    };
    let joins = matches!(mode, NetworkMode::Bridge | NetworkMode::Named(_));
    let mode = match networks.keys().next() {
        // Who lists networks is in these and no other, whatever the mode says.
        Some(first) if joins && !networks.contains_key(&written) => named(first),
        _ => mode,
    };
    let links = request.host_config.links.clone().unwrap_or_default();
    let links = if mode == NetworkMode::Bridge {
        links
    } else {
        Vec::new()
    };
    Ok(Places {
        mode,
        networks,
        links,
    })
}

/// What is wrong with what is said of a network.
fn of_network(name: &str, mut error: ApiError) -> ApiError {
    let prefix = format!("invalid config for network {name}: ");
    error.message.insert_str(0, &prefix);
    error
}

fn named(name: &str) -> NetworkMode {
    match name {
        "bridge" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => NetworkMode::Named(name.to_owned()),
    }
}

/// The address of the container and that of its place in the first network are one.
fn check_main_mac(
    config: &WireConfig,
    network: &str,
    place: Option<&EndpointRequest>,
) -> Result<(), ApiError> {
    network::check_mac(&config.mac_address).map_err(|error| of_network(network, error))?;
    let other = place.and_then(|place| place.mac.as_ref());
    if !config.mac_address.is_empty() && other.is_some_and(|mac| *mac != config.mac_address) {
        return Err(refused(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
        ));
    }
    Ok(())
}

/// Which ports of the host lead to which of the container.
///
/// # Errors
/// 400 for ports and addresses that are none. dockerd takes an address it cannot read for "all addresses",
/// which publishes more than was asked for.
pub(super) fn bindings(host: &HostConfig) -> Result<BTreeMap<Port, Vec<PortBinding>>, ApiError> {
    let mut all: BTreeMap<Port, Vec<PortBinding>> = BTreeMap::new();
    for (text, asked) in host.port_bindings.iter().flatten() {
        let port = port(text).map_err(|_| specification(text.split('/').next().unwrap_or(text)))?;
        let bindings = all.entry(port).or_default();
        for binding in asked.iter().flatten() {
            let (ip, ports) = (binding.host_ip.trim(), binding.host_port.trim());
            if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
                return Err(refused(format!("invalid IP address: {ip}")));
            }
            if !ports.is_empty() && !is_range(ports) {
                return Err(specification(ports));
            }
            bindings.push(PortBinding {
                host: ip.to_owned(),
                host_ports: ports.to_owned(),
            });
        }
    }
    Ok(all)
}

fn specification(text: &str) -> ApiError {
    refused(format!("invalid port specification: {text:?}"))
}

/// `8080`, or `8000-8010`.
fn is_range(text: &str) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
}

/// Name servers' addresses, and links as `container[:alias]`.
///
/// # Errors
/// 400 in dockerd's words; it finds out about name servers at the start only.
pub(super) fn check_names(host: &HostConfig) -> Result<(), ApiError> {
    for server in host.dns.iter().flatten() {
        if server.parse::<IpAddr>().is_err() {
            return Err(refused(format!(
                "bad nameserver address {server}: ParseAddr({server:?}): unable to parse IP"
            )));
        }
    }
    for link in host.links.iter().flatten() {
        if link.is_empty() {
            return Err(refused("empty string specified for links"));
        }
        if link.split(':').count() > 2 {
            return Err(refused(format!("bad format for links: {link}")));
        }
    }
    Ok(())
}

/// `name:address` or `name=address`, where `host-gateway` is an address too.
///
/// # Errors
/// 400 in dockerd's words.
pub(super) fn check_hosts(hosts: &[String]) -> Result<(), ApiError> {
    for host in hosts {
        let split = host.split_once('=').or_else(|| host.split_once(':'));
        let named = split.filter(|(name, _)| !name.is_empty() && !name.contains(':'));
        let Some((_, address)) = named else {
            return Err(refused(format!("bad format for add-host: {host:?}")));
        };
        let inner = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address = inner.unwrap_or(address);
        if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            return Err(refused(format!(
                "invalid IP address in add-host: {address:?}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::create::config;
    use super::*;
    use hull_engine::container::Config;
    use serde_json::{Value, json};

    fn asked(body: Value, minor: u16) -> Result<Config, String> {
        let mut all = json!({"Image": "i"});
        all.as_object_mut()
            .unwrap()
            .extend(body.as_object().unwrap().clone());
        let request = CreateRequest::from_slice(&serde_json::to_vec(&all).unwrap()).unwrap();
        let host = crate::convert::create::Host {
            cgroup_v2: false,
            settings: &crate::config::ContainerDefaults::default(),
        };
        let asked = config(request, None, host, ApiVersion::new(1, minor));
        asked
            .map(|asked| asked.config)
            .map_err(|error| error.message)
    }

    /// `API version, request, refusal` recorded from dockerd 28.5, but for the address that is none.
    const REFUSED: &[(u16, &str, &str)] = &[
        (
            51,
            r#"{"HostConfig":{"NetworkMode":"container:a","PublishAllPorts":true}}"#,
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            51,
            r#"{"HostConfig":{"NetworkMode":"container:a","Dns":["1.1.1.1"]}}"#,
            "conflicting options: dns and the network mode",
        ),
        (
            51,
            r#"{"HostConfig":{"NetworkMode":"container:a","ExtraHosts":["a:1.1.1.1"]}}"#,
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            51,
            r#"{"Hostname":"h","HostConfig":{"NetworkMode":"container:a"}}"#,
            "conflicting options: hostname and the network mode",
        ),
        (
            51,
            r#"{"ExposedPorts":{"80/tcp":{}},"HostConfig":{"NetworkMode":"container:a"}}"#,
            "conflicting options: port exposing and the container type network mode",
        ),
        (
            43,
            r#"{"MacAddress":"02:42:00:00:00:01","HostConfig":{"NetworkMode":"container:a"}}"#,
            "conflicting options: mac-address and the network mode",
        ),
        (
            51,
            r#"{"HostConfig":{"NetworkMode":"container:"}}"#,
            "invalid network mode: invalid container format container:<name|id>",
        ),
        (
            43,
            r#"{"NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}"#,
            "Container cannot be created with multiple network endpoints: a, b",
        ),
        (
            51,
            r#"{"HostConfig":{"NetworkMode":"n"},"NetworkingConfig":{"EndpointsConfig":{"n":{"IPAMConfig":{"IPv4Address":"x"}}}}}"#,
            "invalid config for network n: invalid endpoint settings:\ninvalid IPv4 address: x",
        ),
        (
            51,
            r#"{"HostConfig":{"NetworkMode":"n"},"NetworkingConfig":{"EndpointsConfig":{"n":{"MacAddress":"zz"}}}}"#,
            "invalid config for network n: invalid MAC address zz",
        ),
        (
            51,
            r#"{"MacAddress":"02:42:0a:58:01:33","HostConfig":{"NetworkMode":"n"},"NetworkingConfig":{"EndpointsConfig":{"n":{"MacAddress":"02:42:0a:58:01:34"}}}}"#,
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
        ),
        (
            51,
            r#"{"HostConfig":{"PortBindings":{"x":[{}]}}}"#,
            "invalid port specification: \"x\"",
        ),
        (
            51,
            r#"{"HostConfig":{"PortBindings":{"80-81/tcp":[{}]}}}"#,
            "invalid port specification: \"80-81\"",
        ),
        (
            51,
            r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"70000"}]}}}"#,
            "invalid port specification: \"70000\"",
        ),
        (
            51,
            r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"18090-18080"}]}}}"#,
            "invalid port specification: \"18090-18080\"",
        ),
        (
            51,
            r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"x","HostPort":"1"}]}}}"#,
            "invalid IP address: x",
        ),
        (
            51,
            r#"{"HostConfig":{"Dns":["x"]}}"#,
            "bad nameserver address x: ParseAddr(\"x\"): unable to parse IP",
        ),
        (
            51,
            r#"{"HostConfig":{"Links":["a:b:c"]}}"#,
            "bad format for links: a:b:c",
        ),
        (
            51,
            r#"{"HostConfig":{"ExtraHosts":["a"]}}"#,
            "bad format for add-host: \"a\"",
        ),
        (
            51,
            r#"{"HostConfig":{"ExtraHosts":["a:b"]}}"#,
            "invalid IP address in add-host: \"b\"",
        ),
    ];

    #[test]
    fn refusals_are_dockerds() {
        for (minor, body, error) in REFUSED {
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(asked(body.clone(), *minor).unwrap_err(), *error, "{body}");
        }
    }

    #[test]
    fn networks_are_those_that_are_listed() {
        let networks = |body: Value| {
            let config = asked(body, 51).unwrap();
            let names: Vec<String> = config.networks.keys().cloned().collect();
            (config.network.text(), names.join(" "), config.links)
        };
        let text = |text: &str| text.to_owned();
        assert_eq!(networks(json!({})), (text("bridge"), text(""), vec![]));
        let listed = json!({"EndpointsConfig": {"a": {}, "b": {}}});
        assert_eq!(
            networks(json!({"NetworkingConfig": listed})),
            (text("a"), text("a b"), vec![])
        );
        assert_eq!(
            networks(
                json!({"HostConfig": {"NetworkMode": "b", "Links": ["x"]}, "NetworkingConfig": listed})
            ),
            (text("b"), text("a b"), vec![])
        );
        assert_eq!(
            networks(
                json!({"HostConfig": {"NetworkMode": "default", "Links": ["x"]}, "NetworkingConfig": {"EndpointsConfig": {"default": {}}}})
            ),
            (text("bridge"), text("bridge"), vec![text("x")])
        );
        assert_eq!(networks(json!({"NetworkDisabled": true})).0, "none");
    }

    #[test]
    fn ports_are_kept_as_written() {
        let config = asked(
            json!({"HostConfig": {"PortBindings": {"80": [{"HostPort": "8000-8010"}, {"HostIp": "::1"}], "81/UDP": null}}}),
            51,
        )
        .unwrap();
        let port = |number, protocol: &str| Port {
            number,
            protocol: protocol.to_owned(),
        };
        assert_eq!(config.ports[&port(80, "tcp")][0].host_ports, "8000-8010");
        assert_eq!(config.ports[&port(80, "tcp")][1].host, "::1");
        assert_eq!(config.ports[&port(81, "udp")], []);
    }
}
