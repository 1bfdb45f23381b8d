//! `network create`.

use super::options::{self, Parsed};
use super::registry::{Live, Networks};
use super::request::{NetworkCreated, NetworkRequest};
use super::row::Row;
use super::{pools, predefined};
use crate::{Engine, Error, ErrorKind, Result, blocking, names};
use hull_network::link;
use hull_network::model::{Driver, IpvlanMode, Network, Pool};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

fn refused(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Forbidden, text)
}

impl Engine {
    /// Makes a network.
    ///
    /// # Errors
    /// `InvalidInput`, `Forbidden`, `NotFound` and `Conflict` in dockerd's words.
    pub async fn network_create(
        self: &Arc<Self>,
        request: NetworkRequest,
    ) -> Result<NetworkCreated> {
        check(&request)?;
        let engine = Arc::clone(self);
        let live = blocking(move || engine.networks.create(request)).await?;
        let row = live.row();
        self.tell_network(&row, "create", None);
        Ok(NetworkCreated {
            id: row.id.clone(),
            warning: String::new(),
        })
    }
}

/// Checks what does not depend on other networks.
fn check(request: &NetworkRequest) -> Result<()> {
    let name = &request.name;
    if name.trim().is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "invalid name: name is empty",
        ));
    }
    if name.len() > 255 || name.contains(|c: char| c.is_control() || c == '/') {
        let text = format!("invalid network name: {name:?}");
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    if predefined::is_predefined(name) {
        let text = format!("operation is not permitted on predefined {name} network ");
        return Err(refused(text));
    }
    match request.driver.as_str() {
        "overlay" => return Err(refused(NO_SWARM)),
        driver @ ("host" | "null") => {
            let text = format!("only one instance of \"{driver}\" network is allowed");
            return Err(refused(text));
        }
        _ => {}
    }
    if request.scope == "swarm" || request.ingress {
        let text = "cannot create a swarm scoped network when swarm is not active";
        return Err(refused(text));
    }
    if request.config_only && request.config_from.is_some() {
        let text = "a configuration network cannot depend on another configuration network";
        return Err(refused(text));
    }
    let neither = request.enable_ipv4 == Some(false) && request.enable_ipv6 != Some(true);
    if neither && !request.config_only {
        let text = "IPv4 or IPv6 must be enabled";
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    match request.ipam.driver.as_str() {
        "" | "default" | "null" => Ok(()),
        other => {
            let text = format!("plugin {other:?} not found");
            Err(Error::new(ErrorKind::NotFound, text))
        }
    }
}

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

impl Networks {
    fn create(&self, request: NetworkRequest) -> Result<Arc<Live>> {
        // The default bridge chooses first, as with dockerd.
        if let Ok(bridge) = self.predefined(predefined::BRIDGE) {
            self.settle(&bridge)?;
        }
        let creation = self.creation.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.decided(request)?;
        // Whoever finds it, to remove it or to join, waits until it is made.
        let work = live.work();
        self.insert(&live);
        drop(creation);
        let made = self.make(&live);
        if made.is_err() {
            live.state().gone = true;
            self.forget(&live.row().id);
        }
        drop(work);
        made.map(|()| live)
    }

    /// A new network with everything decided, its name and address ranges too: nobody knows it yet.
    fn decided(&self, request: NetworkRequest) -> Result<Arc<Live>> {
        if self.by_name(&request.name).is_some() {
            let text = format!("network with name {} already exists", request.name);
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        let request = self.with_configuration(request)?;
        Ok(Live::new(self.decide(request)?))
    }

    /// The row first, then the devices: what a crash leaves has an owner.
    fn make(&self, live: &Arc<Live>) -> Result<()> {
        let row = live.row();
        self.rows.put_network(&row)?;
        let up = self.bring_up(live);
        if up.is_err()
            && let Err(error) = self.rows.delete_network(&row.id)
        {
            tracing::warn!(error = %error.full_message(), "a network that was not made was not forgotten");
        }
        up
    }

    /// Takes over what `--config-from` names.
    fn with_configuration(&self, mut request: NetworkRequest) -> Result<NetworkRequest> {
        let Some(from) = request.config_from.clone().filter(|from| !from.is_empty()) else {
            request.config_from = None;
            return Ok(request);
        };
        let missing = || {
            let text = format!("configuration network {from:?} does not exist");
            Error::new(ErrorKind::NotFound, text)
        };
        let source = self.find(&from).map_err(|_| missing())?.row();
        if !source.request.config_only {
            let text = format!("{from:?} is not a configuration network");
            return Err(refused(text));
        }
        let own = !request.ipam.pools.is_empty()
            || !request.options.is_empty()
            || !request.labels.is_empty()
            || request.internal;
        if own {
            let text = "user specified configurations are not supported if the network depends on a configuration network";
            return Err(refused(text));
        }
        let kept = source.request.clone();
        Ok(NetworkRequest {
            enable_ipv4: kept.enable_ipv4,
            enable_ipv6: kept.enable_ipv6,
            internal: kept.internal,
            ipam: kept.ipam,
            options: kept.options,
            labels: kept.labels,
            config_from: Some(source.name().to_owned()),
            ..request
        })
    }

    /// The row of a new network, with all that nobody asked for filled in.
    fn decide(&self, mut request: NetworkRequest) -> Result<Row> {
        let id = names::id();
        if request.driver.is_empty() {
            request.driver = "bridge".to_owned();
        }
        let asked = pools::asked(&request.ipam, request.enable_ipv6 == Some(true))?;
        if request.config_only {
            request.driver = "null".to_owned();
            return Ok(row(id, request, None, &asked));
        }
        let defaults = self.config.default_options.get(&request.driver);
        for (name, value) in defaults.into_iter().flatten() {
            let free = request.options.entry(name.clone());
            free.or_insert_with(|| value.clone());
        }
        let parsed = options::parse(&request, &id)?;
        if let Driver::Bridge(options) = &parsed.driver {
            self.check_device(&id, &options.device)?;
        }
        let pools = self.pools(&mut request, &asked, &parsed)?;
        // Whether its gateways and reserved addresses can be had.
        hull_network::Ipam::new(&pools).map_err(pools::refused)?;
        let model = Network {
            id: id.clone(),
            driver: parsed.driver.clone(),
            pools,
            internal: request.internal,
        };
        Ok(row(id, request, Some((model, parsed)), &asked))
    }

    fn check_device(&self, id: &str, device: &str) -> Result<()> {
        let Some(other) = self.bridge_named(device, id) else {
            return Ok(());
        };
        let text = format!(
            "cannot create network {id} ({device}): conflicts with network {} ({device}): networks have same bridge name",
            other.row().id
        );
        Err(refused(text))
    }

    /// All address ranges: those asked for, and chosen ones for families without.
    fn pools(
        &self,
        request: &mut NetworkRequest,
        asked: &[Pool],
        parsed: &Parsed,
    ) -> Result<Vec<Pool>> {
        if request.ipam.driver == "null" {
            return Ok(Vec::new());
        }
        let is_v6 = |pool: &Pool| pool.subnet.addr().is_ipv6();
        let enabled = [
            request.enable_ipv4 != Some(false),
            request.enable_ipv6 == Some(true),
        ];
        let taken = self.subnets();
        hull_network::check_overlap(asked, &taken).map_err(pools::refused)?;
        let has_gateway =
            !matches!(&parsed.driver, Driver::Ipvlan(options) if options.mode != IpvlanMode::L2);
        let mut all = Vec::new();
        for (v6, wanted) in [(false, enabled[0]), (true, enabled[1])] {
            let mut own: Vec<Pool> = asked
                .iter()
                .filter(|pool| is_v6(pool) == v6 && wanted)
                .cloned()
                .collect();
            if own.is_empty() && wanted {
                let chosen = self.choose_pool(v6)?;
                request.ipam.pools.push(pools::shown(&chosen));
                own.push(chosen);
            }
            for pool in own {
                let pool = if has_gateway {
                    pools::with_gateway(pool)?
                } else {
                    pool
                };
                all.push(pool);
            }
        }
        if matches!(parsed.driver, Driver::Bridge(_)) {
            hull_network::check_bridge_pools(&all).map_err(pools::refused)?;
        }
        Ok(all)
    }
}

fn row(
    id: String,
    request: NetworkRequest,
    model: Option<(Network, Parsed)>,
    asked: &[Pool],
) -> Row {
    let of_family = |v6| asked.iter().any(|pool| pool.subnet.addr().is_ipv6() == v6);
    let (model, parsed) = model.unzip();
    let binding = parsed.as_ref().and_then(|parsed| parsed.binding);
    let prefix = parsed.map(|parsed| parsed.ifname_prefix);
    Row {
        id,
        created: Timestamp::now(),
        request,
        model,
        predefined: false,
        own_subnets: [of_family(false), of_family(true)],
        binding,
        ifname_prefix: prefix.unwrap_or_else(|| "eth".to_owned()),
    }
}

/// Removes what a network has in the kernel.
pub(super) fn take_down(networks: &Networks, live: &Live) -> Result<()> {
    let row = live.row();
    let Some(model) = &row.model else {
        return Ok(());
    };
    let was_up = std::mem::take(&mut live.state().up);
    if !was_up && !networks.was_touched() {
        return Ok(());
    }
    if row.rules().is_some() {
        networks
            .firewall
            .remove_network(&row.id)
            .map_err(super::registry::failed(
                "could not remove the network's rules",
            ))?;
    }
    link::down(model).map_err(super::registry::failed("could not remove the network"))?;
    networks.tell_others();
    Ok(())
}

/// What is said of a network in events.
pub(crate) fn attributes(row: &Row, container: Option<&str>) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::from([
        ("name".to_owned(), row.name().to_owned()),
        ("type".to_owned(), row.request.driver.clone()),
    ]);
    if let Some(container) = container {
        attributes.insert("container".to_owned(), container.to_owned());
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_refused_in_dockerds_words() {
        let refusal = |change: fn(&mut NetworkRequest)| {
            let mut request = NetworkRequest {
                name: "n".to_owned(),
                ..NetworkRequest::default()
            };
            change(&mut request);
            let error = check(&request).unwrap_err();
            (error.kind(), error.message().to_owned())
        };
        for (found, kind, text) in [
            (
                refusal(|r| r.name.clear()),
                ErrorKind::InvalidInput,
                "invalid name: name is empty",
            ),
            (
                refusal(|r| r.name = "bridge".to_owned()),
                ErrorKind::Forbidden,
                "operation is not permitted on predefined bridge network ",
            ),
            (
                refusal(|r| r.driver = "overlay".to_owned()),
                ErrorKind::Forbidden,
                NO_SWARM,
            ),
            (
                refusal(|r| r.driver = "null".to_owned()),
                ErrorKind::Forbidden,
                "only one instance of \"null\" network is allowed",
            ),
            (
                refusal(|r| r.scope = "swarm".to_owned()),
                ErrorKind::Forbidden,
                "cannot create a swarm scoped network when swarm is not active",
            ),
        ] {
            assert_eq!(found, (kind, text.to_owned()));
        }
    }
}
