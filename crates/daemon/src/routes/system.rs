//! The daemon itself: `/_ping`, `/version`, `/info`, `/auth`, `/system/df`.

use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, PRAGMA};
use http::{HeaderValue, StatusCode};

/// `GET` and `HEAD /_ping`: how clients find out what they talk to.
pub(crate) async fn ping(_request: Request) -> Result<Outcome, ApiError> {
    let mut reply = reply::with_body(StatusCode::OK, "OK");
    let headers = reply.headers_mut();
    for (name, value) in [
        // 1 is the classic builder; 2, which clients take for "BuildKit is there", is not.
        (HeaderName::from_static("builder-version"), "1"),
        (HeaderName::from_static("swarm"), "inactive"),
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (PRAGMA, "no-cache"),
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(reply.into())
}
