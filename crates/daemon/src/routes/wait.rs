//! `POST /containers/{id}/wait`.

use crate::error::ApiError;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use bytes::Bytes;
use hull_api::container::{WaitError, WaitResponse};
use hull_engine::container::{WaitCondition, WaitResult};

/// Waits for a container. Since API 1.30 the reply's head is sent at once, so that a client knows
/// that it will miss nothing, and the body when it is over.
pub(crate) async fn wait(request: Request) -> Result<Outcome, ApiError> {
    let condition = condition(&request)?;
    let waiting = request.app.engine.wait(&request.name, condition).await?;
    if !request.version.since(30) {
        return reply::ok(&answer(waiting.await));
    }
    let body = async move {
        let mut line = serde_json::to_vec(&answer(waiting.await))?;
        line.push(b'\n');
        Ok(Bytes::from(line))
    };
    let stop = request.app.shutdown.clone();
    Ok(reply::stream(stop, JSON, futures_util::stream::once(body)).into())
}

fn condition(request: &Request) -> Result<WaitCondition, ApiError> {
    if !request.version.since(30) {
        return Ok(WaitCondition::NotRunning);
    }
    match request.query.text("condition") {
        "" | "not-running" => Ok(WaitCondition::NotRunning),
        "next-exit" => Ok(WaitCondition::NextExit),
        "removed" => Ok(WaitCondition::Removed),
        other => Err(ApiError::bad_request(format!(
            "invalid condition: {other:?}"
        ))),
    }
}

fn answer(waited: hull_engine::Result<WaitResult>) -> WaitResponse {
    match waited {
        Ok(result) => WaitResponse {
            error: result.error.map(|message| WaitError { message }),
            status_code: result.code.into(),
        },
        // The head is out: the body is all there is left to say it.
        Err(error) => WaitResponse {
            error: Some(WaitError {
                message: error.full_message(),
            }),
            status_code: -1,
        },
    }
}
