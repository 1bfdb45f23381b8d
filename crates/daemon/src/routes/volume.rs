//! Volumes.

use crate::access;
use crate::convert::usage::volume;
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::StatusCode;
use hull_api::volume::{CreateRequest, ListResponse, PruneResponse};
use hull_engine::volume::VolumeRequest;

/// `GET /volumes`.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    let filters = request.query.filters()?;
    let (mut volumes, warnings) = request.app.engine.volumes(filters.0).await?;
    if let Some(grant) = request.grant() {
        volumes.retain(|found| access::sees_volume(grant, found));
    }
    reply::ok(&ListResponse {
        volumes: volumes.into_iter().map(volume).collect(),
        warnings: (!warnings.is_empty()).then_some(warnings),
    })
}

/// `GET /volumes/{name}`.
pub(crate) async fn inspect(request: Request) -> Result<Outcome, ApiError> {
    let found = request.app.engine.volume_inspect(&request.name).await?;
    reply::ok(&volume(found))
}

/// `POST /volumes/create`.
pub(crate) async fn create(mut request: Request) -> Result<Outcome, ApiError> {
    let asked = request.json_or_default::<CreateRequest>().await;
    let mut asked = asked.map_err(|mut error| {
        // The name of dockerd's type.
        let (own, named) = ("Go struct field .", "Go struct field CreateOptions.");
        error.message = error.message.replacen(own, named, 1);
        error
    })?;
    if let Some(grant) = request.grant() {
        access::limits::volume(grant, &mut asked)?;
    }
    if asked.cluster_volume_spec.is_some() && request.version.since(42) {
        return Err(super::swarm::no_manager());
    }
    let asked = VolumeRequest {
        name: asked.name,
        driver: asked.driver,
        options: asked.driver_opts.filter(|options| !options.is_empty()),
        labels: asked.labels,
    };
    let created = request.app.engine.volume_create(asked).await?;
    if let Some(grant) = request.grant()
        && !access::sees_volume(grant, &created)
    {
        // It was there before, and stays as it was.
        return Err(grant.refusal("a volume of this name"));
    }
    Ok(reply::json(StatusCode::CREATED, &volume(created))?.into())
}

/// `DELETE /volumes/{name}`.
pub(crate) async fn remove(request: Request) -> Result<Outcome, ApiError> {
    let force = request.query.flag("force");
    let engine = &request.app.engine;
    engine.volume_remove(&request.name, force).await?;
    reply::done()
}

/// `POST /volumes/prune`.
pub(crate) async fn prune(request: Request) -> Result<Outcome, ApiError> {
    let mut filters = request.query.filters()?.0;
    if !request.version.since(42) {
        // Until then there was no filter, and names kept nothing.
        filters.insert("all".to_owned(), vec!["true".to_owned()]);
    }
    let pruned = request.app.engine.volume_prune(filters).await?;
    reply::ok(&PruneResponse {
        volumes_deleted: pruned.names,
        space_reclaimed: pruned.bytes,
    })
}
