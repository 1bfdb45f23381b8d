//! `POST /session` and `POST /grpc`: connections that change to HTTP/2.

use crate::buildkit::{Duplex, Introduction};
use crate::error::ApiError;
use crate::hijack::Hijack;
use crate::reply::Outcome;
use crate::request::Request;
use std::sync::Arc;

/// The protocol that both change to.
const PROTOCOL: &str = "h2c";

/// `POST /session`: from now on the client is asked.
pub(crate) async fn session(request: Request) -> Result<Outcome, ApiError> {
    let introduction = Introduction::read(&request.headers)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let buildkit = request.app.buildkit.clone();
    if buildkit.has_session(introduction.id()) {
        return Err(ApiError::internal(format!(
            "session {} already exists",
            introduction.id()
        )));
    }
    check_upgrade(&request)?;
    Ok(Outcome::Hijack(Hijack::switch(
        PROTOCOL,
        Box::new(move |socket, read_too_far| {
            Box::pin(async move {
                let connection = Duplex::new(read_too_far, socket);
                if let Err(error) = buildkit.serve_session(introduction, connection).await {
                    tracing::debug!(%error, "a session failed");
                }
            })
        }),
    )))
}

/// `POST /grpc`: the client calls.
pub(crate) async fn grpc(request: Request) -> Result<Outcome, ApiError> {
    check_upgrade(&request)?;
    let buildkit = request.app.buildkit.clone();
    let engine = Arc::clone(&request.app.engine);
    Ok(Outcome::Hijack(Hijack::switch(
        PROTOCOL,
        Box::new(move |socket, read_too_far| {
            Box::pin(async move {
                let connection = Duplex::new(read_too_far, socket);
                buildkit.serve_calls(engine, connection).await;
            })
        }),
    )))
}

fn check_upgrade(request: &Request) -> Result<(), ApiError> {
    let header = request.headers.get(http::header::UPGRADE);
    let header = header.map_or("", |value| value.to_str().unwrap_or("?"));
    match header {
        PROTOCOL => Ok(()),
        "" => Err(ApiError::internal("no upgrade proto in request")),
        other => Err(ApiError::internal(format!(
            "protocol {other} not supported"
        ))),
    }
}
