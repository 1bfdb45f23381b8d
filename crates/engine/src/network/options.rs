//! Drivers' options: Docker's names, checked, in dockerd's words where something is wrong.

use super::request::NetworkRequest;
use crate::{Error, ErrorKind, Result};
use hull_network::model::{
    BridgeOptions, Driver, GatewayMode, IpvlanMode, MacvlanMode, ParentOptions,
};
use std::net::IpAddr;

const BRIDGE: &str = "com.docker.network.bridge.";
pub(super) const MTU: &str = "com.docker.network.driver.mtu";
const PREFIX: &str = "com.docker.network.container_iface_prefix";
/// The kernel's bound of a device's name, without the terminating zero.
const LONGEST_NAME: usize = 15;

/// What becomes of the options.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) driver: Driver,
    pub(super) binding: Option<IpAddr>,
    pub(super) ifname_prefix: String,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

fn unparsed(name: &str, value: &str, why: impl std::fmt::Display) -> Error {
    invalid(format!("failed to parse {name} value: {value} ({why})"))
}

/// Reads a network's options; `id` names its bridge when nobody does.
///
/// # Errors
/// `InvalidInput` for values that make no sense, `NotFound` for a driver that there is none of.
pub(super) fn parse(request: &NetworkRequest, id: &str) -> Result<Parsed> {
    let (driver, binding) = match request.driver.as_str() {
        "" | "bridge" => {
            let (options, binding) = bridge(request, id)?;
            (Driver::Bridge(options), binding)
        }
        "macvlan" => (Driver::Macvlan(macvlan(request)?), None),
        "ipvlan" => (Driver::Ipvlan(ipvlan(request)?), None),
        other => {
            let text = format!("plugin {other:?} not found");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
    };
    let prefix = request.options.get(PREFIX).cloned();
    let ifname_prefix = prefix
        .filter(|prefix| !prefix.is_empty())
        .unwrap_or_else(|| "eth".to_owned());
    if ifname_prefix.len() > 12 || !is_name(&ifname_prefix) {
        return Err(unparsed(
            PREFIX,
            &ifname_prefix,
            "no device can be called so",
        ));
    }
    Ok(Parsed {
        driver,
        binding,
        ifname_prefix,
    })
}

/// Whether the kernel takes it for a device's name (`dev_valid_name`).
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

/// Go's `strconv.ParseBool`.
fn boolean(name: &str, value: &str) -> Result<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => {
            let why = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
            Err(unparsed(name, value, why))
        }
    }
}

fn address(name: &str, value: &str) -> Result<IpAddr> {
    value.parse().map_err(|_| unparsed(name, value, "nil ip"))
}

fn mode(name: &str, value: &str) -> Result<GatewayMode> {
    match value {
        "nat" => Ok(GatewayMode::Nat),
        "nat-unprotected" => Ok(GatewayMode::NatUnprotected),
        "routed" => Ok(GatewayMode::Routed),
        "isolated" => Ok(GatewayMode::Isolated),
        _ => Err(unparsed(
            name,
            value,
            format!("unknown gateway mode {value}"),
        )),
    }
}

fn mtu(name: &str, value: &str) -> Result<Option<u32>> {
    let number: i64 = value.parse().map_err(|_| {
        let why = format!("strconv.Atoi: parsing {value:?}: invalid syntax");
        unparsed(name, value, why)
    })?;
    match u32::try_from(number) {
        Ok(0) => Ok(None),
        Ok(mtu @ 68..=65535) => Ok(Some(mtu)),
        _ => Err(invalid(format!("invalid MTU number: {number}"))),
    }
}

fn default_bridge(request: &NetworkRequest, id: &str) -> BridgeOptions {
    BridgeOptions {
        masquerade: !request.internal,
        masquerade6: !request.internal,
        ..BridgeOptions::new(format!("br-{}", &id[..12]))
    }
}

