//! One place of a container in one network: addresses taken, a device made; and both given back.

use super::registry::{Live, Networks, failed, not_found};
use super::request::EndpointRequest;
use super::row::Row;
use crate::container::Endpoint;
use crate::{Error, ErrorKind, Result, names};
use hull_network::Mac;
use hull_network::link;
use hull_network::model::{self, Driver, GatewayMode, MacAddress};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

pub(super) const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
pub(super) const IFNAME: &str = "com.docker.network.endpoint.ifname";

/// The addresses that a place has now.
pub(super) fn addresses(endpoint: &Endpoint) -> Vec<IpAddr> {
    let texts = [&endpoint.address, &endpoint.address6];
    texts
        .into_iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// The routers that this place knows.
pub(super) fn gateways(endpoint: &Endpoint) -> Vec<IpAddr> {
    let texts = [&endpoint.gateway, &endpoint.gateway6];
    texts
        .into_iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// As dockerd: a container that has switched IPv6 off has IPv4 only, also in networks with both.
pub(super) fn give_ipv6_back(live: &Live, endpoint: &mut Endpoint) {
    if let Ok(address) = endpoint.address6.parse() {
        live.state().give_back(&[address]);
    }
    endpoint.address6.clear();
    endpoint.gateway6.clear();
    endpoint.prefix_len6 = 0;
}

/// Whether a place on a bridge was never used, so that the kernel follows no connection of it: whoever
/// wants to reach it asks for its Ethernet address first, or is answered. Published ports, to which somebody may
/// go on to send who wants no answers, are the caller's to know.
pub(super) fn is_silent(endpoint: &Endpoint) -> bool {
    let id = &endpoint.endpoint_id;
    !id.is_empty() && link::is_silent(id, networks_of(endpoint).len())
}

/// Forgets what came of it, and keeps what was asked for.
pub(crate) fn idle(endpoint: &Endpoint) -> Endpoint {
    Endpoint {
        request: endpoint.request.clone(),
        network_id: endpoint.network_id.clone(),
        dns_names: endpoint.dns_names.clone(),
        ..Endpoint::default()
    }
}

impl Networks {
    /// The network of a place: the one that it was in, or else by name.
    pub(super) fn of_place(&self, name: &str, endpoint: &Endpoint) -> Result<Arc<Live>> {
        let (found, shown) = match endpoint.network_id.as_str() {
            "" => (self.by_name(name), name),
            // As with dockerd another one that bears the name now is not the same.
            id => (self.by_id(id), id),
        };
        let live = found.ok_or_else(|| not_found(shown))?;
        if live.row().request.config_only {
            let text = "cannot create endpoint on configuration-only network";
            return Err(Error::new(ErrorKind::Forbidden, text));
        }
        Ok(live)
    }

    /// Takes a place: addresses, an id, the device's name. `others` are the places it has already.
    pub(super) fn claim_place(
        &self,
        live: &Live,
        container: &str,
        (request, dns_names): (&EndpointRequest, Option<Vec<String>>),
        others: &[Endpoint],
    ) -> Result<Endpoint> {
        self.ensure_up(live)?;
        let row = live.row();
        let id = names::id();
        let taken = {
            let mut state = live.state();
            if state.gone {
                return Err(not_found(row.name()));
            }
            let asked = (request.ipv4.map(IpAddr::V4), request.ipv6.map(IpAddr::V6));
            let taken = state.take(&row, asked)?;
            state.members.insert(id.clone(), container.to_owned());
            taken
        };
        let addresses: Vec<IpAddr> = taken.iter().map(IpNet::addr).collect();
        self.firewall.settle(&addresses);
        let of = |v6: bool| taken.iter().find(|net| net.addr().is_ipv6() == v6);
        let address = |v6| of(v6).map(|net| net.addr().to_string()).unwrap_or_default();
        let prefix = |v6| of(v6).map_or(0, IpNet::prefix_len);
        let gateway = |v6| of(v6).and_then(|net| gateway(&row, net.addr()));
        Ok(Endpoint {
            request: request.clone(),
            network_id: row.id.clone(),
            gateway: gateway(false).unwrap_or_default(),
            address: address(false),
            prefix_len: prefix(false),
            gateway6: gateway(true).unwrap_or_default(),
            address6: address(true),
            prefix_len6: prefix(true),
            mac_address: mac(request, &taken)
                .map(|mac| mac.to_string())
                .unwrap_or_default(),
            dns_names,
            ifname: ifname(&row, request, others),
            endpoint_id: id,
        })
    }

    /// Makes the device; `gateways` are those of its routers that lead everywhere.
    pub(super) fn join(
        &self,
        live: &Live,
        endpoint: &mut Endpoint,
        gateways: Vec<IpAddr>,
        netns: &Path,
    ) -> Result<()> {
        let row = live.row();
        let Some(network) = &row.model else {
            return Ok(());
        };
        let wanted = model::Endpoint {
            id: endpoint.endpoint_id.clone(),
            ifname: endpoint.ifname.clone(),
            mac: endpoint.mac_address.parse().ok(),
            addresses: networks_of(endpoint),
            gateways,
            sysctls: sysctls(&endpoint.request),
        };
        let joined = link::join(network, &wanted, netns)
            .map_err(failed("could not connect the container"))?;
        endpoint.mac_address = MacAddress(joined.mac).to_string();
        endpoint.ifname = joined.ifname;
        if joined.without_ipv6 {
            give_ipv6_back(live, endpoint);
        }
        Ok(())
    }

    /// Gives a place's addresses back. Connections of one that was [silent](is_silent) are not looked for, since that
    /// costs a walk through all of the machine's, for which the next container with the address has to wait.
    pub(super) fn release_place(&self, endpoint: &Endpoint, silent: bool) {
        let Some(live) = self.by_id(&endpoint.network_id) else {
            return;
        };
        let has_rules = live.row().rules().is_some();
        let own = addresses(endpoint);
        let mut state = live.state();
        // Its connections are nobody's who has the address next.
        if has_rules && !silent && state.members.contains_key(&endpoint.endpoint_id) {
            self.firewall.retire(&own);
        }
        state.release(&endpoint.endpoint_id, &own);
    }

    /// Removes a place's device. Its addresses are still its own.
    pub(super) fn leave(&self, endpoint: &Endpoint, netns: &Path) -> Result<()> {
        let row = self.by_id(&endpoint.network_id).map(|live| live.row());
        let Some(network) = row.as_ref().and_then(|row| row.model.as_ref()) else {
            return Ok(());
        };
        link::leave(
            network,
            &endpoint.endpoint_id,
            Some(netns),
            &endpoint.ifname,
        )
        .map_err(failed("could not disconnect the container"))
    }

    /// Removes a device that is in the container's namespace alone, if it is one. Until the kernel has
    /// cleaned up such a namespace, which it does at leisure, the Ethernet address, which follows from the
    /// IP address, is taken on the host's device for the next container.
    pub(super) fn remove_child(&self, endpoint: &Endpoint, netns: &Path) {
        let row = self.by_id(&endpoint.network_id).map(|live| live.row());
        let Some(network) = row.as_ref().and_then(|row| row.model.as_ref()) else {
            return;
        };
        if matches!(network.driver, Driver::Bridge(_)) {
            return;
        }
        let id = &endpoint.endpoint_id;
        // Then it goes with the namespace.
        if let Err(error) = link::leave(network, id, Some(netns), &endpoint.ifname) {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(endpoint = id, error, "device not removed");
        }
    }
}

/// The router that an address of this network's has; none where nothing leads out.
fn gateway(row: &Row, address: IpAddr) -> Option<String> {
    let model = row.model.as_ref().filter(|model| !model.internal)?;
    if let Driver::Bridge(options) = &model.driver {
        let mode = match address {
            IpAddr::V4(_) => options.gateway_mode,
            IpAddr::V6(_) => options.gateway_mode6,
        };
        if mode == GatewayMode::Isolated {
            return None;
        }
    }
    let pool = model
        .pools
        .iter()
        .find(|pool| pool.subnet.contains(&address))?;
    pool.gateway.map(|gateway| gateway.to_string())
}

/// The address of the device: the one asked for, or one made of the IPv4 address, so that neighbours'
/// tables stay right when an address is used again.
fn mac(request: &EndpointRequest, taken: &[IpNet]) -> Option<MacAddress> {
    if let Some(text) = &request.mac {
        return text.parse().ok();
    }
    taken.iter().find_map(|net| match net.addr() {
        IpAddr::V4(address) => Some(MacAddress(Mac::from_ipv4(address))),
        IpAddr::V6(_) => None,
    })
}

/// The name asked for, or the network's prefix with the lowest free number.
pub(super) fn ifname(row: &Row, request: &EndpointRequest, others: &[Endpoint]) -> String {
    if let Some(name) = request
        .driver_options
        .get(IFNAME)
        .filter(|name| !name.is_empty())
    {
        return name.clone();
    }
    let prefix = &row.ifname_prefix;
    let free = |name: &String| others.iter().all(|other| other.ifname != *name);
    let mut numbered = (0..=others.len()).map(|number| format!("{prefix}{number}"));
    numbered.find(free).unwrap_or_else(|| format!("{prefix}0"))
}

fn networks_of(endpoint: &Endpoint) -> Vec<IpNet> {
    let own = [
        (&endpoint.address, endpoint.prefix_len),
        (&endpoint.address6, endpoint.prefix_len6),
    ];
    let own = own
        .into_iter()
        .filter_map(|(text, prefix)| IpNet::new(text.parse().ok()?, prefix).ok());
    let link_local = endpoint.request.link_local.iter().filter_map(|address| {
        let prefix = if address.is_ipv4() { 16 } else { 64 };
        IpNet::new(*address, prefix).ok()
    });
    own.chain(link_local).collect()
}

/// `net.ipv4.conf.IFNAME.log_martians=1,…` as names below `/proc/sys/net` and values.
pub(super) fn sysctls(request: &EndpointRequest) -> Vec<(String, String)> {
    let text = request
        .driver_options
        .get(SYSCTLS)
        .map_or("", String::as_str);
    let settings = text
        .split(',')
        .filter_map(|setting| setting.split_once('='));
    settings
        .map(|(name, value)| {
            let name = name.trim().trim_start_matches("net.");
            (
                name.replace(".ifname.", ".IFNAME."),
                value.trim().to_owned(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctls_are_read() {
        let mut request = EndpointRequest::default();
        assert!(sysctls(&request).is_empty());
        let text = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.accept_ra=0";
        request
            .driver_options
            .insert(SYSCTLS.to_owned(), text.to_owned());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            sysctls(&request),
            [
                pair("ipv4.conf.IFNAME.log_martians", "1"),
                pair("ipv6.conf.IFNAME.accept_ra", "0")
            ]
        );
    }
}
