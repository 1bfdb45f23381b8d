//! Replies that go on: bytes, or one JSON document after another.

use super::Error;
use crate::json;
use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// The longest document of a JSON stream.
const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// A body that is read as it comes.
#[derive(Debug)]
pub struct Body {
    body: Incoming,
    /// Whether the daemon said that the bytes are framed; `None` when it did not say.
    pub multiplexed: Option<bool>,
}

impl Body {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        Self {
            multiplexed: super::hijack::multiplexed(response.headers()),
            body: response.into_body(),
        }
    }

    /// The next bytes, `None` at the end.
    ///
    /// # Errors
    /// [`Error::Body`] when the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Error::Body(error.into())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// A stream of JSON documents, as of a pull or of events.
#[derive(Debug)]
pub struct JsonLines<T> {
    body: Body,
    buffer: BytesMut,
    documents: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        Self {
            body: Body::new(response),
            buffer: BytesMut::new(),
            documents: PhantomData,
        }
    }

    /// The next document, `None` at the end.
    ///
    /// # Errors
    /// [`Error::Body`] when the connection breaks, [`Error::Decode`] when a document is none.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some((document, used)) = first_document(&self.buffer)? {
                self.buffer.advance(used);
                return Ok(Some(json::from_value(document).map_err(json::Error::from)?));
            }
            match self.body.chunk().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None if self.buffer.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => return Err(Error::UnexpectedEnd),
            }
            if self.buffer.len() > MAX_DOCUMENT_BYTES {
                return Err(Error::Body("a document of the stream is too long".into()));
            }
        }
    }
}

/// The first whole document in `bytes` and how many bytes it took. Documents need not be on lines.
fn first_document(bytes: &[u8]) -> Result<Option<(serde_json::Value, usize)>, json::Error> {
    let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter();
    match documents.next() {
        None => Ok(None),
        Some(Ok(document)) => Ok(Some((document, documents.byte_offset()))),
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(error)) => Err(json::Error::Syntax(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_cut_out_wherever_they_end() {
        let text = b"{\"a\":1}\r\n{\"b\":2} {\"c\"";
        let (first, used) = first_document(text).unwrap().unwrap();
        assert_eq!(first["a"], 1);
        let rest = &text[used..];
        let (second, used) = first_document(rest).unwrap().unwrap();
        assert_eq!(second["b"], 2);
        assert!(first_document(&rest[used..]).unwrap().is_none());
        assert!(first_document(b"  \r\n").unwrap().is_none());
        assert!(first_document(b"nonsense").is_err());
    }
}