fn bridge(request: &NetworkRequest, id: &str) -> Result<(BridgeOptions, Option<IpAddr>)> {
    let mut parsed = default_bridge(request, id);
    let mut binding = None;
    for (name, value) in &request.options {
        if value.is_empty() && name != PREFIX {
            continue;
        }
        match name.strip_prefix(BRIDGE).unwrap_or(name) {
            "name" if is_name(value) => parsed.device.clone_from(value),
            "name" => {
                return Err(invalid(format!(
                    "invalid bridge name {value:?}: it must be a device's name of at most {LONGEST_NAME} bytes"
                )));
            }
            "enable_icc" => parsed.icc = boolean(name, value)?,
            "enable_ip_masquerade" => {
                parsed.masquerade = boolean(name, value)?;
                parsed.masquerade6 = parsed.masquerade;
            }
            "inhibit_ipv4" => parsed.inhibit_ipv4 = boolean(name, value)?,
            "host_binding_ipv4" => binding = Some(address(name, value)?),
            "gateway_mode_ipv4" => parsed.gateway_mode = mode(name, value)?,
            "gateway_mode_ipv6" => parsed.gateway_mode6 = mode(name, value)?,
            "trusted_host_interfaces" => {
                parsed.trusted_interfaces = value.split(':').map(str::to_owned).collect();
                if let Some(bad) = parsed.trusted_interfaces.iter().find(|name| !is_name(name)) {
                    return Err(unparsed(
                        name,
                        value,
                        format!("{bad:?} is no device's name"),
                    ));
                }
            }
            MTU | "com.docker.network.mtu" => parsed.mtu = mtu(name, value)?,
            "com.docker.network.host_ipv4" | "com.docker.network.host_ipv6" => {
                parsed.source.push(source(name, value)?);
            }
            // As with dockerd, what a driver does not know is kept and shown.
            _ => {}
        }
    }
    let isolated = [parsed.gateway_mode, parsed.gateway_mode6].contains(&GatewayMode::Isolated);
    if isolated && !request.internal {
        return Err(invalid(
            "gateway mode 'isolated' can only be used for an internal network",
        ));
    }
    Ok((parsed, binding))
}

fn source(name: &str, value: &str) -> Result<IpAddr> {
    let source = address(name, value)?;
    if source.is_ipv6() == name.ends_with('6') {
        return Ok(source);
    }
    Err(unparsed(name, value, "wrong address family"))
}

/// The host's device, checked; `None`: one that leads nowhere.
fn parent(request: &NetworkRequest) -> Result<Option<String>> {
    let Some(parent) = request
        .options
        .get("parent")
        .filter(|name| !name.is_empty())
    else {
        return Ok(None);
    };
    if parent == "lo" {
        return Err(invalid("loopback interface is not a valid parent link"));
    }
    if !is_name(parent) {
        return Err(invalid(format!("invalid parent interface name {parent:?}")));
    }
    Ok(Some(parent.clone()))
}

fn refuse_unknown(request: &NetworkRequest, known: &[&str]) -> Result<()> {
    let known_or_shared =
        |name: &str| known.contains(&name) || matches!(name, "parent" | MTU | PREFIX);
    // dockerd keeps what it does not know; only what is meant for bridges can be told to be wrong here.
    match request
        .options
        .keys()
        .find(|name| name.starts_with(BRIDGE) && !known_or_shared(name))
    {
        Some(name) => Err(invalid(format!("option {name} is for bridge networks"))),
        None => Ok(()),
    }
}

fn macvlan(request: &NetworkRequest) -> Result<ParentOptions<MacvlanMode>> {
    refuse_unknown(request, &["macvlan_mode"])?;
    let mode = match request
        .options
        .get("macvlan_mode")
        .map_or("", String::as_str)
    {
        "" | "bridge" => MacvlanMode::Bridge,
        "private" => MacvlanMode::Private,
        "vepa" => MacvlanMode::Vepa,
        "passthru" => MacvlanMode::Passthru,
        other => {
            return Err(invalid(format!(
                "requested macvlan mode '{other}' is not valid, 'bridge' mode is the macvlan driver default"
            )));
        }
    };
    Ok(ParentOptions {
        parent: parent(request)?,
        mode,
    })
}

