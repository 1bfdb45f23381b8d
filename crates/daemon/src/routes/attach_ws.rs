//! `GET /containers/{id}/attach/ws`: a container's streams over a websocket, RFC 6455.
//!
//! Each message is bytes as they are: output of both kinds in the order in which it came, without Docker's frames,
//! and input. What a browser can say of itself is bounded, and an answer waits until it is taken.

use super::attach::{Wanted, prepare};
use super::logs::Form;
use crate::detach::Detector;
use crate::error::ApiError;
use crate::hijack::{Hijack, Session};
use crate::reply::Outcome;
use crate::request::Request;
use crate::transport::Socket;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use hull_api::stream::Decoder;
use hull_engine::logs::Logs;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// The longest message of a client, bytes.
const MAX_MESSAGE: usize = 1 << 20;
/// The bytes that are made a message at most: what a pipe holds by default, pipe(7).
const PIECE: usize = 64 << 10;

pub(super) type Web = WebSocketStream<Socket>;

/// Takes the connection over for a container's streams.
pub(crate) async fn attach(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let keys = Detector::parse(query.text("detachKeys"))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let engine = Arc::clone(&request.app.engine);
    engine.inspect(&request.name, false).await?;
    let accept = accept(&request.headers)?;
    let mut options = super::attach::options(query);
    if !request.version.since(42) {
        // Clients could not choose.
        (options.stdin, options.stdout, options.stderr) = (true, true, true);
    }
    let wanted = prepare(&engine, &request.name, options).await?;
    let talk = Talk {
        // A text message must be text: what is none is lost.
        binary: request.version.since(28),
        keys: (wanted.tty && options.stdin).then_some(keys),
        stdin: options.stdin,
        tty: wanted.tty,
    };
    let name = request.name.clone();
    let session: Session = Box::new(move |client, read_too_far| {
        Box::pin(async move {
            let mut web = over_websocket(client, &read_too_far).await;
            if talk.run(&mut web, wanted).await == Some(Left::ByKeys) {
                engine.detached(&name);
            }
            // The client may be gone.
            let _ = web.close(None).await;
        })
    });
    Ok(Outcome::Hijack(Hijack::websocket(&accept, None, session)))
}

/// The connection of a client whose request was answered.
pub(super) async fn over_websocket(client: Socket, read_too_far: &[u8]) -> Web {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let read = read_too_far.to_vec();
    WebSocketStream::from_partially_read(client, read, Role::Server, Some(limits)).await
}

/// The proof that this is a server of websockets: section 4.2.2.
///
/// # Errors
/// 400 for a request that is not the beginning of one.
pub(super) fn accept(headers: &HeaderMap) -> Result<String, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let lists = |name, word: &str| {
        text(name).is_some_and(|value| {
            value
                .split(',')
                .any(|one| one.trim().eq_ignore_ascii_case(word))
        })
    };
    if !lists("upgrade", "websocket") || !lists("connection", "upgrade") {
        return Err(ApiError::bad_request("not websocket protocol"));
    }
    if text("sec-websocket-version") != Some("13") {
        return Err(ApiError::bad_request(
            "missing or bad WebSocket Version: 13 is supported",
        ));
    }
    let key = text("sec-websocket-key").map(str::trim);
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Err(ApiError::bad_request("mismatch challenge/response"));
    };
    let proof = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Ok(STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, proof.as_bytes())))
}

/// Why a session ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The client went away.
    Away,
    /// It typed the detach keys.
    ByKeys,
}

/// How bytes are passed on.
pub(super) struct Talk {
    binary: bool,
    keys: Option<Detector>,
    stdin: bool,
    tty: bool,
}

impl Talk {
    /// Of a process with input, without keys to leave it by.
    pub(super) fn plain(tty: bool) -> Self {
        Self {
            binary: true,
            keys: None,
            stdin: true,
            tty,
        }
    }

    async fn run(mut self, web: &mut Web, wanted: Wanted) -> Option<Left> {
        if let Some(log) = wanted.log
            && self.replay(web, log).await.is_err()
        {
            return Some(Left::Away);
        }
        match wanted.attached?.stream.await {
            Ok(process) => self.join(web, process).await,
            Err(error) => {
                tracing::debug!(error = error.full_message(), "nothing to attach to");
                None
            }
        }
    }

    fn message(&self, bytes: Bytes) -> Message {
        if self.binary {
            Message::Binary(bytes)
        } else {
            Message::text(String::from_utf8_lossy(&bytes).into_owned())
        }
    }

    async fn replay(&self, web: &mut Web, log: Logs) -> Result<(), Left> {
        let form = Form {
            timestamps: false,
            details: false,
            framed: false,
        };
        let mut pieces = log.pieces(move |line, out| form.write(line, out));
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => self.send(web, piece).await?,
                Err(error) => tracing::warn!(error = error.full_message(), "could not read a log"),
            }
        }
        Ok(())
    }

    async fn send(&self, web: &mut Web, bytes: Bytes) -> Result<(), Left> {
        let sent = web.send(self.message(bytes)).await;
        sent.map_err(|_| Left::Away)
    }

    pub(super) async fn join(&mut self, web: &mut Web, mut process: UnixStream) -> Option<Left> {
        let mut buffer = vec![0; PIECE];
        let mut frames = Decoder::new();
        loop {
            tokio::select! {
                read = process.read(&mut buffer) => {
                    let Ok(length @ 1..) = read else { return None };
                    if self.output(web, &buffer[..length], &mut frames).await.is_err() {
                        return Some(Left::Away);
                    }
                }
                message = web.next() => {
                    let bytes = match message {
                        Some(Ok(Message::Binary(bytes))) => bytes,
                        Some(Ok(Message::Text(text))) => text.into(),
                        // Pings are answered by the library.
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Some(Left::Away),
                    };
                    if self.input(&mut process, &bytes).await {
                        return Some(Left::ByKeys);
                    }
                }
            }
        }
    }

    async fn output(&self, web: &mut Web, bytes: &[u8], frames: &mut Decoder) -> Result<(), Left> {
        if self.tty {
            return self.send(web, Bytes::copy_from_slice(bytes)).await;
        }
        frames.push(bytes);
        while let Some((_, piece)) = frames.next_chunk().map_err(|_| Left::Away)? {
            self.send(web, piece).await?;
        }
        Ok(())
    }

    /// Passes input on; `true` when it ends with the detach keys.
    async fn input(&mut self, process: &mut UnixStream, bytes: &[u8]) -> bool {
        if !self.stdin {
            return false;
        }
        let (bytes, detached) = match &mut self.keys {
            Some(keys) => keys.feed(bytes),
            None => (bytes.to_vec(), false),
        };
        // A process that takes no more input still has something to say.
        let _ = process.write_all(&bytes).await;
        detached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_handshake_is_that_of_the_standard() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            assert!(accept(&headers).is_err());
            headers.insert(name, HeaderValue::from_static(value));
        }
        // Section 1.3.
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
