//! `network connect`.

use super::registry::{Live, failed};
use super::request::EndpointRequest;
use super::sandbox::{Providers, providers};
use super::{names, places, publish};
use crate::container::live::Container;
use crate::container::record::Record;
use crate::container::{Endpoint, NetworkMode};
use crate::{Engine, Error, ErrorKind, Result, blocking};
use hull_network::link;
use hull_network::model::Publication;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

impl Engine {
    /// Puts a container into a network, now if it runs and at its start otherwise.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden` and `InvalidInput` in dockerd's words.
    pub async fn network_connect(
        self: &Arc<Self>,
        network: &str,
        container: &str,
        request: EndpointRequest,
    ) -> Result<()> {
        let container = self.find(container)?;
        let live = self.networks.find(network)?;
        let _operation = container.operation.lock().await;
        let record = container.record();
        let row = live.row();
        may_join(&record, row.name())?;
        if row.request.config_only {
            let text = "cannot create endpoint on configuration-only network";
            return Err(Error::new(ErrorKind::Forbidden, text));
        }
        places::check_request(&request)?;
        super::pools::complain(
            "invalid endpoint settings",
            &places::complaints(&row, &request),
        )?;
        let known = record.places().contains_key(row.name());
        let running = record.is_running();
        if known && running {
            let text = format!(
                "endpoint with name {} already exists in network {}",
                record.name,
                row.name()
            );
            return Err(Error::new(ErrorKind::Forbidden, text));
        }
        if known {
            // As with dockerd the first settings stay.
            return Ok(());
        }
        let engine = Arc::clone(self);
        let (joining, into) = (Arc::clone(&container), Arc::clone(&live));
        blocking(move || engine.connect_blocking(&joining, &into, &request, running)).await?;
        if running {
            self.tell_network(&live.row(), "connect", Some(&container.id));
        }
        Ok(())
    }

    fn connect_blocking(
        &self,
        container: &Container,
        live: &Live,
        request: &EndpointRequest,
        running: bool,
    ) -> Result<()> {
        let mut record = container.record();
        let row = live.row();
        let dns_names = names::of(&row, &record, request);
        let name = row.name().to_owned();
        if running {
            self.join_running(&mut record, live, request, dns_names)?;
        } else {
            let place = Endpoint {
                request: request.clone(),
                network_id: row.id.clone(),
                dns_names,
                ..Endpoint::default()
            };
            record.places_mut().insert(name.clone(), place);
        }
        if let Err(error) = self.rows.put(&record) {
            if let Some(place) = record.places_mut().remove(&name).filter(|_| running) {
                let _ = self.networks.leave(&place, Some(&self.netns_of(&record)));
            }
            return Err(error);
        }
        self.adopt(container, record);
        Ok(())
    }

    /// Puts what came of networks into the container.
    pub(super) fn adopt(&self, container: &Container, record: Record) {
        container.change(|kept| {
            kept.networks = record.networks;
            kept.publications = record.publications;
        });
    }

    fn join_running(
        &self,
        record: &mut Record,
        live: &Live,
        request: &EndpointRequest,
        dns_names: Option<Vec<String>>,
    ) -> Result<()> {
        let before = providers(record.places());
        let old = record.clone();
        let netns = self.netns_of(record);
        let others: Vec<Endpoint> = record.places().values().cloned().collect();
        let asked = (request, dns_names);
        let mut place = self
            .networks
            .claim_place(live, &record.id, asked, &others)?;
        if let Err(error) = self.networks.join(live, &mut place, Vec::new(), &netns) {
            self.networks.release_place(&place);
            return Err(error);
        }
        let name = live.row().name().to_owned();
        record.places_mut().insert(name.clone(), place.clone());
        let arranged = self.rearrange(record, &before, &netns).and_then(|()| {
            self.introduce(record, &netns)
                .map_err(failed("could not make the container's names known"))
        });
        if let Err(error) = arranged {
            record.places_mut().remove(&name);
            if let Err(error) = self.networks.leave(&place, Some(&netns)) {
                tracing::warn!(container = record.id, error = %error.full_message(), "a connection was not undone");
            }
            let _ = self.rearrange(record, &Providers::default(), &netns);
            return Err(error);
        }
        self.rewrite_files(&old, record);
        Ok(())
    }

    /// Makes default routes and published ports follow the places there are now.
    pub(super) fn rearrange(
        &self,
        record: &mut Record,
        before: &Providers,
        netns: &Path,
    ) -> Result<()> {
        let now = providers(record.places());
        if now == *before {
            return Ok(());
        }
        let provider = now.v4.as_ref().or(now.v6.as_ref());
        if let Some(name) = provider
            && let Some(place) = record.places().get(name)
        {
            let gateways = now.gateways(name, place);
            link::set_default_routes(netns, &place.ifname, &gateways)
                .map_err(failed("could not change the container's default route"))?;
        }
        let ways = self.ways(record, &now);
        if record.publications.is_empty() {
            return Ok(());
        }
        record.publications = publish::retarget(&record.publications, &ways);
        let effective = publish::effective(record);
        self.networks
            .firewall
            .publish(&record.id, &effective)
            .map_err(failed("could not publish the container's ports"))?;
        self.tell_relays(record, &effective);
        Ok(())
    }

    /// Tells the shim where the ports lead now that it serves.
    fn tell_relays(&self, record: &Record, effective: &[Publication]) {
        let v6 = |one: &Publication| one.host.is_some_and(|host| host.is_ipv6());
        if !record.publications.iter().any(v6) {
            return;
        }
        let Some(shim) = self.find(&record.id).ok().and_then(|one| one.shim().ok()) else {
            return;
        };
        if let Err(error) = shim.retarget(publish::relays(effective)) {
            tracing::warn!(container = record.id, %error, "ports at IPv6 addresses did not follow the container's networks");
        }
    }
}

/// Whether a container may have one more place.
fn may_join(record: &Record, network: &str) -> Result<()> {
    let shares = matches!(record.config.network, NetworkMode::Container(_));
    if shares || record.places().contains_key("host") {
        return Err(invalid(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        ));
    }
    if network == "host" {
        return Err(invalid(
            "cannot connect container to host network - container must be created in host network mode",
        ));
    }
    let mut all: BTreeMap<String, EndpointRequest> = record
        .places()
        .keys()
        .map(|name| (name.clone(), EndpointRequest::default()))
        .collect();
    all.insert(network.to_owned(), EndpointRequest::default());
    places::only_one(network, &all)
}
