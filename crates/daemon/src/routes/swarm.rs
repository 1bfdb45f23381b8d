//! Swarm, nodes, services, tasks, secrets, configs: Hull has no swarm mode, so these are the answers of a daemon outside of one.
//! What dockerd refuses before it looks for the swarm is refused here, too.

use crate::error::ApiError;
use crate::reply::Outcome;
use crate::request::Request;
use http::StatusCode;
use hull_api::swarm::{InitRequest, JoinRequest};
use serde_json::Value;

/// Everything that only a manager can tell.
pub(crate) async fn outside(_request: Request) -> Result<Outcome, ApiError> {
    Err(no_manager())
}

pub(super) fn no_manager() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    )
}

/// Lists, whose filters are read first.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    request.query.filters()?;
    Err(no_manager())
}

/// `create` and `unlock`, whose bodies are read first.
pub(crate) async fn create(mut request: Request) -> Result<Outcome, ApiError> {
    let _: Value = request.json_or_default().await?;
    Err(no_manager())
}

/// `GET /services/{id}`.
pub(crate) async fn service(request: Request) -> Result<Outcome, ApiError> {
    request.query.strict_flag("insertDefaults")?;
    Err(no_manager())
}

/// `update`: body and version are read first.
pub(crate) async fn update(mut request: Request) -> Result<Outcome, ApiError> {
    let _: Value = request.json_or_default().await?;
    let version = request.query.text("version");
    if let Err(error) = version.parse::<u64>() {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        let noun = request.path.split('/').nth(1).unwrap_or_default();
        let noun = noun.trim_end_matches('s');
        return Err(ApiError::bad_request(match noun {
            "secret" | "config" => format!("invalid {noun} version"),
            _ => format!(
                "invalid {noun} version '{version}': strconv.ParseUint: parsing {version:?}: {why}"
            ),
        }));
    }
    Err(no_manager())
}

/// `GET /services/{id}/logs` and `GET /tasks/{id}/logs`.
pub(crate) async fn logs(request: Request) -> Result<Outcome, ApiError> {
    if !request.query.flag("stdout") && !request.query.flag("stderr") {
        return Err(ApiError::internal(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    Err(no_manager())
}

/// `POST /swarm/leave`.
pub(crate) async fn leave(request: Request) -> Result<Outcome, ApiError> {
    // dockerd reads the flag, and there is nothing that could be forced.
    let _ = request.query.flag("force");
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not part of a swarm",
    ))
}

/// `POST /swarm/init`.
pub(crate) async fn init(mut request: Request) -> Result<Outcome, ApiError> {
    let asked: InitRequest = request.json_or_default().await?;
    listens(&asked.listen_addr)?;
    Err(no_swarm())
}

/// `POST /swarm/join`.
pub(crate) async fn join(mut request: Request) -> Result<Outcome, ApiError> {
    let asked: JoinRequest = request.json_or_default().await?;
    listens(&asked.listen_addr)?;
    if asked.remote_addrs.is_none_or(|list| list.is_empty()) {
        return Err(ApiError::bad_request(
            "at least 1 RemoteAddr is required to join",
        ));
    }
    Err(no_swarm())
}

fn listens(address: &str) -> Result<(), ApiError> {
    if address.is_empty() {
        return Err(ApiError::bad_request(
            "invalid ListenAddr \"\": invalid empty address",
        ));
    }
    Ok(())
}

fn no_swarm() -> ApiError {
    ApiError::not_implemented("Hull has no swarm mode: it manages the containers of one machine")
}

/// `PUT /volumes/{name}`: of cluster volumes only.
pub(crate) async fn cluster_volume(_request: Request) -> Result<Outcome, ApiError> {
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    ))
}
