//! Images in the store.

use crate::access;
use crate::convert;
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::StatusCode;
use hull_api::image::Platform as WirePlatform;
use hull_api::image::PruneResponse;
use hull_engine::Platform;
use hull_engine::image::{ImageListOptions, RemoveOptions};

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
    let version = request.version;
    let options = ImageListOptions {
        filters,
        beside: false,
        // Counting users came with API 1.51; before, the number is -1.
        containers: version.since(51),
        shared: version.since(42) && query.flag("shared-size"),
        manifests: version.since(47) && query.flag("manifests"),
    };
    let mut images = request.app.engine.images(options).await?;
    if let Some(grant) = request.grant() {
        images.retain_mut(|image| {
            let all = image.repo_tags.len() + image.repo_digests.len();
            image.repo_tags.retain(|name| grant.has_image(name));
            image.repo_digests.retain(|name| grant.has_image(name));
            // What has no name at all is nobody's, and seen by those who see all.
            let left = image.repo_tags.len() + image.repo_digests.len();
            left > 0 || (all == 0 && grant.has_image(""))
        });
    }
    let listed: Vec<_> = images
        .iter()
        .map(|image| convert::image::listed(image, version))
        .collect();
    reply::ok(&listed)
}

/// `GET /images/{name}/json`.
pub(crate) async fn inspect(request: Request) -> Result<Outcome, ApiError> {
    let (query, version) = (&request.query, request.version);
    let manifests = version.since(48) && query.flag("manifests");
    let platform = match query.text("platform") {
        text if version.since(49) && !text.is_empty() => Some(platform(text)?),
        _ => None,
    };
    if manifests && platform.is_some() {
        return Err(ApiError::bad_request(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let engine = &request.app.engine;
    let image = engine.image_inspect(&request.name, platform).await?;
    let manifests = match manifests {
        true => Some(engine.image_manifests(&request.name).await?),
        false => None,
    };
    reply::ok(&convert::image::inspect(&image, manifests, version)?)
}

/// A platform as clients write it in a query: the image specification's object.
///
/// # Errors
/// 400 in dockerd's words.
pub(crate) fn platform(text: &str) -> Result<Platform, ApiError> {
    let parsed: WirePlatform = serde_json::from_str(text).map_err(|error| {
        let why = match text.trim_start().chars().next() {
            None => "unexpected end of JSON input".to_owned(),
            Some(first) if !matches!(first, '{' | '[' | '"' | '0'..='9' | '-') => {
                format!("invalid character '{first}' looking for beginning of value")
            }
            Some(_) => error.to_string(),
        };
        ApiError::bad_request(format!("failed to parse platform: {why}"))
    })?;
    if parsed.os.is_empty() || parsed.architecture.is_empty() {
        return Err(ApiError::bad_request(
            "both OS and Architecture must be provided",
        ));
    }
    Ok(Platform {
        architecture: parsed.architecture,
        os: parsed.os,
        os_version: None,
        variant: Some(parsed.variant).filter(|variant| !variant.is_empty()),
    })
}

/// `GET /images/{name}/history`.
pub(crate) async fn history(request: Request) -> Result<Outcome, ApiError> {
    let platform = match request.query.text("platform") {
        text if request.version.since(48) && !text.is_empty() => Some(platform(text)?),
        _ => None,
    };
    let engine = &request.app.engine;
    let steps = engine.image_history(&request.name, platform).await?;
    let steps: Vec<_> = steps.into_iter().map(convert::image::history).collect();
    reply::ok(&steps)
}

/// `POST /images/{name}/tag`.
pub(crate) async fn tag(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let (repository, tag) = (query.text("repo"), query.text("tag"));
    if let Some(grant) = request.grant() {
        access::reference(grant, repository, tag)?;
    }
    request
        .app
        .engine
        .image_tag(&request.name, repository, tag)
        .await?;
    Ok(reply::empty(StatusCode::CREATED).into())
}

/// `DELETE /images/{name}`.
pub(crate) async fn remove(request: Request) -> Result<Outcome, ApiError> {
    let platforms = match request.version.since(50) {
        true => request.query.all("platforms"),
        false => Vec::new(),
    };
    let options = RemoveOptions {
        platforms: platforms
            .into_iter()
            .map(platform)
            .collect::<Result<_, _>>()?,
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