fn ipvlan(request: &NetworkRequest) -> Result<ParentOptions<IpvlanMode>> {
    refuse_unknown(request, &["ipvlan_mode", "ipvlan_flag"])?;
    let mode = match request
        .options
        .get("ipvlan_mode")
        .map_or("", String::as_str)
    {
        "" | "l2" => IpvlanMode::L2,
        "l3" => IpvlanMode::L3,
        "l3s" => IpvlanMode::L3s,
        other => {
            return Err(invalid(format!(
                "requested ipvlan mode '{other}' is not valid, 'l2' mode is the ipvlan driver default"
            )));
        }
    };
    match request
        .options
        .get("ipvlan_flag")
        .map_or("", String::as_str)
    {
        "" | "bridge" => {}
        flag @ ("private" | "vepa") => {
            let text = format!("ipvlan_flag={flag} is not supported by this version of Hull");
            return Err(Error::new(ErrorKind::NotImplemented, text));
        }
        other => {
            return Err(invalid(format!(
                "requested ipvlan flag '{other}' is not valid, 'bridge' is the ipvlan driver default"
            )));
        }
    }
    Ok(ParentOptions {
        parent: parent(request)?,
        mode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(driver: &str, options: &[(&str, &str)]) -> Result<Parsed> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let request = NetworkRequest {
            driver: driver.to_owned(),
            options: options.iter().map(own).collect(),
            ..NetworkRequest::default()
        };
        parse(&request, &"ab".repeat(32))
    }

    fn refusal(driver: &str, options: &[(&str, &str)]) -> String {
        parsed(driver, options).unwrap_err().message().to_owned()
    }

    #[test]
    fn bridges_are_dockers() {
        let plain = parsed("", &[("whatever", "5")]).unwrap();
        let Driver::Bridge(options) = plain.driver else {
            panic!("no bridge");
        };
        assert_eq!(options.device, "br-abababababab");
        assert!(options.icc && options.masquerade && options.mtu.is_none());
        let set = parsed(
            "bridge",
            &[
                ("com.docker.network.bridge.enable_icc", "false"),
                ("com.docker.network.bridge.gateway_mode_ipv6", "routed"),
                ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
                ("com.docker.network.bridge.trusted_host_interfaces", "a:b"),
                ("com.docker.network.container_iface_prefix", "net"),
                (MTU, "1400"),
            ],
        );
        let set = set.unwrap();
        let Driver::Bridge(options) = set.driver else {
            panic!("no bridge");
        };
        assert!(!options.icc && options.mtu == Some(1400));
        assert_eq!(options.gateway_mode6, GatewayMode::Routed);
        assert_eq!(options.trusted_interfaces, ["a", "b"]);
        assert_eq!(
            (
                set.binding.unwrap().to_string().as_str(),
                set.ifname_prefix.as_str()
            ),
            ("127.0.0.1", "net")
        );
    }

    #[test]
    fn what_is_wrong_is_told_in_dockerds_words() {
        for (name, value, why) in [
            (
                "com.docker.network.bridge.enable_icc",
                "x",
                "strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            ("com.docker.network.bridge.host_binding_ipv4", "x", "nil ip"),
            (
                "com.docker.network.bridge.gateway_mode_ipv4",
                "x",
                "unknown gateway mode x",
            ),
            (MTU, "x", "strconv.Atoi: parsing \"x\": invalid syntax"),
            ("com.docker.network.host_ipv4", "x", "nil ip"),
        ] {
            assert_eq!(
                refusal("bridge", &[(name, value)]),
                format!("failed to parse {name} value: {value} ({why})")
            );
        }
        assert_eq!(refusal("bridge", &[(MTU, "-5")]), "invalid MTU number: -5");
        assert_eq!(refusal("foo", &[]), "plugin \"foo\" not found");
        assert!(
            refusal("bridge", &[("com.docker.network.bridge.name", "a/b")])
                .starts_with("invalid bridge name")
        );
        assert_eq!(
            refusal(
                "bridge",
                &[("com.docker.network.bridge.gateway_mode_ipv4", "isolated")]
            ),
            "gateway mode 'isolated' can only be used for an internal network"
        );
        assert!(
            refusal("macvlan", &[("macvlan_mode", "bad")])
                .starts_with("requested macvlan mode 'bad'")
        );
        assert!(
            refusal("ipvlan", &[("ipvlan_mode", "bad")]).starts_with("requested ipvlan mode 'bad'")
        );
    }
}
