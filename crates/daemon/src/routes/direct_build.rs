//! `POST /hull/build` and the answers to what a build asks.

use crate::buildkit::{Answer, Duplex};
use crate::error::ApiError;
use crate::hijack::Hijack;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::HeaderValue;
use http::{Method, StatusCode};
use tokio::sync::mpsc;

/// What an answer's connection changes to.
const PROTOCOL: &str = "tcp";
/// How many pieces of a file wait for a client that takes it.
const WAITING: usize = 4;

/// Builds, and tells of it, a JSON document a line.
pub(crate) async fn build(mut request: Request) -> Result<Outcome, ApiError> {
    let asked: hull_api::build::Request = request.json().await?;
    let app = &request.app;
    let begun = app.buildkit.begin_direct(&app.engine, asked);
    let messages = begun.map_err(|status| ApiError::bad_request(status.message()))?;
    let lines = messages.map(|message| {
        let mut line = serde_json::to_vec(&message)?;
        line.push(b'\n');
        Ok(Bytes::from(line))
    });
    Ok(reply::stream(app.shutdown.clone(), JSON, lines).into())
}

/// Answers: by the body, by the connection itself for who asks to change it, or, for GET, by taking what is sent.
pub(crate) async fn answer(mut request: Request) -> Result<Outcome, ApiError> {
    let build = request.query.text("build").to_owned();
    let number = request.query.text("number").parse().unwrap_or(0);
    let buildkit = request.app.buildkit.clone();
    let nobody = || ApiError::not_found(format!("no build waits for answer {number}"));
    if !buildkit.asks().has(&build, number) {
        return Err(nobody());
    }
    let refused = request.query.text("error").to_owned();
    let given = if !refused.is_empty() {
        Answer::Failed(refused)
    } else if request.method == Method::GET {
        let (sender, pieces) = mpsc::channel(WAITING);
        if !buildkit
            .asks()
            .answer(&build, number, Answer::Taker(sender))
        {
            return Err(nobody());
        }
        let pieces = stream::unfold(pieces, |mut pieces| async move {
            Some((pieces.recv().await?, pieces))
        });
        let kind = HeaderValue::from_static("application/octet-stream");
        return Ok(reply::stream(request.app.shutdown.clone(), kind, pieces).into());
    } else if request.upgrade().is_some() {
        return Ok(Outcome::Hijack(Hijack::switch(
            PROTOCOL,
            Box::new(move |socket, read_too_far| {
                Box::pin(async move {
                    let connection = Duplex::new(read_too_far, socket);
                    let answer = Answer::Connection(connection);
                    // Who asked may be gone: then the connection ends.
                    buildkit.asks().answer(&build, number, answer);
                })
            }),
        )));
    } else if request.query.flag("none") {
        Answer::Nothing
    } else {
        Answer::Bytes(request.bytes().await?)
    };
    match buildkit.asks().answer(&build, number, given) {
        true => Ok(reply::empty(StatusCode::NO_CONTENT).into()),
        false => Err(nobody()),
    }
}
