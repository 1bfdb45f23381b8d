//! Networks: dockerd's flags and keys for them, and Hull's own two.

use super::ConfigError;
use clap::Args;
use hull_engine::network::{AddressPool, BridgeConfig, NetworkConfig};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Flags about networks.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NetworkFlags {
    /// Bridge of the host that containers get into, none for no default network [default: hull0, which is made]
    #[arg(short = 'b', long, value_name = "NAME")]
    pub(super) bridge: Option<String>,
    /// IPv4 address of the default bridge, with its prefix length
    #[arg(long, value_name = "CIDR")]
    pub(super) bip: Option<String>,
    /// IPv6 address of the default bridge, with its prefix length
    #[arg(long, value_name = "CIDR")]
    pub(super) bip6: Option<String>,
    /// Part of the default bridge's subnet that containers get IPv4 addresses of
    #[arg(long, value_name = "CIDR")]
    pub(super) fixed_cidr: Option<String>,
    /// Part of the default bridge's subnet that containers get IPv6 addresses of
    #[arg(long, value_name = "CIDR")]
    pub(super) fixed_cidr_v6: Option<String>,
    /// IPv4 router of containers on the default bridge [default: the bridge]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) default_gateway: Option<String>,
    /// IPv6 router of containers on the default bridge [default: the bridge]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) default_gateway_v6: Option<String>,
    /// Let containers on the default bridge reach each other [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) icc: Option<bool>,
    /// Address of the host at which ports of containers on the default bridge are published [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip: Option<String>,
    /// As --ip, but for all networks, also those of compose projects
    #[arg(long, value_name = "ADDRESS")]
    pub(super) default_publish_address: Option<String>,
    /// Who decides who may reach published ports: nat (everybody may, as with Docker) or host-firewall (the
    /// host's rules for incoming packets, such as those of ufw and firewalld) [default: nat]
    #[arg(long, value_name = "MODE")]
    pub(super) publish: Option<String>,
    /// Switch the host's forwarding on [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) ip_forward: Option<bool>,
    /// Accepted: Hull never changes the policy of other chains
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) ip_forward_no_drop: Option<bool>,
    /// Give what leaves the default bridge the host's address [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) ip_masq: Option<bool>,
    /// Accepted: Hull's rules are in an nftables table of its own
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) iptables: Option<bool>,
    /// Accepted, as --iptables
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) ip6tables: Option<bool>,
    /// Give the default bridge IPv6 [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) ipv6: Option<bool>,
    /// Longest packet of the default bridge, in bytes [default: 1500]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub(super) mtu: Option<i64>,
    /// Range that is cut into networks for those who name no subnet, as base=10.10.0.0/16,size=24
    #[arg(long = "default-address-pool", value_name = "POOL")]
    pub(super) default_address_pools: Vec<String>,
    /// Option that new networks of a driver have, as driver=option=value
    #[arg(long = "default-network-opt", value_name = "OPTION")]
    pub(super) default_network_opts: Vec<String>,
    /// Name server of containers that name none [default: the host's]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) dns: Vec<String>,
    /// Resolver option of containers that name none
    #[arg(long = "dns-opt", value_name = "OPTION")]
    pub(super) dns_opts: Vec<String>,
    /// Search domain of containers that name none
    #[arg(long, value_name = "DOMAIN")]
    pub(super) dns_search: Vec<String>,
    /// Address that host-gateway stands for in --add-host [default: that of the default bridge]
    #[arg(long = "host-gateway-ip", value_name = "ADDRESS")]
    pub(super) host_gateway_ips: Vec<String>,
    /// Accepted: there is no proxy, the kernel does all of its work
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) userland_proxy: Option<bool>,
    /// Accepted, as --userland-proxy
    #[arg(long, value_name = "FILE")]
    pub(super) userland_proxy_path: Option<String>,
    /// Let other machines reach published ports at containers' own addresses [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) allow_direct_routing: Option<bool>,
    /// Accepted: iptables or nftables; Hull's rules are in an nftables table of its own either way
    #[arg(long, value_name = "NAME")]
    pub(super) firewall_backend: Option<String>,
}

/// The same in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct NetworkFile {
    bridge: Option<String>,
    bip: Option<String>,
    bip6: Option<String>,
    fixed_cidr: Option<String>,
    fixed_cidr_v6: Option<String>,
    default_gateway: Option<String>,
    default_gateway_v6: Option<String>,
    icc: Option<bool>,
    ip: Option<String>,
    default_publish_address: Option<String>,
    publish: Option<String>,
    ip_forward: Option<bool>,
    ip_forward_no_drop: Option<bool>,
    ip_masq: Option<bool>,
    iptables: Option<bool>,
    ip6tables: Option<bool>,
    ipv6: Option<bool>,
    mtu: Option<i64>,
    default_address_pools: Option<Vec<PoolFile>>,
    default_network_opts: Option<BTreeMap<String, BTreeMap<String, String>>>,
    dns: Option<Vec<String>>,
    dns_opts: Option<Vec<String>>,
    dns_search: Option<Vec<String>>,
    host_gateway_ip: Option<String>,
    host_gateway_ips: Option<Vec<String>>,
    userland_proxy: Option<bool>,
    userland_proxy_path: Option<String>,
    allow_direct_routing: Option<bool>,
    firewall_backend: Option<String>,
}

