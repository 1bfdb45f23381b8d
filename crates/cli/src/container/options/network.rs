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
        // Docker's client makes all of it small, names and values too.
        let field = field.to_lowercase();
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid field {field}"))?;
        let (key, value) = (key.trim(), value.trim());
        if key == "name" {
            value.clone_into(&mut name);
        } else {
            set(&mut endpoint, key, value)?;
        }
    }
    if name.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok((name, endpoint))
}

fn set(endpoint: &mut EndpointSettings, key: &str, value: &str) -> Result<(), String> {
    match key {
        "alias" => endpoint
            .aliases
            .get_or_insert_default()
            .push(value.to_owned()),
        "ip" => value.clone_into(&mut ipam(endpoint).ipv4_address),
        "ip6" => value.clone_into(&mut ipam(endpoint).ipv6_address),
        "mac-address" => value.clone_into(&mut endpoint.mac_address),
        "link-local-ip" => ipam(endpoint).link_local_ips.push(value.to_owned()),
        "driver-opt" => {
            let (option, value) = value
                .split_once('=')
                .filter(|(option, _)| !option.is_empty())
                .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
            endpoint
                .driver_opts
                .get_or_insert_default()
                .insert(option.trim().to_owned(), value.trim().to_owned());
        }
        "gw-priority" => {
            endpoint.gw_priority = value
                .parse()
                .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
        }
        other => return Err(format!("invalid field key {other}")),
    }
    Ok(())
}

fn ipam(endpoint: &mut EndpointSettings) -> &mut EndpointIpamConfig {
    endpoint.ipam_config.get_or_insert_default()
}

/// Whether a network is one that somebody made: only those have aliases and links.
fn is_user_defined(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none")
        && name != "container"
        && !name.starts_with("container:")
}

/// Joins `--network` with the flags that are about the first network.
pub(super) fn networks(matches: &Matches) -> Result<Networks, String> {
    let mut typed = Vec::new();
    for text in matches.list("network") {
        typed.push(attachment(text)?);
    }
    let none = typed.is_empty();
    if none {
        typed.push(("default".to_owned(), EndpointSettings::default()));
    }
    let (first, endpoint) = &mut typed[0];
    apply_flags(matches, first, endpoint)?;
    let mode = first.clone();
    let single = typed.len() == 1;
    let (mut user_defined, mut predefined) = (false, false);
    let mut endpoints = BTreeMap::new();
    for (name, endpoint) in typed {
        check_endpoint(&name, &endpoint)?;
        if is_user_defined(&name) {
            user_defined = true;
        } else {
            predefined = true;
        }
        if endpoints.contains_key(&name) {
            return Err(format!("network \"{name}\" is specified multiple times"));
        }
        // One network about which nothing more is said is the mode alone, for older daemons.
        if !(single && !none && endpoint == EndpointSettings::default()) {
            endpoints.insert(name, endpoint);
        }
    }
    if user_defined && predefined {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                .to_owned(),
        );
    }
    Ok(Networks { mode, endpoints })
}

fn check_endpoint(name: &str, endpoint: &EndpointSettings) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("no name set for network".to_owned());
    }
    if !is_user_defined(name) && endpoint.aliases.is_some() {
        return Err(
            "network-scoped aliases are only supported for user-defined networks".to_owned(),
        );
    }
    let mac = endpoint.mac_address.trim();
    if !mac.is_empty() && !is_hardware_address(mac) {
        return Err(format!("{mac} is not a valid mac address"));
    }
    Ok(())
}

/// What Go's `net.ParseMAC` takes: 6, 8 or 20 bytes in pairs with `:` or `-`, or in fours with `.`.
fn is_hardware_address(text: &str) -> bool {
    let digits =
        |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_hexdigit());
    for separator in [':', '-'] {
        let parts: Vec<&str> = text.split(separator).collect();
        if matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|part| digits(part, 2)) {
            return true;
        }
    }
    let parts: Vec<&str> = text.split('.').collect();
    matches!(parts.len(), 3 | 4 | 10) && parts.iter().all(|part| digits(part, 4))
}

/// Adds what the older flags say to the first network; what was said of it already stands against them.
fn apply_flags(
    matches: &Matches,
    name: &str,
    endpoint: &mut EndpointSettings,
) -> Result<(), String> {
    let said = endpoint.ipam_config.clone().unwrap_or_default();
    let aliases = matches.list("network-alias");
    let local = matches.list("link-local-ip");
    let (ip, ip6) = (matches.text("ip"), matches.text("ip6"));
    let mac = matches.text("mac-address");
    for (twice, flag, what) in [
        (
            endpoint.aliases.is_some() && !aliases.is_empty(),
            "--network-alias",
            "alias",
        ),
        (
            !said.ipv4_address.is_empty() && !ip.is_empty(),
            "--ip",
            "IPv4 address",
        ),
        (
            !said.ipv6_address.is_empty() && !ip6.is_empty(),
            "--ip6",
            "IPv6 address",
        ),
        (
            !endpoint.mac_address.is_empty() && !mac.is_empty(),
            "--mac-address",
            "MAC address",
        ),
        (
            !said.link_local_ips.is_empty() && !local.is_empty(),
            "--link-local-ip",
            "link-local IP addresses",
        ),
    ] {
        if twice {
            return Err(format!(
                "conflicting options: cannot specify both {flag} and per-network {what}"
            ));
        }
    }
    let links = matches.list("link");
    if is_user_defined(name) && !links.is_empty() {
        endpoint.links = Some(links.to_vec());
    }
    if !aliases.is_empty() {
        endpoint.aliases = Some(aliases.to_vec());
    }
    if !ip.is_empty() {
        ip.clone_into(&mut ipam(endpoint).ipv4_address);
    }
    if !ip6.is_empty() {
        ip6.clone_into(&mut ipam(endpoint).ipv6_address);
    }
    if !local.is_empty() {
        ipam(endpoint).link_local_ips = local.to_vec();
    }
    if !mac.is_empty() {
        mac.clone_into(&mut endpoint.mac_address);
    }
    Ok(())
}

/// `--link container[:alias]`.
pub(crate) fn check_link(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("empty string specified for links".to_owned());
    }
    if text.split(':').count() > 2 {
        return Err(format!("bad format for links: {text}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_gos() {
        for good in [
            "02:42:ac:11:00:02",
            "02-42-AC-11-00-02",
            "0242.ac11.0002",
            "02:00:5e:10:00:00:00:01",
        ] {
            assert!(is_hardware_address(good), "{good}");
        }
        for bad in [
            "",
            "zz",
            "02:42:ac:11:00",
            "02:42:ac:11:00:2",
            "02:42-ac:11:00:02",
        ] {
            assert!(!is_hardware_address(bad), "{bad}");
        }
    }
}
