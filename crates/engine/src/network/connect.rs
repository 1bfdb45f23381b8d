//! `network connect`.

use super::registry::{Live, failed};
use super::request::EndpointRequest;
use super::sandbox::providers;
use super::{names, places, published};
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
            record.places_mut().insert(name.clone(), Box::new(place));
        }
        if let Err(error) = self.rows.put(&record) {
            if running {
                self.undo_join(&container.record(), &record, &name);
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
        let old = record.clone();
        let netns = self.netns_of(record);
        let others = record.places().values();
        let others: Vec<_> = others.map(|place| (**place).clone()).collect();
        let asked = (request, dns_names);
        let mut place = self
            .networks
            .claim_place(live, &record.id, asked, &others)?;
        if let Err(error) = self.networks.join(live, &mut place, Vec::new(), &netns) {
            self.networks.release_place(&place, false);
            return Err(error);
        }
        let name = live.row().name().to_owned();
        record.places_mut().insert(name.clone(), Box::new(place));
        let arranged = self.arrange(&old, record, &netns).and_then(|()| {
            self.introduce(record, &netns)
                .map_err(failed("could not make the container's names known"))
        });
        if let Err(error) = arranged {
            self.undo_join(&old, record, &name);
            return Err(error);
        }
        self.rewrite_files(&old, record);
        Ok(())
    }

    /// Makes default routes and published ports follow the places that a container has now.
    fn arrange(&self, old: &Record, record: &mut Record, netns: &Path) -> Result<()> {
        let now = providers(record.places());
        if now == providers(old.places()) {
            return Ok(());
        }
        self.set_routes(record, netns)?;
        record.publications = self.redirected(record);
        self.publish_more(record, &self.ways(record, &now))?;
        self.republish(record)
    }

    /// Default routes by the places that a container has.
    pub(super) fn set_routes(&self, record: &Record, netns: &Path) -> Result<()> {
        let routes = providers(record.places()).routes(record.places());
        link::set_default_routes(netns, &routes)
            .map_err(failed("could not change the container's default route"))
    }

    /// A container's publications, by the ways there are.
    pub(super) fn redirected(&self, record: &Record) -> Vec<Publication> {
        let ways = self.ways(record, &providers(record.places()));
        published::retarget(&record.publications, &ways)
    }

    /// Makes the firewall publish what the record says.
    pub(super) fn republish(&self, record: &Record) -> Result<()> {
        let effective = published::effective(record);
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
        if let Err(error) = shim.retarget(published::relays(effective)) {
            tracing::warn!(container = record.id, %error, "ports at IPv6 addresses did not follow the container's networks");
        }
    }

    /// Undoes a join as far as it came: everything is as in `old` afterwards, or the failure is logged.
    /// The new addresses are given back only when nothing leads to them any more.
    fn undo_join(&self, old: &Record, record: &Record, name: &str) {
        let Some(place) = record.places().get(name) else {
            return;
        };
        let netns = self.netns_of(old);
        let republished = self.republish(old);
        let led_away = republished.is_ok();
        let more = record.publications.len() > old.publications.len();
        if more && old.publications.is_empty() {
            self.networks.release_ports(&old.id);
        }
        if let Some(live) = self.networks.by_id(&place.network_id) {
            self.forget_place(&live.row(), place, &old.id);
        }
        let left = self.networks.leave(place, &netns);
        let gone = left.is_ok();
        let routed = self.set_routes(old, &netns);
        let known = self
            .introduce(old, &netns)
            .map_err(failed("could not make the container's names known"));
        for error in [republished, left, routed, known]
            .into_iter()
            .filter_map(Result::err)
        {
            tracing::warn!(container = old.id, error = %error.full_message(), "a connection was not undone");
        }
        if led_away && gone {
            self.networks.release_place(place, false);
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
