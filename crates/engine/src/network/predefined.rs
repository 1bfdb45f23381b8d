//! `bridge`, `host` and `none`: always there, in no table.

use super::registry::{Live, Networks};
use super::request::{IpamRequest, NetworkRequest};
use super::row::Row;
use super::{BridgeConfig, NetworkConfig, pools};
use crate::{Error, ErrorKind, Result};
use hull_network::model::{BridgeOptions, Driver, Network, Pool};
use ipnet::IpNet;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Docker's name of the network that containers are in by default.
pub(crate) const BRIDGE: &str = "bridge";
/// The device of `bridge`, when nobody names one.
const DEVICE: &str = "hull0";

/// Whether no user's network can be called so.
pub(super) fn is_predefined(name: &str) -> bool {
    matches!(name, "bridge" | "host" | "none" | "default")
}

/// The id of a predefined network: made from the engine's own, so that it stays.
pub(super) fn id(engine_id: &str, name: &str) -> String {
    use sha2::Digest as _;
    let bytes: [u8; 32] = sha2::Sha256::digest(format!("{engine_id} {name}")).into();
    hull_spec::Digest::from_sha256(&bytes).hex().to_owned()
}

/// All three; the bridge without an address range, unless the daemon's settings have one.
pub(super) fn all(engine_id: &str, config: &NetworkConfig) -> Result<Vec<Row>> {
    let plain = |name: &str, driver: &str| Row {
        id: id(engine_id, name),
        created: Timestamp::now(),
        request: NetworkRequest {
            name: name.to_owned(),
            driver: driver.to_owned(),
            ..NetworkRequest::default()
        },
        model: None,
        predefined: true,
        own_subnets: [false; 2],
        binding: None,
        ifname_prefix: "eth".to_owned(),
    };
    let mut networks = vec![plain("host", "host"), plain("none", "null")];
    if config.bridge.device != "none" {
        networks.push(bridge(plain(BRIDGE, "bridge"), config)?);
    }
    Ok(networks)
}

fn bridge(mut row: Row, config: &NetworkConfig) -> Result<Row> {
    let settings = &config.bridge;
    let device = match (settings.device.as_str(), settings.made.as_str()) {
        ("", "") => DEVICE,
        ("", made) => made,
        (device, _) => device,
    };
    let mut options: BTreeMap<String, String> = [
        ("bridge.default_bridge", "true".to_owned()),
        ("bridge.enable_icc", settings.icc.to_string()),
        (
            "bridge.enable_ip_masquerade",
            settings.masquerade.to_string(),
        ),
        ("bridge.host_binding_ipv4", binding_text(config)),
        ("bridge.name", device.to_owned()),
        ("driver.mtu", settings.mtu.unwrap_or(1500).to_string()),
    ]
    .map(|(name, value)| (format!("com.docker.network.{name}"), value))
    .into();
    options.retain(|_, value| !value.is_empty());
    row.request.options = options;
    row.request.enable_ipv6 = Some(settings.ipv6);
    row.binding = settings.publish_address;
    row.model = Some(Network {
        id: row.id.clone(),
        driver: Driver::Bridge(BridgeOptions {
            mtu: settings.mtu,
            icc: settings.icc,
            masquerade: settings.masquerade,
            masquerade6: settings.masquerade,
            ..BridgeOptions::new(device)
        }),
        pools: configured(settings)?,
        internal: false,
    });
    row.request.ipam = shown(&row);
    Ok(row)
}

fn binding_text(config: &NetworkConfig) -> String {
    let address = config.bridge.publish_address.or(config.publish_address);
    address.map_or_else(|| "0.0.0.0".to_owned(), |address| address.to_string())
}

fn shown(row: &Row) -> IpamRequest {
    let pools = row.model.iter().flat_map(|model| &model.pools);
    IpamRequest {
        pools: pools.map(pools::shown).collect(),
        ..IpamRequest::default()
    }
}

