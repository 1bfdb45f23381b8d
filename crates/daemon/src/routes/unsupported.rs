//! Paths of the API that Hull does not answer (yet): told apart from paths that do not exist.

use crate::convert;
use crate::error::ApiError;
use crate::reply::Outcome;
use crate::request::Request;
use http::StatusCode;

/// What Docker has and Hull has not.
pub(crate) async fn feature(request: Request) -> Result<Outcome, ApiError> {
    Err(convert::unsupported(format_args!(
        "{} {}",
        request.method, request.path
    )))
}

/// Hull has no swarm mode: the answer of a daemon outside of one.
pub(crate) async fn swarm(_request: Request) -> Result<Outcome, ApiError> {
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    ))
}
