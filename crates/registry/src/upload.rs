//! One blob on its way to a registry.
//!
//! ```text
//! POST uploads/ ─► Location ─► PUT the whole blob                   the usual way: one request
//!                     │              │ breaks: GET Location ─► Range: what arrived
//!                     │              ▼
//!                     └──► PATCH the rest, or a chunk of it ─► … ─► PUT ?digest=
//! ```
//!
//! A registry that takes no body of this size (413) gets chunks; one that lost the upload gets a new one.

use crate::body::{Part, Payload, Sent, Source, State};
use crate::document::text;
use crate::push::{Pusher, Upload};
use crate::retry::Backoff;
use crate::session::Call;
use crate::{Client, Error};
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use reqwest::{Method, Response, StatusCode, header};
use std::sync::Arc;
use url::Url;

/// An upload that breaks off again and again is not followed for ever.
const MAX_RESUMES: u32 = 64;
/// Chunks for registries that refuse a whole blob. Proxies' usual limits are 100 MB and 1 MB.
const CHUNKS: [u64; 2] = [16 << 20, 512 << 10];

impl Upload {
    /// Reads where an answer says the upload goes on.
    pub(crate) fn read(call: &Call, answer: &Response) -> Result<Self, Error> {
        let least = text(answer.headers(), "oci-chunk-min-length")
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        Ok(Self {
            url: location(call, answer)?,
            least,
        })
    }
}

/// `Location`, absolute or relative to the request.
fn location(call: &Call, answer: &Response) -> Result<Url, Error> {
    answer
        .headers()
        .get(header::LOCATION)
        .and_then(|value| answer.url().join(value.to_str().ok()?).ok())
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| {
            Error::Malformed(format!(
                "{} \"{}\": the registry names no usable place for the upload",
                call.verb, call.url
            ))
        })
}

/// How many bytes a registry has, by the `Range` of its answer: `0-99` is 100. `0-0` is what an
/// empty upload has, since the form has no way to say so.
pub(crate) fn received(range: &str) -> Option<u64> {
    let range = range.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    match range.split_once('-')? {
        ("0", "0") => Some(0),
        ("0", last) => last.parse::<u64>().ok()?.checked_add(1),
        _ => None,
    }
}

/// One blob's upload: what is known of it.
struct Transfer<'a> {
    pusher: &'a Pusher,
    blob: &'a Descriptor,
    source: &'a Arc<dyn Source>,
    sent: &'a Arc<Sent>,
    upload: Option<Upload>,
    /// Bytes that the registry has.
    position: u64,
    /// The size of chunks; 0: everything at once.
    chunk: u64,
    backoff: Backoff,
    resumes: u32,
}

impl Pusher {
    /// Stores a blob, going on with an upload that a mount has begun, if any. `sent` tells how far it is.
    ///
    /// # Errors
    /// [`Error`]; [`Error::UploadInterrupted`] when it broke off again and again.
    pub async fn upload(
        &self,
        blob: &Descriptor,
        source: &Arc<dyn Source>,
        begun: Option<Upload>,
        sent: &Arc<Sent>,
    ) -> Result<(), Error> {
        let mut transfer = Transfer {
            pusher: self,
            blob,
            source,
            sent,
            upload: begun,
            position: 0,
            chunk: 0,
            backoff: Backoff::new(self.client.config().retry),
            resumes: 0,
        };
        transfer.run().await
    }

    /// Takes back an upload that will not be finished. Only a courtesy: registries forget it by themselves.
    pub async fn cancel(&self, upload: Upload) {
        if self
            .client
            .refuse_downgrade(&self.endpoint.base, &upload.url)
            .is_err()
        {
            return;
        }
        let call = self.call(Method::GET, "Get", "").sending(
            Method::DELETE,
            "Delete",
            upload.url,
            Payload::None,
        );
        let patience = self.client.config().connect_timeout;
        let _ = tokio::time::timeout(patience, self.client.attempt(&call)).await;
    }
}

