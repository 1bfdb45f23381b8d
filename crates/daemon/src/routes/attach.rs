//! `POST /containers/{id}/attach`.

use crate::detach::Detector;
use crate::error::ApiError;
use crate::hijack::{self, Ended, Hijack, MULTIPLEXED_STREAM, RAW_STREAM, Session};
use crate::reply::Outcome;
use crate::request::Request;
use crate::version::ApiVersion;
use hull_engine::container::AttachOptions;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

/// What a stream's content is called: API 1.42 gave frames a name of their own.
pub(super) fn content_type(tty: bool, version: ApiVersion) -> &'static str {
    if tty || !version.since(42) {
        RAW_STREAM
    } else {
        MULTIPLEXED_STREAM
    }
}

/// Takes the connection over for a container's streams. Everything is set up before the reply's
/// head is sent: whoever has read it may start the container and misses nothing.
pub(crate) async fn attach(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let keys = Detector::parse(query.text("detachKeys"))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
    };
    let attached = request.app.engine.attach(&request.name, options).await;
    let attached = attached.map_err(|error| ApiError::from(error).in_stream())?;
    let keys = (attached.tty && options.stdin).then_some(keys);
    let content_type = content_type(attached.tty, request.version);
    let engine = Arc::clone(&request.app.engine);
    let name = request.name.clone();
    let session: Session = Box::new(move |mut client, read_too_far| {
        Box::pin(async move {
            match attached.stream.await {
                Ok(process) => {
                    let ended = hijack::join(client, read_too_far, process, keys).await;
                    if ended == Ended::Detached {
                        engine.detached(&name);
                    }
                }
                Err(error) => {
                    tracing::debug!(error = error.full_message(), "nothing to attach to");
                    // The client waits for the end; that it may be gone does not matter.
                    let _ = client.shutdown().await;
                }
            }
        })
    });
    Ok(Outcome::Hijack(Hijack::new(
        request.upgrade(),
        content_type,
        session,
    )))
}