/// One element of `default-address-pools`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PoolFile {
    base: String,
    size: i64,
}

/// The keys of [`NetworkFile`].
pub(super) const KNOWN: &[&str] = &[
    "bridge",
    "bip",
    "bip6",
    "fixed-cidr",
    "fixed-cidr-v6",
    "default-gateway",
    "default-gateway-v6",
    "icc",
    "ip",
    "default-publish-address",
    "publish",
    "ip-forward",
    "ip-forward-no-drop",
    "ip-masq",
    "iptables",
    "ip6tables",
    "ipv6",
    "mtu",
    "default-address-pools",
    "default-network-opts",
    "dns",
    "dns-opts",
    "dns-search",
    "host-gateway-ip",
    "host-gateway-ips",
    "userland-proxy",
    "userland-proxy-path",
    "allow-direct-routing",
    "firewall-backend",
];

impl NetworkFlags {
    /// The flags that were given, by the keys that the file has for them.
    pub(super) fn given(&self) -> Vec<(&'static str, Option<String>)> {
        let list =
            |values: &[String]| (!values.is_empty()).then(|| format!("[{}]", values.join(" ")));
        let truth = |value: Option<bool>| value.map(|value| value.to_string());
        vec![
            ("allow-direct-routing", truth(self.allow_direct_routing)),
            ("bip", self.bip.clone()),
            ("bip6", self.bip6.clone()),
            ("bridge", self.bridge.clone()),
            ("default-address-pools", list(&self.default_address_pools)),
            ("default-gateway", self.default_gateway.clone()),
            ("default-gateway-v6", self.default_gateway_v6.clone()),
            ("default-network-opts", list(&self.default_network_opts)),
            (
                "default-publish-address",
                self.default_publish_address.clone(),
            ),
            ("dns", list(&self.dns)),
            ("dns-opts", list(&self.dns_opts)),
            ("dns-search", list(&self.dns_search)),
            ("firewall-backend", self.firewall_backend.clone()),
            ("fixed-cidr", self.fixed_cidr.clone()),
            ("fixed-cidr-v6", self.fixed_cidr_v6.clone()),
            ("host-gateway-ips", list(&self.host_gateway_ips)),
            ("icc", truth(self.icc)),
            ("ip", self.ip.clone()),
            ("ip-forward", truth(self.ip_forward)),
            ("ip-forward-no-drop", truth(self.ip_forward_no_drop)),
            ("ip-masq", truth(self.ip_masq)),
            ("ip6tables", truth(self.ip6tables)),
            ("iptables", truth(self.iptables)),
            ("ipv6", truth(self.ipv6)),
            ("mtu", self.mtu.map(|mtu| mtu.to_string())),
            ("publish", self.publish.clone()),
            ("userland-proxy", truth(self.userland_proxy)),
            ("userland-proxy-path", self.userland_proxy_path.clone()),
        ]
    }
}

/// What is said of networks, and what should be known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Networking {
    /// For the engine, but for the path of its program.
    pub(crate) config: NetworkConfig,
    /// What was asked for and is otherwise: for the log.
    pub(crate) notes: Vec<&'static str>,
}

