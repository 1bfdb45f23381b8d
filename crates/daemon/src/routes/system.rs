//! The daemon itself: `/_ping`, `/version`, `/info`, `/auth`, `/system/df`.

use crate::convert;
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, PRAGMA};
use http::{HeaderValue, Method, StatusCode};
use hull_api::image::AuthConfig;
use hull_engine::usage::Kinds;
use serde::Serialize;

/// `GET` and `HEAD /_ping`: how clients find out what they talk to.
pub(crate) async fn ping(request: Request) -> Result<Outcome, ApiError> {
    let body = if request.method == Method::HEAD {
        ""
    } else {
        "OK"
    };
    let mut reply = reply::with_body(StatusCode::OK, body);
    let headers = reply.headers_mut();
    for (name, value) in [
        // BuildKit is there: clients build with it unless they are told not to.
        (HeaderName::from_static("builder-version"), "2"),
        (HeaderName::from_static("swarm"), "inactive"),
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (PRAGMA, "no-cache"),
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(reply.into())
}

/// `OPTIONS` of anything: dockerd says yes and nothing more.
pub(crate) async fn options(_request: Request) -> Result<Outcome, ApiError> {
    Ok(reply::empty(StatusCode::OK).into())
}

/// `GET /version`.
pub(crate) async fn version(request: Request) -> Result<Outcome, ApiError> {
    reply::ok(&convert::system::version(
        request.app.live().others.experimental,
    ))
}

/// `GET /info`.
pub(crate) async fn info(request: Request) -> Result<Outcome, ApiError> {
    let info = request.app.engine.info().await?;
    reply::ok(&convert::system::info(
        info,
        &request.app.live(),
        request.version,
    )?)
}

/// `GET /system/df`: what the engine holds on the disk. API 1.42 brought `type`, one or several.
pub(crate) async fn disk_usage(request: Request) -> Result<Outcome, ApiError> {
    let mut kinds = Kinds::default();
    let mut build_cache = false;
    let types = request.query.all("type");
    for kind in types.iter().filter(|_| request.version.since(42)) {
        match *kind {
            "image" => kinds.images = true,
            "container" => kinds.containers = true,
            "volume" => kinds.volumes = true,
            "build-cache" => build_cache = true,
            other => {
                return Err(ApiError::bad_request(format!(
                    "unknown object type: {other}"
                )));
            }
        }
    }
    if kinds == Kinds::default() && !build_cache {
        (kinds, build_cache) = (Kinds::ALL, true);
    }
    let usage = request.app.engine.disk_usage(kinds).await?;
    let build_cache = match build_cache {
        true => Some(request.app.engine.build_records().await?),
        false => None,
    };
    reply::ok(&convert::usage::disk_usage(
        usage,
        build_cache,
        request.version,
    )?)
}

/// `POST /auth`: tries credentials.
pub(crate) async fn auth(mut request: Request) -> Result<Outcome, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct AuthReply {
        identity_token: String,
        status: &'static str,
    }
    let given: AuthConfig = request.plain_json().await?;
    let registry = given.server_address.clone();
    let credentials = super::pull::credentials(given)?;
    let token = request
        .app
        .engine
        .authenticate(&registry, credentials)
        .await?;
    reply::ok(&AuthReply {
        identity_token: token.unwrap_or_default(),
        status: "Login Succeeded",
    })
}
