//! Lets requests of scoped sockets through, or not, before their handlers see them.
//!
//! What is outside of a grant's scope is not there: the answer is the one for an object that does not exist. The name of a
//! container or network is looked up once, here, and the handler gets the id: nobody can make it mean something else in between.

use super::grant::Grant;
use super::rights::{self, Right, Subject};
use crate::error::ApiError;
use crate::request::Request;
use crate::router::Route;
use hull_engine::Engine;
use hull_engine::event::Event;
use hull_engine::image::ImageDetails;
use hull_engine::network::NetworkDetails;
use hull_engine::volume::VolumeDetails;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Decides on a request.
///
/// # Errors
/// 403 for what is not allowed, 404 for objects out of scope, and what looking them up brings.
pub(crate) async fn admit(
    grant: &Grant,
    route: &Route,
    request: &mut Request,
) -> Result<(), ApiError> {
    if rights::is_greeting(route.pattern) {
        return Ok(());
    }
    let asked = || format!("{} {}", request.method, request.path);
    if route.pattern == "/events" {
        let nouns = ["containers", "images", "networks", "volumes"];
        return match nouns.iter().any(|noun| grant.allows(noun, "events")) {
            true => Ok(()),
            false => Err(grant.refusal("any events")),
        };
    }
    let Some(right) = rights::needed(&route.method, route.pattern) else {
        return Err(grant.refusal(&format!("{}: no grant does", asked())));
    };
    let Right {
        noun,
        verb,
        subject,
    } = right;
    if !grant.allows(noun, verb) {
        return Err(grant.refusal(&format!("{noun}:{verb} ({})", asked())));
    }
    let beyond = || grant.refusal(&format!("{noun}:{verb} here: it reaches beyond its scope"));
    let engine = Arc::clone(&request.app.engine);
    match subject {
        Subject::Handled => {}
        Subject::Whole if grant.is_whole() => {}
        Subject::Whole => return Err(beyond()),
        Subject::Labelled if grant.has_images() => return Err(beyond()),
        Subject::Labelled => request.query.add_filters("label", grant.label_filters())?,
        Subject::Container => request.name = container(grant, &engine, &request.name).await?,
        Subject::Exec => exec(grant, &engine, &request.name).await?,
        Subject::Image => image(grant, &engine, &request.name, verb == "remove").await?,
        Subject::Network => request.name = network(grant, &engine, &request.name).await?.id,
        Subject::Volume => volume(grant, &engine, &request.name).await?,
    }
    Ok(())
}

/// The id of a container in the scope.
///
/// # Errors
/// 404 if there is none.
pub(crate) async fn container(
    grant: &Grant,
    engine: &Arc<Engine>,
    name: &str,
) -> Result<String, ApiError> {
    let details = engine.inspect(name, false).await?;
    match grant.has_container(&details.labels, &details.config.image) {
        true => Ok(details.id),
        false => Err(ApiError::not_found(format!("No such container: {name}"))),
    }
}

async fn exec(grant: &Grant, engine: &Arc<Engine>, id: &str) -> Result<(), ApiError> {
    let exec = engine.exec_inspect(id).await?;
    match container(grant, engine, &exec.container_id).await {
        Ok(_) => Ok(()),
        Err(_) => Err(ApiError::not_found(format!("No such exec instance: {id}"))),
    }
}

/// An image in the scope. To remove it, all its names have to be there: which one is meant is not known before.
async fn image(
    grant: &Grant,
    engine: &Arc<Engine>,
    name: &str,
    wholly: bool,
) -> Result<(), ApiError> {
    if !grant.has_images() {
        return Ok(());
    }
    let missing = || ApiError::not_found(format!("No such image: {name}"));
    let details = engine.image_inspect(name, None).await;
    let details = details.map_err(|error| match error.kind() {
        hull_engine::ErrorKind::NotFound => missing(),
        _ => error.into(),
    })?;
    let mut names = names(&details).peekable();
    let inside = match wholly {
        true => names.peek().is_some() && names.all(|name| grant.has_image(name)),
        false => names.any(|name| grant.has_image(name)),
    };
    if inside { Ok(()) } else { Err(missing()) }
}

fn names(details: &ImageDetails) -> impl Iterator<Item = &str> {
    let all = details.repo_tags.iter().chain(&details.repo_digests);
    all.map(String::as_str)
}

/// A network in the scope.
///
/// # Errors
/// 404 if there is none.
pub(crate) async fn network(
    grant: &Grant,
    engine: &Arc<Engine>,
    name: &str,
) -> Result<NetworkDetails, ApiError> {
    let found = engine.network_inspect(name).await?;
    match sees_network(grant, &found) {
        true => Ok(found),
        false => Err(ApiError::not_found(format!("network {name} not found"))),
    }
}

/// Whether a network is in the scope.
pub(crate) fn sees_network(grant: &Grant, network: &NetworkDetails) -> bool {
    let none = BTreeMap::new();
    grant.has_labels(network.labels.as_ref().unwrap_or(&none))
}

/// A volume in the scope.
///
/// # Errors
/// 404 if there is none.
pub(crate) async fn volume(
    grant: &Grant,
    engine: &Arc<Engine>,
    name: &str,
) -> Result<(), ApiError> {
    let found = engine.volume_inspect(name).await?;
    match sees_volume(grant, &found) {
        true => Ok(()),
        false => Err(ApiError::not_found(format!("get {name}: no such volume"))),
    }
}

/// Whether a volume is in the scope.
pub(crate) fn sees_volume(grant: &Grant, volume: &VolumeDetails) -> bool {
    let none = BTreeMap::new();
    grant.has_labels(volume.labels.as_ref().unwrap_or(&none))
}

/// Refuses names of images that are out of the scope.
///
/// # Errors
/// 403.
pub(crate) fn reference(grant: &Grant, name: &str, tag: &str) -> Result<(), ApiError> {
    let named = match tag {
        "" => name.to_owned(),
        tag if tag.contains(':') => format!("{name}@{tag}"),
        tag => format!("{name}:{tag}"),
    };
    match grant.has_image(&named) {
        true => Ok(()),
        false => Err(grant.refusal(&format!("image {named:?}"))),
    }
}

/// Whether an event is about something in the scope. Those of networks, volumes and images have no labels: a scope of labels does
/// not have them, and one of images has none of networks and volumes.
pub(crate) fn sees_event(grant: &Grant, event: &Event) -> bool {
    let noun = match event.kind {
        "container" => "containers",
        "image" => "images",
        "network" => "networks",
        "volume" => "volumes",
        _ => return false,
    };
    let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    grant.allows(noun, "events")
        && match event.kind {
            "container" => grant.has_container(&event.attributes, attribute("image")),
            "image" => grant.has_image(attribute("name")) || grant.has_image(&event.id),
            _ => grant.is_whole(),
        }
}