/// Puts flags and file together.
///
/// # Errors
/// What is wrong with them, in dockerd's words where dockerd finds out.
pub(super) fn merge(flags: &NetworkFlags, file: &NetworkFile) -> Result<Networking, ConfigError> {
    let text = |flag: &Option<String>, file: &Option<String>| {
        flag.clone().or_else(|| file.clone()).unwrap_or_default()
    };
    let truth = |flag: Option<bool>, file: Option<bool>, default| flag.or(file).unwrap_or(default);
    let bridge = bridge(flags, file)?;
    let backend = text(&flags.firewall_backend, &file.firewall_backend);
    if !matches!(backend.as_str(), "" | "iptables" | "nftables") {
        return Err(refused(format!("invalid firewall-backend {backend:?}")));
    }
    let publish = text(&flags.publish, &file.publish);
    if !matches!(publish.as_str(), "" | "nat" | "host-firewall") {
        return Err(refused(format!(
            "invalid publish mode: {publish}: use nat or host-firewall"
        )));
    }
    let iptables = truth(flags.iptables, file.iptables, true);
    let mut notes = Vec::new();
    if !iptables || !truth(flags.ip6tables, file.ip6tables, true) {
        notes.push("iptables and ip6tables are not used: Hull's rules are in an nftables table of its own, and are made nevertheless");
    }
    let publish_address = text(
        &flags.default_publish_address,
        &file.default_publish_address,
    );
    let config = NetworkConfig {
        publish_address: address("default-publish-address", &publish_address)?,
        host_firewall: publish == "host-firewall",
        address_pools: pools(flags, file)?,
        host_gateways: host_gateways(flags, file)?,
        default_options: options(flags, file)?,
        dns: name_servers(flags, file)?,
        dns_search: domains(flags, file)?,
        dns_options: either(&flags.dns_opts, &file.dns_opts),
        allow_direct_routing: truth(flags.allow_direct_routing, file.allow_direct_routing, false),
        keep_forwarding: !truth(flags.ip_forward, file.ip_forward, true),
        bridge,
        ..NetworkConfig::default()
    };
    Ok(Networking { config, notes })
}

fn refused(text: impl Into<String>) -> ConfigError {
    ConfigError::Network(text.into())
}

fn either(flags: &[String], file: &Option<Vec<String>>) -> Vec<String> {
    if flags.is_empty() {
        file.clone().unwrap_or_default()
    } else {
        flags.to_vec()
    }
}

/// An address, or nothing.
fn address(name: &str, text: &str) -> Result<Option<IpAddr>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse();
    parsed
        .map(Some)
        .map_err(|_| refused(format!("invalid {name}: failed to parse IP: {text:?}")))
}

/// A subnet: an address and how many of its first bits are the network's.
fn prefix(name: &str, text: &str) -> Result<(IpAddr, u8), ConfigError> {
    let bad = || refused(format!("invalid {name}: invalid CIDR address: {text}"));
    let (address, length) = text.split_once('/').ok_or_else(bad)?;
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    let length: u8 = length.parse().map_err(|_| bad())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    if length > longest {
        return Err(bad());
    }
    Ok((address, length))
}

fn bridge(flags: &NetworkFlags, file: &NetworkFile) -> Result<BridgeConfig, ConfigError> {
    let text = |flag: &Option<String>, file: &Option<String>| {
        flag.clone().or_else(|| file.clone()).unwrap_or_default()
    };
    let ip = text(&flags.ip, &file.ip);
    let mtu = flags.mtu.or(file.mtu).unwrap_or(0);
    let bridge = BridgeConfig {
        device: text(&flags.bridge, &file.bridge),
        made: String::new(),
        address: text(&flags.bip, &file.bip),
        address6: text(&flags.bip6, &file.bip6),
        range: text(&flags.fixed_cidr, &file.fixed_cidr),
        range6: text(&flags.fixed_cidr_v6, &file.fixed_cidr_v6),
        gateway: text(&flags.default_gateway, &file.default_gateway),
        gateway6: text(&flags.default_gateway_v6, &file.default_gateway_v6),
        ipv6: flags.ipv6.or(file.ipv6).unwrap_or(false),
        mtu: match u32::try_from(mtu) {
            Ok(0) => None,
            Ok(mtu) => Some(mtu),
            Err(_) => return Err(refused(format!("invalid default MTU: {mtu}"))),
        },
        icc: flags.icc.or(file.icc).unwrap_or(true),
        masquerade: flags.ip_masq.or(file.ip_masq).unwrap_or(true),
        publish_address: address("ip", &ip)?,
    };
    for (own, flag) in [(&bridge.address, "bip"), (&bridge.address6, "bip6")] {
        if !bridge.device.is_empty() && !own.is_empty() {
            return Err(refused(format!(
                "You specified -b & --{flag}, mutually exclusive options. Please specify only one"
            )));
        }
    }
    for (name, text, v4) in [
        ("bip", &bridge.address, true),
        ("bip6", &bridge.address6, false),
        ("fixed-cidr", &bridge.range, true),
        ("fixed-cidr-v6", &bridge.range6, false),
    ] {
        if !text.is_empty() && prefix(name, text)?.0.is_ipv4() != v4 {
            let family = if v4 { "IPv4" } else { "IPv6" };
            return Err(refused(format!(
                "invalid {name}: {text} is no {family} network"
            )));
        }
    }
    for (name, text, v4) in [
        ("default-gateway", &bridge.gateway, true),
        ("default-gateway-v6", &bridge.gateway6, false),
    ] {
        if address(name, text)?.is_some_and(|ip| ip.is_ipv4() != v4) {
            let family = if v4 { "IPv4" } else { "IPv6" };
            return Err(refused(format!(
                "invalid {name}: {text} is no {family} address"
            )));
        }
    }
    Ok(bridge)
}

