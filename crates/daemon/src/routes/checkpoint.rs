//! Checkpoints of containers. dockerd has them in experimental mode only.

use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::StatusCode;
use hull_api::container::{Checkpoint, CheckpointRequest as WireRequest};
use hull_engine::container::CheckpointRequest;
use std::path::PathBuf;

fn directory(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// `GET /containers/{id}/checkpoints`.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    let directory = directory(request.query.text("dir"));
    let engine = &request.app.engine;
    let names = engine.checkpoints(&request.name, directory).await?;
    let list: Vec<Checkpoint> = names.into_iter().map(|name| Checkpoint { name }).collect();
    reply::ok(&list)
}

/// `POST /containers/{id}/checkpoints`.
pub(crate) async fn create(mut request: Request) -> Result<Outcome, ApiError> {
    let wanted: WireRequest = request.json().await?;
    let checkpoint = CheckpointRequest {
        name: wanted.id,
        directory: directory(&wanted.directory),
        exit: wanted.exit,
    };
    let engine = &request.app.engine;
    engine.checkpoint(&request.name, checkpoint).await?;
    Ok(reply::empty(StatusCode::CREATED).into())
}

/// `DELETE /containers/{id}/checkpoints/{name}`.
pub(crate) async fn remove(request: Request) -> Result<Outcome, ApiError> {
    let directory = directory(request.query.text("dir"));
    let (container, checkpoint) = request
        .name
        .rsplit_once("/checkpoints/")
        .ok_or_else(|| ApiError::not_found("page not found"))?;
    let engine = &request.app.engine;
    engine
        .remove_checkpoint(container, checkpoint, directory)
        .await?;
    reply::done()
}

/// What `start` is told of one: its name and where it lies.
pub(super) fn named(request: &Request) -> Option<(String, Option<PathBuf>)> {
    let name = request.query.text("checkpoint");
    let at = directory(request.query.text("checkpoint-dir"));
    (!name.is_empty()).then(|| (name.to_owned(), at))
}
