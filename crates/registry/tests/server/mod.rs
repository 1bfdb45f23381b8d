//! A registry that misbehaves on demand, in the test's own process.
#![allow(dead_code, reason = "each test program uses a part of it")]

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hull_registry::{Client, Config, Retry};
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

pub type Body = BoxBody<Bytes, io::Error>;
pub type Reply = hyper::Response<Body>;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
    pub bytes: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

type Handler = dyn Fn(&Seen, usize) -> Reply + Send + Sync;
/// After how many bytes of a request's body the connection breaks.
type Cut = dyn Fn(&Method, &str) -> Option<usize> + Send + Sync;

/// A server on loopback; `handler` gets each request below `/v2/` or elsewhere, and how many with the
/// same path came before it. `/v2/` itself is answered with 200.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start(handler: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::breaking(|_, _| None, handler).await
    }

    /// As [`Server::start`], with connections that `cut` breaks within a request; the handler gets what
    /// arrived, and its reply goes nowhere.
    pub async fn breaking(
        cut: impl Fn(&Method, &str) -> Option<usize> + Send + Sync + 'static,
        handler: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listening(None, cut, handler).await
    }

    /// As [`Server::start`], behind TLS, with a handler that answers `/v2/` too.
    pub async fn secured(
        tls: Arc<rustls::ServerConfig>,
        handler: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listening(Some(tls.into()), |_, _| None, handler).await
    }

    async fn listening(
        tls: Option<tokio_rustls::TlsAcceptor>,
        cut: impl Fn(&Method, &str) -> Option<usize> + Send + Sync + 'static,
        handler: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let cut: Arc<Cut> = Arc::new(cut);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Handler> = Arc::new(handler);
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, log, cut) = (handler.clone(), log.clone(), cut.clone());
                let tls = tls.clone();
                tokio::spawn(async move {
                    let probes = tls.is_some();
                    let service =
                        service_fn(|request| answer(request, &*handler, &*cut, probes, &log));
                    let server = hyper::server::conn::http1::Builder::new();
                    // Broken connections are what is being tested.
                    match tls {
                        None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let io = TokioIo::new(stream);
                                drop(server.serve_connection(io, service).await);
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// What came, without the probes of `/v2/`.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn reference(&self, rest: &str) -> hull_spec::Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    handler: &Handler,
    cut: &Cut,
    probes: bool,
    log: &Mutex<Vec<Seen>>,
) -> Result<Reply, io::Error> {
    let (parts, mut body) = request.into_parts();
    let limit = cut(&parts.method, parts.uri.path());
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        if limit.is_some_and(|limit| bytes.len() >= limit) {
            break;
        }
    }
    if let Some(limit) = limit {
        bytes.truncate(limit);
    }
    let seen = Seen {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&bytes).into_owned(),
        bytes: bytes.into(),
    };
    if seen.path == "/v2/" && !probes {
        return Ok(text(200, "{}"));
    }
    let before = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|other| other.path == seen.path).count();
        log.push(seen.clone());
        before
    };
    let reply = handler(&seen, before);
    match limit {
        Some(_) => Err(io::Error::other("broken on purpose")),
        None => Ok(reply),
    }
}

pub fn text(status: u16, body: impl Into<Bytes>) -> Reply {
    let body = Full::new(body.into())
        .map_err(|never| match never {})
        .boxed();
    let mut reply = Reply::new(body);
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    reply
}

pub fn with(mut reply: Reply, name: &'static str, value: &str) -> Reply {
    reply.headers_mut().insert(name, value.parse().unwrap());
    reply
}

pub fn failure(status: u16, code: &str, message: &str) -> Reply {
    text(
        status,
        format!(r#"{{"errors":[{{"code":"{code}","message":"{message}","detail":{{}}}}]}}"#),
    )
}

pub fn redirect(to: &str) -> Reply {
    with(text(307, ""), "location", to)
}

/// Sends `bytes`, then breaks the connection although more was promised.
pub fn broken(status: u16, bytes: Bytes, promised: usize) -> Reply {
    let data = stream::iter([Ok(Frame::data(bytes))]);
    let end = stream::once(async {
        // hyper writes what it has while it waits; an error at once would take the bytes with it.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        Err(io::Error::other("broken on purpose"))
    });
    let mut reply = Reply::new(BodyExt::boxed(StreamBody::new(data.chain(end))));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    with(reply, "content-length", &promised.to_string())
}

/// Sends for ever.
pub fn endless() -> Reply {
    let chunk = Bytes::from_static(&[b' '; 64 << 10]);
    let parts = stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
    Reply::new(BodyExt::boxed(StreamBody::new(parts)))
}

/// Sends `bytes` and then nothing, with the connection open.
pub fn stalled(bytes: Bytes) -> Reply {
    let parts = stream::iter([Ok(Frame::data(bytes))]).chain(stream::pending());
    Reply::new(BodyExt::boxed(StreamBody::new(parts)))
}

/// A blob as a good server sends it.
pub fn ranged(seen: &Seen, blob: &Bytes) -> Reply {
    let from = seen.header("range").and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    match from {
        Some(from) => with(
            text(206, blob.slice(from..)),
            "content-range",
            &format!("bytes {from}-{}/{}", blob.len() - 1, blob.len()),
        ),
        None => text(200, blob.clone()),
    }
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&sha2::Sha256::digest(bytes).into())
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest(bytes),
        size: bytes.len() as u64,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
    }
}

/// Settings whose waits are too short to notice.
pub fn config() -> Config {
    Config {
        retry: Retry {
            attempts: 3,
            base: Duration::from_millis(1),
            cap: Duration::from_millis(2),
            longest: Duration::from_secs(1),
        },
        stall_timeout: Duration::from_secs(20),
        ..Config::default()
    }
}

pub fn client() -> Client {
    Client::new(config())
}
