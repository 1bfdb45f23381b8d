//! Blobs: a stream that goes on by itself where a connection broke.

use crate::reason::transport;
use crate::retry::Backoff;
use crate::session::Call;
use crate::{Client, Error};
use bytes::{Buf as _, Bytes};
use futures_util::stream::{self, Stream};
use hull_spec::image::Descriptor;
use reqwest::{Response, StatusCode, header};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A blob on its way: a stream of its bytes from [`Blob::offset`] on, in order and complete unless
/// it ends with an error. Who stores the bytes verifies their digest.
pub struct Blob {
    offset: u64,
    size: u64,
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>,
}

impl Blob {
    /// The position of the first byte: what was asked for, or 0 when the server ignores ranges.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the whole blob in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("offset", &self.offset)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Stream for Blob {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(cx)
    }
}

/// A server that drops every connection after some bytes is not followed for ever.
const MAX_RESUMES: u32 = 64;

struct Transfer {
    client: Client,
    call: Call,
    digest: String,
    size: u64,
    /// The next byte to hand out.
    position: u64,
    /// How many bytes of the current answer come before it.
    ahead: u64,
    response: Option<Response>,
    backoff: Backoff,
    resumes: u32,
}

impl Client {
    /// Opens a blob at `call.from`.
    pub(crate) async fn open_blob(&self, call: Call, blob: &Descriptor) -> Result<Blob, Error> {
        let (size, mut offset, mut response) = (blob.size, call.from.min(blob.size), None);
        if offset < size || size == 0 {
            let answer = self.with_retries(|| self.attempt(&call)).await?;
            offset = first_byte(&call, &answer)?;
            response = Some(answer);
        }
        let transfer = Transfer {
            client: self.clone(),
            call,
            digest: blob.digest.to_string(),
            size,
            position: offset,
            ahead: 0,
            response,
            backoff: Backoff::new(self.config().retry),
            resumes: 0,
        };
        let stream = stream::try_unfold(transfer, |mut transfer| async move {
            Ok(transfer.next().await?.map(|bytes| (bytes, transfer)))
        });
        Ok(Blob {
            offset,
            size,
            stream: Box::pin(stream),
        })
    }
}

impl Transfer {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(response) = &mut self.response else {
                return Ok(None);
            };
            let reason = match response.chunk().await {
                Ok(Some(bytes)) => match self.accept(bytes)? {
                    Some(bytes) => return Ok(Some(bytes)),
                    None => continue,
                },
                Ok(None) if self.position == self.size => return Ok(None),
                Ok(None) => "unexpected EOF".to_owned(),
                Err(error) => transport("Get", &self.call.url, &error).to_string(),
            };
            // Every byte is here; that the connection then broke harms nobody.
            if self.position == self.size {
                return Ok(None);
            }
            self.resume(reason).await?;
        }
    }

    /// Drops what was handed out before; refuses more than the descriptor promises.
    fn accept(&mut self, mut bytes: Bytes) -> Result<Option<Bytes>, Error> {
        let skipped = usize::try_from(self.ahead)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        bytes.advance(skipped);
        self.ahead -= skipped as u64;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.position += bytes.len() as u64;
        if self.position > self.size {
            return Err(Error::TooLarge {
                what: format!("blob {}", self.digest),
                limit: self.size,
            });
        }
        self.backoff.reset();
        Ok(Some(bytes))
    }

    /// Asks for the rest.
    async fn resume(&mut self, mut reason: String) -> Result<(), Error> {
        self.response = None;
        let mut asked = None;
        loop {
            let pause = self.backoff.next(asked);
            let (Some(pause), true) = (pause, self.resumes < MAX_RESUMES) else {
                return Err(Error::Interrupted {
                    digest: self.digest.clone(),
                    position: self.position,
                    size: self.size,
                    reason,
                });
            };
            tracing::debug!(
                digest = self.digest,
                self.position,
                reason,
                "resuming a blob"
            );
            self.resumes += 1;
            tokio::time::sleep(pause).await;
            self.call.from = self.position;
            match self.client.attempt(&self.call).await {
                Ok(response) => {
                    let first = first_byte(&self.call, &response)?;
                    self.ahead = self.position - first;
                    self.response = Some(response);
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    asked = error.retry_after();
                    reason = error.to_string();
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Where an answer begins: at the byte asked for, or at 0 when the range was ignored.
fn first_byte(call: &Call, response: &Response) -> Result<u64, Error> {
    if call.from == 0 || response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(0);
    }
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let first = range
        .strip_prefix("bytes ")
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(first, _)| first.trim().parse::<u64>().ok());
    match first {
        Some(first) if first == call.from => Ok(first),
        _ => Err(Error::Malformed(format!(
            "Get \"{}\": asked for bytes from {}, got the range \"{range}\"",
            call.url, call.from
        ))),
    }
}
