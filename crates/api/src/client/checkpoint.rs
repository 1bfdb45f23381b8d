//! Requests about checkpoints of containers.

use super::{Client, Error, Payload, Target};
use crate::container::{Checkpoint, CheckpointRequest};
use http::Method;

impl Client {
    /// Saves a running container.
    ///
    /// # Errors
    /// 404; 409 when it does not run or has a checkpoint of this name; what CRIU said.
    pub async fn create_checkpoint(
        &self,
        container: &str,
        request: &CheckpointRequest,
    ) -> Result<(), Error> {
        let target = Target::segments(&["containers", container, "checkpoints"]);
        self.post(&target, Payload::json(request)?).await.map(drop)
    }

    /// The checkpoints of a container, in a directory of the daemon's host or, without one, those that are with it.
    ///
    /// # Errors
    /// 404.
    pub async fn checkpoints(
        &self,
        container: &str,
        directory: &str,
    ) -> Result<Vec<Checkpoint>, Error> {
        let target = Target::segments(&["containers", container, "checkpoints"]);
        self.get(&target.query_some("dir", Some(directory))).await
    }

    /// Removes one.
    ///
    /// # Errors
    /// 404.
    pub async fn remove_checkpoint(
        &self,
        container: &str,
        name: &str,
        directory: &str,
    ) -> Result<(), Error> {
        let target = Target::segments(&["containers", container, "checkpoints", name]);
        let target = target.query_some("dir", Some(directory));
        let sent = self.send(Method::DELETE, &target, Payload::default());
        sent.await.map(drop)
    }

    /// Starts a container where a checkpoint left it, if one is named.
    ///
    /// # Errors
    /// What the runtime said; 404 without the checkpoint.
    pub async fn start_from(
        &self,
        container: &str,
        checkpoint: &str,
        directory: &str,
    ) -> Result<(), Error> {
        let target = Target::segments(&["containers", container, "start"])
            .query_some("checkpoint", Some(checkpoint))
            .query_some("checkpoint-dir", Some(directory));
        self.act(target).await
    }
}
