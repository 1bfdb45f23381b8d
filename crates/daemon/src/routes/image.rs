//! Images in the store.

use crate::convert;
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::StatusCode;
use hull_api::image::PruneResponse;
use hull_engine::image::RemoveOptions;

/// `GET /images/json`.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let mut filters = query.filters()?.0;
    let filter = query.text("filter");
    if !filter.is_empty() && !request.version.since(41) {
        filters
            .entry("reference".to_owned())
            .or_default()
            .push(filter.to_owned());
    }
    // Counting users came with API 1.51; before, the number is -1.
    let count = request.version.since(51);
    let images = request
        .app
        .engine
        .images(query.flag("all"), filters, count)
        .await?;
    let version = request.version;
    let listed: Vec<_> = images
        .iter()
        .map(|image| convert::image::listed(image, version))
        .collect();
    reply::ok(&listed)
}

/// `GET /images/{name}/json`.
pub(crate) async fn inspect(request: Request) -> Result<Outcome, ApiError> {
    let image = request.app.engine.image_inspect(&request.name).await?;
    reply::ok(&convert::image::inspect(&image, request.version)?)
}

/// `GET /images/{name}/history`.
pub(crate) async fn history(request: Request) -> Result<Outcome, ApiError> {
    let steps = request.app.engine.image_history(&request.name).await?;
    let steps: Vec<_> = steps.into_iter().map(convert::image::history).collect();
    reply::ok(&steps)
}

/// `POST /images/{name}/tag`.
pub(crate) async fn tag(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let (repository, tag) = (query.text("repo"), query.text("tag"));
    request
        .app
        .engine
        .image_tag(&request.name, repository, tag)
        .await?;
    Ok(reply::empty(StatusCode::CREATED).into())
}

/// `DELETE /images/{name}`.
pub(crate) async fn remove(request: Request) -> Result<Outcome, ApiError> {
    let options = RemoveOptions {
        force: request.query.flag("force"),
        no_prune: request.query.flag("noprune"),
    };
    let removed = request
        .app
        .engine
        .image_remove(&request.name, options)
        .await?;
    let items: Vec<_> = removed.into_iter().map(convert::image::removed).collect();
    reply::ok(&items)
}

/// `POST /images/prune`.
pub(crate) async fn prune(request: Request) -> Result<Outcome, ApiError> {
    let filters = request.query.filters()?.0;
    let pruned = request.app.engine.prune_images(filters).await?;
    let deleted = pruned.removed.into_iter().map(convert::image::removed);
    let deleted: Vec<_> = deleted.collect();
    reply::ok(&PruneResponse {
        images_deleted: (!deleted.is_empty()).then_some(deleted),
        space_reclaimed: pruned.reclaimed,
    })
}