impl Transfer<'_> {
    fn client(&self) -> &Client {
        &self.pusher.client
    }

    async fn run(&mut self) -> Result<(), Error> {
        loop {
            let error = match self.step().await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    self.backoff.reset();
                    continue;
                }
                Err(error) => error,
            };
            if let Some(chunk) = self.smaller(&error) {
                self.chunk = chunk;
                self.restart();
                continue;
            }
            let lost = self.is_lost(&error);
            if !error.is_transient() && !lost {
                self.cancel().await;
                return Err(error);
            }
            self.pause(error).await?;
            if lost {
                self.restart();
            } else if self.find_out().await? {
                return Ok(());
            }
        }
    }

    /// Sends the next part. `true` when the registry has taken the blob.
    async fn step(&mut self) -> Result<bool, Error> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => self.begin().await?,
        };
        // Absolute locations are often wrong behind proxies: nothing is sent in the clear because of one.
        let home = &self.pusher.endpoint.base;
        self.client().refuse_downgrade(home, &upload.url)?;
        self.upload = Some(upload.clone());
        let left = self.blob.size - self.position;
        let whole = self.position == 0 && (self.chunk == 0 || left <= self.chunk);
        if left == 0 || whole {
            self.finish(&upload, left).await?;
            return Ok(true);
        }
        let length = match self.chunk {
            0 => left,
            chunk => chunk.max(upload.least).min(left),
        };
        let call = self.sending(Method::PATCH, "Patch", upload.url.clone(), length);
        let answer = self.client().attempt(&call).await?;
        let expected = self.position + length;
        self.upload = Some(Upload {
            least: upload.least,
            ..Upload::read(&call, &answer)?
        });
        // Without a word about it the registry has what was sent.
        let has = text(answer.headers(), "range").and_then(|range| received(&range));
        self.advance(has.unwrap_or(expected), expected)?;
        Ok(false)
    }

    /// Believes a position only between what the registry said before and what it was sent.
    fn advance(&mut self, has: u64, sent: u64) -> Result<(), Error> {
        if has < sent {
            self.resumes += 1;
        }
        if has <= self.position || has > sent || self.resumes > MAX_RESUMES {
            return Err(Error::Malformed(format!(
                "upload of {}: the registry claims to have {has} of {sent} bytes",
                self.blob.digest
            )));
        }
        self.position = has;
        Ok(())
    }

    async fn begin(&self) -> Result<Upload, Error> {
        let mut call = self.pusher.call(Method::POST, "Post", "blobs/uploads/");
        call.payload = Payload::Empty;
        let answer = self.client().attempt(&call).await?;
        Upload::read(&call, &answer)
    }

    fn sending(&self, method: Method, verb: &'static str, url: Url, length: u64) -> Call {
        let part = Part {
            source: Arc::clone(self.source),
            range: self.position..self.position + length,
            sent: Arc::clone(self.sent),
            state: Arc::new(State::default()),
            chunk: method == Method::PATCH,
        };
        self.pusher
            .call(Method::GET, "Get", "")
            .sending(method, verb, url, Payload::Part(part))
    }

    /// The last request: the digest, and all that is left.
    async fn finish(&self, upload: &Upload, left: u64) -> Result<(), Error> {
        let mut url = upload.url.clone();
        let digest = self.blob.digest.as_str();
        url.query_pairs_mut().append_pair("digest", digest);
        // Also with nothing left it is a part: the registry may take long to accept the blob.
        let call = self.sending(Method::PUT, "Put", url, left);
        let answer = self.client().attempt(&call).await?;
        let stored = text(answer.headers(), "docker-content-digest");
        match stored.map(|text| text.parse::<Digest>()) {
            Some(Ok(stored)) if stored != self.blob.digest => {
                Err(Error::DigestMismatch(stored.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Asks what the registry has of the upload. `true` when it has the whole blob already.
    async fn find_out(&mut self) -> Result<bool, Error> {
        let Some(upload) = self.upload.clone() else {
            return Ok(false);
        };
        let mut call = self.pusher.call(Method::GET, "Get", "");
        call.url = upload.url.clone();
        let client = self.client();
        match client.with_retries(|| client.attempt(&call)).await {
            Ok(answer) => {
                let has = text(answer.headers(), "range").and_then(|range| received(&range));
                match has {
                    Some(has) if has <= self.blob.size && has >= self.position => {
                        self.position = has;
                        let url = location(&call, &answer).unwrap_or(upload.url);
                        self.upload = Some(Upload { url, ..upload });
                    }
                    _ => self.restart(),
                }
                Ok(false)
            }
            // What the registry has is unknown, so nothing can be added to it.
            Err(error) if error.is_transient() => {
                self.restart();
                Ok(false)
            }
            // It may have been finished, with the answer lost on the way.
            Err(_) => {
                self.restart();
                self.pusher.has_blob(&self.blob.digest).await
            }
        }
    }

    fn restart(&mut self) {
        self.upload = None;
        self.position = 0;
        self.sent.set(0);
    }

    /// The chunk to try when a body was too large.
    fn smaller(&self, error: &Error) -> Option<u64> {
        if !error.is_status(StatusCode::PAYLOAD_TOO_LARGE.as_u16()) {
            return None;
        }
        let now = match self.chunk {
            0 => self.blob.size,
            chunk => chunk,
        };
        CHUNKS.into_iter().find(|chunk| *chunk < now)
    }

    /// Whether the registry no longer knows the upload, or knows it differently than it said: then
    /// only a new one helps.
    fn is_lost(&self, error: &Error) -> bool {
        match error {
            Error::Registry { code, .. } if code == "BLOB_UPLOAD_UNKNOWN" => true,
            Error::Registry { status: 404, .. } => self.upload.is_some(),
            Error::Registry { status: 416, .. } => true,
            Error::Registry { status: 400, .. } => self.position > 0,
            Error::Malformed(_) => self.position > 0,
            _ => false,
        }
    }

    async fn pause(&mut self, error: Error) -> Result<(), Error> {
        self.resumes += 1;
        let pause = match self.resumes {
            resumes if resumes > MAX_RESUMES => None,
            _ => self.backoff.next(error.retry_after()),
        };
        let Some(pause) = pause else {
            self.cancel().await;
            return Err(match error {
                Error::Transport { .. } => Error::UploadInterrupted {
                    digest: self.blob.digest.to_string(),
                    position: self.position,
                    size: self.blob.size,
                    reason: error.to_string(),
                },
                error => error,
            });
        };
        tracing::debug!(digest = %self.blob.digest, %error, ?pause, "upload broke off");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn cancel(&mut self) {
        if let Some(upload) = self.upload.take() {
            self.pusher.cancel(upload).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_range_is_read_or_refused(text in "\\PC{0,30}", first: u64, last: u64) {
            let _ = received(&text);
            let bytes = received(&format!("{first}-{last}"));
            prop_assert!(bytes.is_none_or(|bytes| first == 0 && bytes <= last.saturating_add(1)));
        }
    }

    #[test]
    fn ranges_count_from_nothing() {
        for (text, bytes) in [
            ("0-0", Some(0)),
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            (" 0-1 ", Some(2)),
            ("5-9", None),
            ("0-", None),
            ("-1", None),
            ("", None),
            ("0-18446744073709551615", None),
            ("0-99999999999999999999", None),
        ] {
            assert_eq!(received(text), bytes, "{text}");
        }
    }
}
