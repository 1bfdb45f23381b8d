//! What there is of building without a builder: nothing is being built, and nothing is kept of builds.

use crate::convert;
use crate::error::ApiError;
use crate::query::parse_int;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use http::StatusCode;
use http::header::CONTENT_TYPE;

/// The sizes of `POST /build/prune`: of old clients, and of API 1.48.
const SIZES: &[&str] = &[
    "keep-storage",
    "reserved-space",
    "max-used-space",
    "min-free-space",
];

/// `POST /build/prune`: there is no build cache, so nothing of it is removed.
pub(crate) async fn prune(request: Request) -> Result<Outcome, ApiError> {
    request.query.filters()?;
    for name in SIZES {
        let text = request.query.text(name);
        if text.is_empty() {
            continue;
        }
        parse_int(text).map_err(|why| {
            ApiError::bad_request(format!(
                "{name} is in bytes and expects an integer, got {text}: strconv.Atoi: parsing {text:?}: {why}"
            ))
        })?;
    }
    reply::ok(&serde_json::json!({"CachesDeleted": null, "SpaceReclaimed": 0}))
}

/// `POST /build/cancel`: a build that is not (any more) there is cancelled.
pub(crate) async fn cancel(request: Request) -> Result<Outcome, ApiError> {
    if request.query.text("id").is_empty() {
        return Err(ApiError::bad_request("build ID not provided"));
    }
    let mut reply = reply::empty(StatusCode::OK);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(reply.into())
}

/// `POST /build`.
pub(crate) async fn build(request: Request) -> Result<Outcome, ApiError> {
    let version = request.query.text("version");
    if !matches!(version, "" | "1" | "2") {
        return Err(ApiError::bad_request(format!(
            "invalid version {version:?}"
        )));
    }
    Err(convert::unsupported("building images"))
}
