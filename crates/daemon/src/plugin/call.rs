//! One request to a plugin.

use super::discover::Address;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The most bytes of an answer.
const MAX_ANSWER: usize = 16 << 20;

/// The protocol's version.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

/// Who speaks with one plugin.
#[derive(Debug)]
pub(super) struct Client(Address);

impl Client {
    pub(super) fn new(address: Address) -> Self {
        Self(address)
    }

    /// Sends one request and gives the answer's body. Blocking; it has a thread of its own, so that it
    /// does not matter from where it is called.
    ///
    /// # Errors
    /// What went wrong, with the method before it.
    pub(super) fn post(
        &self,
        method: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<Bytes, String> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let asked = std::thread::scope(|scope| {
            let work = || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| error.to_string())?;
                runtime.block_on(async {
                    match tokio::time::timeout(patience, self.ask(method, body)).await {
                        Ok(answer) => answer,
                        Err(_) => Err(format!("no answer within {} seconds", patience.as_secs())),
                    }
                })
            };
            let thread = scope.spawn(work);
            thread
                .join()
                .unwrap_or_else(|_| Err("the request failed".to_owned()))
        });
        asked.map_err(|why| format!("{method}: {why}"))
    }

    async fn ask(&self, method: &str, body: String) -> Result<Bytes, String> {
        let text = |error: io::Error| error.to_string();
        match &self.0 {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(text)?;
                exchange(stream, "localhost", method, body).await
            }
            Address::Tcp(host) => {
                let stream = TcpStream::connect(host).await.map_err(text)?;
                exchange(stream, host, method, body).await
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    method: &str,
    body: String,
) -> Result<Bytes, String> {
    let text = |error: hyper::Error| error.to_string();
    let stream = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(text)?;
    tokio::spawn(connection);
    let request = http::Request::post(format!("/{method}"))
        .header(http::header::HOST, host)
        .header(http::header::ACCEPT, MEDIA_TYPE)
        .header(http::header::CONTENT_TYPE, MEDIA_TYPE)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(text)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    // An error comes as an object with `Err`, or as words.
    let said: Option<Value> = serde_json::from_slice(&body).ok();
    let said = said.and_then(|said| said["Err"].as_str().map(str::to_owned));
    let words = said.unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
    Err(if words.is_empty() {
        status.to_string()
    } else {
        words
    })
}