/// The address ranges of the daemon's settings.
fn configured(settings: &BridgeConfig) -> Result<Vec<Pool>> {
    let families = [
        ("bip", &settings.address, &settings.range, &settings.gateway),
        (
            "bip6",
            &settings.address6,
            &settings.range6,
            &settings.gateway6,
        ),
    ];
    let mut pools = Vec::new();
    for (name, address, range, gateway) in families {
        let bad = |text: &str| {
            let text = format!("invalid {name} setting of the default bridge: {text}");
            Error::new(ErrorKind::InvalidInput, text)
        };
        let net = |text: &String| text.parse::<IpNet>().map_err(|_| bad(text));
        let range = Some(range)
            .filter(|range| !range.is_empty())
            .map(net)
            .transpose()?;
        let own = Some(address)
            .filter(|own| !own.is_empty())
            .map(net)
            .transpose()?;
        let Some(subnet) = own.or(range) else {
            continue;
        };
        let gateway = match gateway.as_str() {
            "" => own.map(|own| own.addr()),
            text => Some(text.parse().map_err(|_| bad(text))?),
        };
        pools.push(pools::with_gateway(Pool {
            subnet: subnet.trunc(),
            range: range.map(|range| range.trunc()),
            gateway,
            reserved: BTreeMap::new(),
        })?);
    }
    Ok(pools)
}

/// Whether there is a network device of this name. Asked of the kernel, since `/sys` shows the network of whoever mounted it.
fn is_there(device: &str) -> bool {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .is_ok_and(|socket| netdevice::name_to_index(&socket, device).is_ok())
}

impl Networks {
    /// The predefined network of this name.
    pub(crate) fn predefined(&self, name: &str) -> Result<std::sync::Arc<Live>> {
        self.by_id(&id(&self.engine_id, name))
            .ok_or_else(|| super::registry::not_found(name))
    }

    /// Gives the default bridge its address ranges, if it has none: those it had before, unless the
    /// host uses them otherwise now, and else free ones. Other networks have theirs from the beginning.
    pub(super) fn settle(&self, live: &Live) -> Result<()> {
        let unsettled = || self.families_without_pool(&live.row());
        if unsettled().is_empty() {
            return Ok(());
        }
        let _creation = self
            .creation
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let wanted = unsettled();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut settled = (*live.row()).clone();
        let earlier = self.rows.default_pools()?;
        for v6 in wanted {
            let pool = match self.still_free(&earlier, v6, &settled) {
                Some(pool) => pool,
                None => self.choose_pool(v6)?,
            };
            if let Some(model) = &mut settled.model {
                model.pools.push(pool);
            }
        }
        settled.request.ipam = shown(&settled);
        let pools = settled.model.as_ref().map_or(&[][..], |model| &model.pools);
        self.rows.put_default_pools(pools)?;
        live.set_row(settled);
        live.state().renew();
        Ok(())
    }

    /// For which families (`true`: IPv6) the default bridge has no range; none for other networks.
    fn families_without_pool(&self, row: &Row) -> Vec<bool> {
        let Some(model) = row
            .model
            .as_ref()
            .filter(|_| row.name() == BRIDGE && row.predefined)
        else {
            return Vec::new();
        };
        let has = |v6: bool| {
            model
                .pools
                .iter()
                .any(|pool| pool.subnet.addr().is_ipv6() == v6)
        };
        let mut families = vec![false, true];
        families.retain(|v6| (!*v6 || self.config.bridge.ipv6) && !has(*v6));
        families
    }

    /// The range of the last time: the bridge has it still, or nobody has.
    fn still_free(&self, earlier: &[Pool], v6: bool, row: &Row) -> Option<Pool> {
        let same = |pool: &&Pool| pool.subnet.addr().is_ipv6() == v6;
        let pool = earlier.iter().find(same)?;
        let Some(Driver::Bridge(options)) = row.model.as_ref().map(|model| &model.driver) else {
            return None;
        };
        let others = self.subnets();
        let overlaps = |other: &IpNet| {
            other.contains(&pool.subnet.network()) || pool.subnet.contains(&other.network())
        };
        let host = hull_network::host_networks().ok()?;
        let taken = others.iter().any(overlaps)
            || (!is_there(&options.device) && host.near.iter().any(overlaps));
        (!taken).then(|| pool.clone())
    }

    /// A free range.
    pub(super) fn choose_pool(&self, v6: bool) -> Result<Pool> {
        let own = &self.config.address_pools;
        pools::choose(own, &self.engine_id, v6, &self.subnets())
    }

    /// All networks' address ranges.
    pub(super) fn subnets(&self) -> Vec<IpNet> {
        self.all()
            .iter()
            .flat_map(|live| live.row().subnets())
            .collect()
    }
}
