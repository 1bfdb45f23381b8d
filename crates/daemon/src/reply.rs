//! Replies: bodies, the headers every reply has, and the alternative of taking the connection over.

use crate::error::{ApiError, Form};
use crate::hijack::{Hijack, RAW_STREAM};
use crate::transport::Replying;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hull_api::error::ErrorResponse;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_util::sync::CancellationToken;

/// The body of a reply.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// A whole reply.
pub(crate) type Reply = Response<Body>;

/// The content type of nearly every reply.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Docker's client tells the platform of the daemon by it.
const OSTYPE: HeaderName = HeaderName::from_static("ostype");
const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");

/// A body that tells when it is done with.
#[derive(Debug)]
pub(crate) struct Held {
    body: Body,
    _replying: Replying,
}

impl Held {
    /// `body`, with `replying` dropped after it.
    pub(crate) fn new(body: Body, replying: Replying) -> Self {
        Self {
            body,
            _replying: replying,
        }
    }
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a handler ends with.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A reply by HTTP.
    Reply(Reply),
    /// The connection is taken over.
    Hijack(Hijack),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// A reply without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    with_body(status, Bytes::new())
}

/// A reply with these bytes.
pub(crate) fn with_body(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let body = Full::new(body.into()).map_err(|never| match never {});
    let mut reply = Response::new(body.boxed_unsync());
    *reply.status_mut() = status;
    reply
}

/// `value` as JSON and a newline, which is how Go's encoder ends a document.
///
/// # Errors
/// 500 when the value cannot be written as JSON; the wire types all can.
pub(crate) fn json<T: Serialize + ?Sized>(
    status: StatusCode,
    value: &T,
) -> Result<Reply, ApiError> {
    let mut body = serde_json::to_vec(value)
        .map_err(|error| ApiError::internal(format!("could not encode the reply: {error}")))?;
    body.push(b'\n');
    let mut reply = with_body(status, body);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(reply)
}

/// [`json`] with status 200, as most handlers end.
///
/// # Errors
/// As [`json`].
pub(crate) fn ok<T: Serialize + ?Sized>(value: &T) -> Result<Outcome, ApiError> {
    Ok(json(StatusCode::OK, value)?.into())
}

/// Status 204, or 304 when there was nothing to do.
pub(crate) fn done() -> Result<Outcome, ApiError> {
    Ok(empty(StatusCode::NO_CONTENT).into())
}

/// A reply whose body comes piece by piece, until `stop`: one that has no end of its own would keep
/// the daemon from stopping.
pub(crate) fn stream<S>(stop: CancellationToken, content_type: HeaderValue, pieces: S) -> Reply
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let pieces = pieces.take_until(stop.cancelled_owned());
    let body = StreamBody::new(pieces.map(|piece| piece.map(Frame::data)));
    let mut reply = Response::new(body.boxed_unsync());
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// The answer to a path that only its clean form is asked for.
pub(crate) fn redirect(location: &str) -> Reply {
    let mut reply = empty(StatusCode::MOVED_PERMANENTLY);
    if let Ok(location) = HeaderValue::from_str(location) {
        reply.headers_mut().insert(LOCATION, location);
    }
    reply
}

/// The reply that tells of `error`.
pub(crate) fn refuse(error: &ApiError) -> Reply {
    let (body, content_type) = match error.form {
        Form::Json => {
            let body = ErrorResponse {
                message: error.message.clone(),
            };
            let mut body = serde_json::to_vec(&body).unwrap_or_default();
            body.push(b'\n');
            (body, JSON)
        }
        Form::Text => (format!("{}\n", error.message).into_bytes(), TEXT),
        Form::Stream => (
            format!("{}\r\n", error.message).into_bytes(),
            HeaderValue::from_static(RAW_STREAM),
        ),
    };
    let bodiless = error.status == StatusCode::NOT_MODIFIED;
    let mut reply = with_body(error.status, if bodiless { Vec::new() } else { body });
    if !bodiless {
        reply.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    if error.form == Form::Text {
        // Go's helper for such answers forbids browsers to guess.
        let header = http::header::X_CONTENT_TYPE_OPTIONS;
        let value = HeaderValue::from_static("nosniff");
        reply.headers_mut().insert(header, value);
    }
    reply
}

/// Puts the headers on a reply that dockerd puts on every reply of a known path.
pub(crate) fn sign(headers: &mut HeaderMap, server: &HeaderValue) {
    headers.insert(API_VERSION, HeaderValue::from_static(hull_api::API_VERSION));
    headers.insert(EXPERIMENTAL, HeaderValue::from_static("false"));
    headers.insert(OSTYPE, HeaderValue::from_static("linux"));
    headers.insert(http::header::SERVER, server.clone());
}
