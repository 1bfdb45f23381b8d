//! Requests about networks.

use super::{Client, Error, Payload, Target};
use crate::json;
use crate::network::{
    ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, EndpointSettings,
    Explanation, Inspect, PruneResponse,
};
use http::Method;
use std::collections::BTreeMap;

impl Client {
    /// The networks.
    ///
    /// # Errors
    /// 400 for a filter the daemon does not know.
    pub async fn networks(
        &self,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<Vec<Inspect>, Error> {
        self.get(&Target::new("/networks").filters(filters)).await
    }

    /// Makes a network.
    ///
    /// # Errors
    /// 400 for a request that makes no sense, 403 where addresses overlap, 409 for a name that is taken.
    pub async fn create_network(&self, request: &CreateRequest) -> Result<CreateResponse, Error> {
        let target = Target::new("/networks/create");
        let body = self.post(&target, Payload::json(request)?).await?;
        Ok(json::from_slice(&body)?)
    }

    /// Gives a container a place on a network.
    ///
    /// # Errors
    /// 404, 403 where it has one already.
    pub async fn connect_network(
        &self,
        network: &str,
        container: &str,
        endpoint: EndpointSettings,
    ) -> Result<(), Error> {
        let request = ConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(endpoint),
        };
        let target = Target::segments(&["networks", network, "connect"]);
        self.post(&target, Payload::json(&request)?).await.map(drop)
    }

    /// Takes a container's place on a network away.
    ///
    /// # Errors
    /// 404, 403 where it has none.
    pub async fn disconnect_network(
        &self,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<(), Error> {
        let request = DisconnectRequest {
            container: container.to_owned(),
            force,
        };
        let target = Target::segments(&["networks", network, "disconnect"]);
        self.post(&target, Payload::json(&request)?).await.map(drop)
    }

    /// Removes a network.
    ///
    /// # Errors
    /// 404, 403 while containers are on it and for those that are always there.
    pub async fn remove_network(&self, network: &str) -> Result<(), Error> {
        let target = Target::segments(&["networks", network]);
        self.send(Method::DELETE, &target, Payload::default())
            .await
            .map(drop)
    }

    /// Removes the networks that nothing uses.
    ///
    /// # Errors
    /// 400 for a filter the daemon does not know.
    pub async fn prune_networks(
        &self,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<PruneResponse, Error> {
        let target = Target::new("/networks/prune").filters(filters);
        let body = self.post(&target, Payload::default()).await?;
        Ok(json::from_slice(&body)?)
    }

    /// Who can reach a container, or with a `port` that is not empty one of its ports.
    ///
    /// # Errors
    /// 404; 409 for one that does not run.
    pub async fn explain_network(&self, container: &str, port: &str) -> Result<Explanation, Error> {
        let target = Target::new("/hull/networks/explain")
            .query("container", container)
            .query_some("port", Some(port));
        self.get(&target).await
    }
}
