//! Scoped sockets: Hull's own.

use crate::access;
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::StatusCode;
use hull_api::access::Grant;

/// `POST /hull/access/create`.
pub(crate) async fn create(mut request: Request) -> Result<Outcome, ApiError> {
    let wanted: Grant = request.json().await?;
    let made = access::create(&request.app, wanted).await?;
    Ok(reply::json(StatusCode::CREATED, &made)?.into())
}

/// `GET /hull/access`.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    reply::ok(&request.app.access.list())
}

/// `GET /hull/access/{name}`.
pub(crate) async fn inspect(request: Request) -> Result<Outcome, ApiError> {
    reply::ok(&request.app.access.inspect(&request.name)?)
}

/// `DELETE /hull/access/{name}`.
pub(crate) async fn remove(request: Request) -> Result<Outcome, ApiError> {
    access::remove(&request.app, &request.name).await?;
    reply::done()
}
