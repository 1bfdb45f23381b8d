//! `/debug`: what a Go program tells of itself. Hull is none, so it has its command line to tell and no profiles.

use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

fn arguments() -> Vec<String> {
    std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// `GET /debug/vars`.
pub(crate) async fn vars(_request: Request) -> Result<Outcome, ApiError> {
    let mut reply = reply::json(StatusCode::OK, &serde_json::json!({"cmdline": arguments()}))?;
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(reply.into())
}

/// `GET /debug/pprof/cmdline`: the words with a NUL between two.
pub(crate) async fn command_line(_request: Request) -> Result<Outcome, ApiError> {
    let mut reply = reply::with_body(StatusCode::OK, arguments().join("\0"));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(reply.into())
}

/// The other profiles: Go's runtime makes them.
pub(crate) async fn profile(_request: Request) -> Result<Outcome, ApiError> {
    Err(ApiError::not_implemented(
        "Hull has no profiles of Go's runtime: use perf(1)",
    ))
}
