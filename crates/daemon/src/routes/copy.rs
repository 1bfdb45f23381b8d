//! Files out of containers and into them.

use super::archive::{TAR, incoming, sent};
use crate::convert::archive::path_stat;
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderName;
use http::{HeaderValue, StatusCode};
use hull_api::container::archive::PATH_STAT_HEADER;
use hull_engine::container::{PathStat, PutOptions};

const PATH_STAT: HeaderName = HeaderName::from_static(PATH_STAT_HEADER);

/// `HEAD /containers/{id}/archive`.
pub(crate) async fn stat(request: Request) -> Result<Outcome, ApiError> {
    let path = path(&request)?;
    let stat = request.app.engine.archive_stat(&request.name, path).await?;
    let mut reply = reply::empty(StatusCode::OK);
    reply.headers_mut().insert(PATH_STAT, header(stat)?);
    Ok(reply.into())
}

/// `GET /containers/{id}/archive`. Never compressed, although dockerd does so for whoever accepts it: over a
/// local socket that only costs time.
pub(crate) async fn get(request: Request) -> Result<Outcome, ApiError> {
    let path = path(&request)?;
    let (stat, archive) = request.app.engine.archive_get(&request.name, path).await?;
    let header = header(stat)?;
    let outcome = sent(&request, TAR, archive).await?;
    Ok(match outcome {
        Outcome::Reply(mut reply) => {
            reply.headers_mut().insert(PATH_STAT, header);
            reply.into()
        }
        other => other,
    })
}

/// `PUT /containers/{id}/archive`.
pub(crate) async fn put(request: Request) -> Result<Outcome, ApiError> {
    let path = path(&request)?.to_owned();
    let options = PutOptions {
        no_overwrite_dir_non_dir: request.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: request.query.flag("copyUIDGID"),
    };
    let body = incoming(request.body);
    let engine = &request.app.engine;
    engine
        .archive_put(&request.name, &path, options, body)
        .await?;
    Ok(reply::empty(StatusCode::OK).into())
}

/// The one parameter that has to be there; the text is dockerd's.
fn path(request: &Request) -> Result<&str, ApiError> {
    match request.query.text("path") {
        "" => Err(ApiError::bad_request("bad parameter: pathcannot be empty")),
        path => Ok(path),
    }
}

fn header(stat: PathStat) -> Result<HeaderValue, ApiError> {
    let unwritable =
        |error: String| ApiError::internal(format!("could not encode the path's header: {error}"));
    let json = serde_json::to_vec(&path_stat(stat)).map_err(|e| unwritable(e.to_string()))?;
    HeaderValue::try_from(STANDARD.encode(json)).map_err(|e| unwritable(e.to_string()))
}
