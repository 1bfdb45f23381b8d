//! `network explain`.

use super::place::addresses;
use super::published::effective;
use crate::container::Port;
use crate::container::record::Record;
use crate::{Engine, Error, ErrorKind, Result, blocking};
use hull_network::FirewallOptions;
use hull_network::firewall::explain::{Explanation, Question, explain};
use hull_network::firewall::foreign::survey;
use hull_network::model::Protocol;
use std::collections::BTreeSet;
use std::sync::Arc;

pub use hull_network::firewall::explain::{Answer, Source, Way};

/// Who can reach a port of a container by one of its networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortReach {
    /// The network's name.
    pub network: String,
    /// The container's.
    pub port: Port,
    /// Each kind of client, in the order of [`Source`].
    pub ways: Vec<Way>,
    /// What else is worth knowing.
    pub remarks: Vec<String>,
}

impl Engine {
    /// Who can reach a container, or one port of it, from where and by which rule: an element for every port
    /// and network. Without a port all that are published or exposed.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` for one that does not run.
    pub async fn network_explain(
        self: &Arc<Self>,
        container: &str,
        port: Option<Port>,
    ) -> Result<Vec<PortReach>> {
        let container = self.find(container)?;
        let engine = Arc::clone(self);
        blocking(move || {
            let record = container.record();
            if !record.is_running() {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("container {} is not running", record.id),
                ));
            }
            engine.reach(&record, port)
        })
        .await
    }

    fn reach(&self, record: &Record, port: Option<Port>) -> Result<Vec<PortReach>> {
        let survey = survey(&FirewallOptions::default().table).map_err(|error| {
            let text = "could not read the rules of other software";
            Error::new(ErrorKind::Internal, text).caused_by(error)
        })?;
        let publications = effective(record);
        let ports = match port {
            Some(port) => BTreeSet::from([port]),
            None => {
                let shown = super::published::shown(record).into_keys();
                let exposed = record.effective.exposed_ports.iter().cloned();
                shown.chain(exposed).collect()
            }
        };
        let mut all = Vec::new();
        for (name, place) in record.places() {
            let addresses = addresses(place);
            let live = self.networks.by_id(&place.network_id);
            // Only bridges have rules: what is on a wire is reached by whoever is on it.
            let Some(rules) = live.and_then(|live| live.row().rules()) else {
                continue;
            };
            for port in ports.iter().filter(|_| !addresses.is_empty()) {
                let Some(protocol) = protocol(port) else {
                    continue;
                };
                let Explanation { ways, remarks, .. } = explain(&Question {
                    network: &rules,
                    addresses: &addresses,
                    protocol,
                    port: port.number,
                    publications: &publications,
                    survey: &survey,
                });
                all.push(PortReach {
                    network: name.clone(),
                    port: port.clone(),
                    ways,
                    remarks,
                });
            }
        }
        Ok(all)
    }
}

fn protocol(port: &Port) -> Option<Protocol> {
    match port.protocol.as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}
