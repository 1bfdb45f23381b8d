//! Docker's managed plugins: there are none, and none can be installed. Drivers that listen on sockets of their own are another
//! matter, and not seen here in dockerd either.

use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use hull_engine::Reference;
use serde_json::Value;

/// The filters of `GET /plugins`.
const FILTERS: &[&str] = &["capability", "enabled"];

/// `GET /plugins`.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    let filters = request.query.filters()?;
    filters.only(FILTERS)?;
    for value in filters.values("enabled") {
        if !matches!(value.as_str(), "true" | "false") {
            return Err(ApiError::bad_request(format!(
                "invalid filter 'enabled=[{value}]'"
            )));
        }
    }
    reply::ok::<[(); 0]>(&[])
}

/// What is asked of a plugin by its name.
pub(crate) async fn missing(request: Request) -> Result<Outcome, ApiError> {
    Err(none(&request.name))
}

fn none(name: &str) -> ApiError {
    ApiError::not_found(format!("plugin {name:?} not found"))
}

/// `POST /plugins/{name}/enable`.
pub(crate) async fn enable(request: Request) -> Result<Outcome, ApiError> {
    if request.query.integer("timeout")?.is_none() {
        return Err(ApiError::internal(
            "strconv.Atoi: parsing \"\": invalid syntax",
        ));
    }
    Err(none(&request.name))
}

/// `POST /plugins/{name}/set`.
pub(crate) async fn set(mut request: Request) -> Result<Outcome, ApiError> {
    let _: Value = request.json_or_default().await?;
    Err(none(&request.name))
}

/// `POST /plugins/{name}/upgrade`.
pub(crate) async fn upgrade(request: Request) -> Result<Outcome, ApiError> {
    remote(&request)?;
    let name = request.name.parse::<Reference>();
    let name = name.map_err(|error| ApiError::internal(error.to_string()))?;
    Err(none(&name.with_default_tag().familiar()))
}

/// `GET /plugins/privileges` and `POST /plugins/pull`: what asks a registry for a plugin.
pub(crate) async fn fetch(request: Request) -> Result<Outcome, ApiError> {
    remote(&request)?;
    Err(not_done())
}

/// `POST /plugins/create`.
pub(crate) async fn create(request: Request) -> Result<Outcome, ApiError> {
    let name = request.query.text("name");
    name.parse::<Reference>().map_err(|error| {
        ApiError::internal(format!("failed to parse reference {name}: {error}"))
    })?;
    Err(not_done())
}

fn remote(request: &Request) -> Result<Reference, ApiError> {
    let remote = request.query.text("remote").parse::<Reference>();
    remote.map_err(|error| ApiError::internal(error.to_string()))
}

fn not_done() -> ApiError {
    ApiError::not_implemented("Hull runs no managed plugins")
}