fn pools(flags: &NetworkFlags, file: &NetworkFile) -> Result<Vec<AddressPool>, ConfigError> {
    let written: Vec<PoolFile> = match flags.default_address_pools.as_slice() {
        [] => file.default_address_pools.clone().unwrap_or_default(),
        flags => flags
            .iter()
            .map(|flag| pool(flag))
            .collect::<Result<_, _>>()?,
    };
    let mut pools = Vec::new();
    for PoolFile { base, size } in written {
        let (address, length) = prefix("default-address-pools", &base)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let size = u8::try_from(size)
            .ok()
            .filter(|size| (length..=longest).contains(size));
        let size = size.ok_or_else(|| {
            refused(format!(
                "invalid default-address-pools: the size of {base} must be from {length} to {longest}"
            ))
        })?;
        pools.push(AddressPool { base, size });
    }
    Ok(pools)
}

/// `base=10.10.0.0/16,size=24`.
fn pool(flag: &str) -> Result<PoolFile, ConfigError> {
    let bad = |why: String| {
        refused(format!(
            "invalid argument {flag:?} for \"--default-address-pool\" flag: {why}"
        ))
    };
    let mut pool = PoolFile::default();
    for field in flag.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| bad(format!("invalid field '{field}' must be a key=value pair")))?;
        match key.to_ascii_lowercase().as_str() {
            "base" => value.clone_into(&mut pool.base),
            "size" => {
                pool.size = value.parse().map_err(|_| {
                    bad(format!(
                        "invalid size value: {flag:?} (must be integer): strconv.Atoi: parsing {value:?}: invalid syntax"
                    ))
                })?;
            }
            _ => return Err(bad(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    Ok(pool)
}

type DriverOptions = BTreeMap<String, BTreeMap<String, String>>;

fn options(flags: &NetworkFlags, file: &NetworkFile) -> Result<DriverOptions, ConfigError> {
    let mut all = file.default_network_opts.clone().unwrap_or_default();
    for flag in &flags.default_network_opts {
        let split = flag
            .split_once('=')
            .and_then(|(driver, rest)| Some((driver, rest.split_once('=')?)));
        let Some((driver, (option, value))) = split else {
            return Err(refused(format!(
                "invalid argument {flag:?} for \"--default-network-opt\" flag: invalid value {flag:?} for map option, should be root-key=key=value"
            )));
        };
        let options = all.entry(driver.to_owned()).or_default();
        options.insert(option.to_owned(), value.to_owned());
    }
    Ok(all)
}

fn name_servers(flags: &NetworkFlags, file: &NetworkFile) -> Result<Vec<String>, ConfigError> {
    let all = either(&flags.dns, &file.dns);
    let all: Vec<String> = all
        .iter()
        .flat_map(|text| text.split(','))
        .map(|text| text.trim().to_owned())
        .collect();
    match all.iter().find(|text| text.parse::<IpAddr>().is_err()) {
        Some(bad) if flags.dns.is_empty() => Err(refused(format!("invalid IP address: {bad}"))),
        Some(bad) => Err(refused(format!(
            "invalid argument {bad:?} for \"--dns\" flag: invalid string being converted to IP address: {bad}"
        ))),
        None => Ok(all),
    }
}

fn domains(flags: &NetworkFlags, file: &NetworkFile) -> Result<Vec<String>, ConfigError> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let all = either(&flags.dns_search, &file.dns_search);
    let bad = all.iter().find(|text| {
        let domain = text.strip_suffix('.').unwrap_or(text);
        text.as_str() != "." && (text.len() >= 255 || !domain.split('.').all(label))
    });
    match bad {
        Some(bad) => Err(refused(format!("{bad} is not a valid domain"))),
        None => Ok(all),
    }
}

fn host_gateways(flags: &NetworkFlags, file: &NetworkFile) -> Result<Vec<IpAddr>, ConfigError> {
    let mut listed = file.host_gateway_ips.clone();
    if let Some(one) = file.host_gateway_ip.clone().filter(|one| !one.is_empty()) {
        if listed.is_some() {
            return Err(refused(
                "host-gateway-ip and host-gateway-ips must not both be specified in the config file",
            ));
        }
        listed = Some(vec![one]);
    }
    let mut all: Vec<IpAddr> = Vec::new();
    for text in either(&flags.host_gateway_ips, &listed) {
        let ip: IpAddr = text
            .parse()
            .map_err(|_| refused(format!("ParseAddr({text:?}): unable to parse IP")))?;
        if all.iter().any(|other| other.is_ipv4() == ip.is_ipv4()) {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(refused(format!(
                "only one {family} host gateway IP address can be specified"
            )));
        }
        all.push(ip);
    }
    Ok(all)
}
