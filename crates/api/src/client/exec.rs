//! Requests about processes in running containers.

use super::{Client, Error, Hijacked, Payload, Target};
use crate::exec::{ExecCreateRequest, ExecCreateResponse, ExecInspect, ExecStartRequest};
use crate::json;

impl Client {
    /// Prepares a process.
    ///
    /// # Errors
    /// 404, 409 when the container does not run.
    pub async fn exec_create(
        &self,
        container: &str,
        request: &ExecCreateRequest,
    ) -> Result<String, Error> {
        let target = Target::segments(&["containers", container, "exec"]);
        let body = self.post(&target, Payload::json(request)?).await?;
        Ok(json::from_slice::<ExecCreateResponse>(&body)?.id)
    }

    /// Starts it and leaves it alone.
    ///
    /// # Errors
    /// What the runtime said.
    pub async fn exec_detached(&self, id: &str, request: &ExecStartRequest) -> Result<(), Error> {
        let target = Target::segments(&["exec", id, "start"]);
        self.post(&target, Payload::json(request)?).await.map(drop)
    }

    /// Starts it and takes over its streams.
    ///
    /// # Errors
    /// What the runtime said.
    pub async fn exec_attached(
        &self,
        id: &str,
        request: &ExecStartRequest,
    ) -> Result<Hijacked, Error> {
        let target = Target::segments(&["exec", id, "start"]);
        self.hijack(&target, Payload::json(request)?).await
    }

    /// What became of it.
    ///
    /// # Errors
    /// 404.
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecInspect, Error> {
        self.get(&Target::segments(&["exec", id, "json"])).await
    }

    /// Tells it the size of the terminal.
    ///
    /// # Errors
    /// When it does not run yet.
    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), Error> {
        self.act(
            Target::segments(&["exec", id, "resize"])
                .query("h", &rows.to_string())
                .query("w", &columns.to_string()),
        )
        .await
    }
}
