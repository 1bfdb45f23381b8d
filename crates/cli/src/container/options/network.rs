//! `--network` and what belongs to it.

use super::mounts::csv;
use crate::flags::Matches;
use hull_api::network::{EndpointIpamConfig, EndpointSettings};
use std::collections::BTreeMap;

/// Networks by name, the first of which is the network mode.
#[derive(Debug, Default)]
pub(super) struct Networks {
    pub(super) mode: String,
    pub(super) endpoints: BTreeMap<String, EndpointSettings>,
}

pub(super) fn check(text: &str) -> Result<(), String> {
    attachment(text).map(drop)
}

/// `name`, or `name=…,alias=…,ip=…`.
fn attachment(text: &str) -> Result<(String, EndpointSettings), String> {
    let mut endpoint = EndpointSettings::default();
    if !text.contains('=') {
        return Ok((text.to_owned(), endpoint));
    }
    let mut name = String::new();
    for field in csv(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid field {field}"))?;
        match key.trim().to_lowercase().as_str() {
            "name" => value.clone_into(&mut name),
            "alias" => endpoint
                .aliases
                .get_or_insert_default()
                .push(value.to_owned()),
            "ip" => value.clone_into(&mut ipam(&mut endpoint).ipv4_address),
            "ip6" => value.clone_into(&mut ipam(&mut endpoint).ipv6_address),
            "mac-address" => value.clone_into(&mut endpoint.mac_address),
            "link-local-ip" => ipam(&mut endpoint).link_local_ips.push(value.to_owned()),
            "driver-opt" => {
                let (option, value) = value
                    .split_once('=')
                    .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                endpoint
                    .driver_opts
                    .get_or_insert_default()
                    .insert(option.to_owned(), value.to_owned());
            }
            "gw-priority" => {
                endpoint.gw_priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority: {value}"))?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if name.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok((name, endpoint))
}

fn ipam(endpoint: &mut EndpointSettings) -> &mut EndpointIpamConfig {
    endpoint.ipam_config.get_or_insert_default()
}

/// Whether a network is one that somebody made: only those have endpoints with options.
fn is_user_defined(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none") && !name.starts_with("container:")
}

/// Joins `--network` with the flags that are about the first network.
pub(super) fn networks(matches: &Matches) -> Result<Networks, String> {
    let mut typed = Vec::new();
    for text in matches.list("network") {
        typed.push(attachment(text)?);
    }
    if typed.is_empty() {
        typed.push(("default".to_owned(), EndpointSettings::default()));
    }
    apply_flags(matches, &mut typed[0].1);
    let mode = typed[0].0.clone();
    let mut endpoints = BTreeMap::new();
    for (name, endpoint) in typed {
        let asked_for = endpoint != EndpointSettings::default();
        if endpoint.aliases.is_some() && !is_user_defined(&name) {
            return Err(
                "network-scoped aliases are only supported for user-defined networks".to_owned(),
            );
        }
        if !asked_for && !is_user_defined(&name) {
            continue;
        }
        if endpoints.insert(name.clone(), endpoint).is_some() {
            return Err(format!("network \"{name}\" is specified multiple times"));
        }
    }
    Ok(Networks { mode, endpoints })
}

fn apply_flags(matches: &Matches, endpoint: &mut EndpointSettings) {
    let aliases = matches.list("network-alias");
    if !aliases.is_empty() {
        endpoint
            .aliases
            .get_or_insert_default()
            .extend_from_slice(aliases);
    }
    if matches.changed("ip") {
        matches
            .text("ip")
            .clone_into(&mut ipam(endpoint).ipv4_address);
    }
    if matches.changed("ip6") {
        matches
            .text("ip6")
            .clone_into(&mut ipam(endpoint).ipv6_address);
    }
    let local = matches.list("link-local-ip");
    if !local.is_empty() {
        ipam(endpoint).link_local_ips.extend_from_slice(local);
    }
    if matches.changed("mac-address") {
        matches
            .text("mac-address")
            .clone_into(&mut endpoint.mac_address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_short_and_long() {
        let (name, endpoint) =
            attachment("name=n,alias=a,alias=b,ip=10.0.0.2,driver-opt=x=y").unwrap();
        assert_eq!(name, "n");
        assert_eq!(endpoint.aliases.unwrap(), ["a", "b"]);
        assert_eq!(endpoint.ipam_config.unwrap().ipv4_address, "10.0.0.2");
        assert_eq!(attachment("host").unwrap().0, "host");
        assert!(attachment("alias=x").is_err() && attachment("x=y").is_err());
        let networks = networks(&Matches::default()).unwrap();
        assert_eq!(networks.mode, "default");
        assert!(networks.endpoints.is_empty());
    }
}
