//! Requests about volumes.

use super::{Client, Error, Payload, Target};
use crate::json;
use crate::volume::{CreateRequest, ListResponse, PruneResponse, Volume};
use http::Method;
use std::collections::BTreeMap;

impl Client {
    /// The volumes.
    ///
    /// # Errors
    /// 400 for a filter the daemon does not know.
    pub async fn volumes(
        &self,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<ListResponse, Error> {
        self.get(&Target::new("/volumes").filters(filters)).await
    }

    /// Makes a volume, or gives the one of this name.
    ///
    /// # Errors
    /// 400 for a request that makes no sense, 404 for a driver that is not there, 409 where another
    /// driver has the name.
    pub async fn create_volume(&self, request: &CreateRequest) -> Result<Volume, Error> {
        let target = Target::new("/volumes/create");
        let body = self.post(&target, Payload::json(request)?).await?;
        Ok(json::from_slice(&body)?)
    }

    /// Removes a volume; with `force` one that is not there is fine.
    ///
    /// # Errors
    /// 404, 409 while containers use it.
    pub async fn remove_volume(&self, name: &str, force: bool) -> Result<(), Error> {
        let force = force.then_some("1");
        let target = Target::segments(&["volumes", name]).query_some("force", force);
        self.send(Method::DELETE, &target, Payload::default())
            .await
            .map(drop)
    }

    /// Removes the volumes that nothing uses.
    ///
    /// # Errors
    /// 400 for a filter the daemon does not know.
    pub async fn prune_volumes(
        &self,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<PruneResponse, Error> {
        let target = Target::new("/volumes/prune").filters(filters);
        let body = self.post(&target, Payload::default()).await?;
        Ok(json::from_slice(&body)?)
    }
}
