//! What a request carries: nothing, a document, or a part of a blob that is read while it is sent.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::{Body, RequestBuilder, header};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where an upload's bytes come from. It is asked again, from another byte, when a connection broke.
pub trait Source: Send + Sync + fmt::Debug {
    /// The bytes from `offset` to the end.
    fn read_from(&self, offset: u64) -> BoxStream<'static, io::Result<Bytes>>;
}

impl Source for Bytes {
    fn read_from(&self, offset: u64) -> BoxStream<'static, io::Result<Bytes>> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.len());
        stream::iter([Ok(self.slice(start..))]).boxed()
    }
}

/// How far an upload has come, for those who watch it.
#[derive(Debug, Default)]
pub struct Sent(AtomicU64);

impl Sent {
    /// Bytes of the blob that were handed to the connection. It goes back when a connection breaks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// A part of a blob on its way.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) range: Range<u64>,
    pub(crate) sent: Arc<Sent>,
    pub(crate) state: Arc<State>,
    /// Whether the position is told in `Content-Range`, as chunks have it.
    pub(crate) chunk: bool,
}

/// What the body says of itself while it is sent.
#[derive(Debug, Default)]
pub(crate) struct State {
    ended: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl State {
    /// Whether the last byte was handed out.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Why the source could not be read, if that is what broke the request.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A body begins, perhaps once more: after a redirect or a request for credentials.
    fn begin(&self, ended: bool) {
        self.ended.store(ended, Ordering::Relaxed);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn fail(&self, why: String) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

/// The body of a request.
#[derive(Clone, Debug, Default)]
pub(crate) enum Payload {
    #[default]
    None,
    /// A body of no bytes, said to be so: some servers want `Content-Length: 0`.
    Empty,
    Document {
        media_type: String,
        bytes: Bytes,
    },
    Part(Part),
}

impl Payload {
    pub(crate) fn attach(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::None => request,
            Self::Empty => request.header(header::CONTENT_LENGTH, 0).body(Bytes::new()),
            Self::Document { media_type, bytes } => request
                .header(header::CONTENT_TYPE, media_type)
                .body(bytes.clone()),
            Self::Part(part) => {
                let mut request = request
                    .header(header::CONTENT_TYPE, "application/octet-stream")
                    .header(header::CONTENT_LENGTH, part.range.end - part.range.start);
                if part.chunk {
                    let last = part.range.end.saturating_sub(1);
                    let range = format!("{}-{last}", part.range.start);
                    request = request.header(header::CONTENT_RANGE, range);
                }
                request.body(part.body())
            }
        }
    }

    pub(crate) fn part(&self) -> Option<&Part> {
        match self {
            Self::Part(part) => Some(part),
            _ => None,
        }
    }
}

impl Part {
    fn body(&self) -> Body {
        struct Reading {
            bytes: BoxStream<'static, io::Result<Bytes>>,
            position: u64,
            part: Part,
        }
        self.sent.set(self.range.start);
        self.state.begin(self.range.is_empty());
        if self.range.is_empty() {
            return Body::from(Bytes::new());
        }
        let reading = Reading {
            bytes: self.source.read_from(self.range.start),
            position: self.range.start,
            part: self.clone(),
        };
        Body::wrap_stream(stream::try_unfold(reading, |mut reading| async move {
            let part = &reading.part;
            let left = part.range.end - reading.position;
            if left == 0 {
                part.state.ended.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            let read = reading.bytes.next().await;
            let part = &reading.part;
            let mut bytes = match read {
                Some(Ok(bytes)) => bytes,
                Some(Err(error)) => {
                    part.state.fail(error.to_string());
                    return Err(error);
                }
                None => {
                    let why = format!(
                        "the content ends at byte {} of {}",
                        reading.position, part.range.end
                    );
                    part.state.fail(why.clone());
                    return Err(io::Error::other(why));
                }
            };
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            reading.position += bytes.len() as u64;
            part.sent.set(reading.position);
            if reading.position == part.range.end {
                part.state.ended.store(true, Ordering::Relaxed);
            }
            Ok(Some((bytes, reading)))
        }))
    }
}
