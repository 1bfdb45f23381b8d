//! `network explain`.

use crate::container::Port;
use crate::{Engine, Error, ErrorKind, Result};
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
        drop(port);
        self.find(container)?;
        let text = "explaining networks is not supported by this version of Hull";
        Err(Error::new(ErrorKind::NotImplemented, text))
    }
}
