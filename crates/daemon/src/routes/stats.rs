//! `GET /containers/{id}/stats`.

use crate::convert;
use crate::error::ApiError;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;

/// What a container uses: once, or once a second until the client leaves or the container is removed.
pub(crate) async fn stats(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let streams = query.given("stream").is_none() || query.flag("stream");
    let single = request.version.since(41) && query.flag("one-shot");
    let engine = &request.app.engine;
    if streams {
        let samples = engine.stats(&request.name)?;
        if single {
            let text = "cannot have stream=true and one-shot=true";
            return Err(ApiError::bad_request(text));
        }
        let lines = samples.map(|stats| {
            let mut line = serde_json::to_vec(&convert::stats::stats(stats))?;
            line.push(b'\n');
            Ok(Bytes::from(line))
        });
        let mut reply = reply::stream(request.app.shutdown.clone(), JSON, lines);
        // dockerd names no type for what does not end.
        reply.headers_mut().remove(CONTENT_TYPE);
        return Ok(reply.into());
    }
    let stats = engine.stats_once(&request.name, single).await?;
    reply::ok(&convert::stats::stats(stats))
}
