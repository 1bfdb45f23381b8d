//! A client of the Docker Engine API, for the command line and for tests.
//!
//! Made for short lives: nothing is sent that was not asked for (no ping first), connections are
//! made when needed and used again, and everything runs on a current-thread runtime. The API
//! version is ours until a daemon says that it is too new, then the daemon's.
//!
//! The methods of each noun are in a file of that noun; this one has what they stand on.

mod access;
mod archive;
mod build;
mod checkpoint;
mod container;
mod endpoint;
mod exec;
mod files;
mod hijack;
mod image;
mod lines;
mod manifest;
mod network;
mod query;
mod system;
mod transport;
mod volume;

pub use archive::{CommitOptions, ImportOptions, Upload, no_upload, upload};
pub use container::{AttachOptions, ListOptions, LogsOptions, WaitCondition, Waiting};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use hijack::{Hijacked, Socket};
pub use image::{EncodedAuth, ImageListOptions, PushOptions, encoded};
pub use lines::{Body, JsonLines};
pub use query::Target;
pub use system::AuthReply;

use crate::error::ErrorResponse;
use crate::json;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Mutex;

/// The most bytes of one JSON reply: a list of ten thousand containers has about 15 MB.
const MAX_REPLY_BYTES: usize = 256 * 1024 * 1024;

/// What can go wrong between asking and knowing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at the endpoint.
    #[error("could not connect to {endpoint}")]
    Connect {
        /// Where we tried.
        endpoint: Endpoint,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
        /// Why no daemon could be started, where that was tried.
        start: Option<std::io::Error>,
    },
    /// The daemon answered with an error; the text is its own.
    #[error("{message}")]
    Daemon {
        /// The HTTP status.
        status: StatusCode,
        /// The `message` of the reply.
        message: String,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("error during connect: {method} {path}")]
    Http {
        /// The request.
        method: Method,
        /// The request.
        path: String,
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
    /// The request cannot be written as HTTP.
    #[error("invalid request for {path}")]
    Request {
        /// The request.
        path: String,
        /// What is wrong with it.
        #[source]
        source: http::Error,
    },
    /// A body broke off or was too long.
    #[error("error reading the reply")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A reply is not the JSON it should be.
    #[error("error decoding the reply")]
    Decode(#[from] json::Error),
    /// A body could not be encoded.
    #[error("error encoding the request")]
    Encode(#[source] serde_json::Error),
    /// The daemon did not hand over the connection.
    #[error("unable to upgrade to tcp, received {0}")]
    NotUpgraded(u16),
    /// The daemon's stream ended before its answer.
    #[error("unexpected EOF")]
    UnexpectedEnd,
}

impl Error {
    /// The status the daemon answered with, if it answered.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Daemon { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the daemon does not know the object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }
}

/// A body to send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    bytes: Bytes,
    json: bool,
    /// An extra header, such as credentials.
    header: Option<(&'static str, String)>,
}

impl Payload {
    pub(crate) fn json<T: Serialize>(value: &T) -> Result<Self, Error> {
        Ok(Self {
            bytes: serde_json::to_vec(value).map_err(Error::Encode)?.into(),
            json: true,
            header: None,
        })
    }

    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into(),
            ..Self::default()
        }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: Option<String>) -> Self {
        self.header = value.map(|value| (name, value));
        self
    }
}

/// Starts a daemon where none answers; returns when it does.
pub type Starter = Box<dyn Fn() -> std::io::Result<()> + Send + Sync>;

/// Makes a connection that the endpoint alone does not describe, such as one through TLS or `ssh`: a socket whose other
/// end somebody copies to the daemon and back.
pub type Dialer = Box<dyn Fn() -> std::io::Result<std::os::unix::net::UnixStream> + Send + Sync>;

/// A connection pool to one daemon.
pub struct Client {
    endpoint: Endpoint,
    /// The API version in use, and whether it was fixed by the user.
    version: Mutex<String>,
    fixed_version: bool,
    user_agent: String,
    /// Sent with every request.
    headers: http::HeaderMap,
    dialer: Option<Dialer>,
    idle: transport::Idle,
    /// Taken by the first connection that fails.
    starter: Mutex<Option<Starter>>,
    /// Why it could not start one.
    start_error: Mutex<Option<std::io::Error>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that will connect when first used. `version` fixes the API version.
    #[must_use]
    pub fn new(endpoint: Endpoint, version: Option<String>, user_agent: &str) -> Self {
        Self {
            endpoint,
            fixed_version: version.is_some(),
            version: Mutex::new(version.unwrap_or_else(|| crate::API_VERSION.to_owned())),
            user_agent: user_agent.to_owned(),
            headers: http::HeaderMap::new(),
            dialer: None,
            idle: transport::Idle::default(),
            starter: Mutex::new(None),
            start_error: Mutex::new(None),
        }
    }

    /// Has `starter` called, once, when nobody answers on the unix socket.
    #[must_use]
    pub fn on_absence(self, starter: Starter) -> Self {
        *lock(&self.starter) = Some(starter);
        self
    }

    /// Has `dialer` make the connections.
    #[must_use]
    pub fn dialing(mut self, dialer: Dialer) -> Self {
        self.dialer = Some(dialer);
        self
    }

    /// Sends these headers with every request. Those that are no headers are left out, and the client's own count more.
    #[must_use]
    pub fn with_headers<'a>(
        mut self,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        for (name, value) in headers {
            let name = name.parse::<http::HeaderName>();
            if let (Ok(name), Ok(value)) = (name, value.parse()) {
                self.headers.append(name, value);
            }
        }
        self
    }

    /// The daemon's address.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether the daemon is on this machine.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self.endpoint, Endpoint::Unix(_))
    }

    /// The API version in use.
    #[must_use]
    pub fn api_version(&self) -> String {
        lock(&self.version).clone()
    }

    fn path(&self, target: &Target) -> String {
        format!("/v{}{}", self.api_version(), target.as_str())
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        payload: &Payload,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let host = match &self.endpoint {
            Endpoint::Unix(_) => "docker",
            Endpoint::Tcp(authority) => authority,
            // As Docker's client calls it.
            Endpoint::Ssh(_) => "docker.example.com",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, &self.user_agent);
        if payload.json {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some((name, value)) = &payload.header {
            request = request.header(*name, value);
        }
        let mut request = request
            .body(Full::new(payload.bytes.clone()))
            .map_err(|source| Error::Request {
                path: path.to_owned(),
                source,
            })?;
        let own = request.headers_mut();
        for (name, value) in &self.headers {
            // `User-Agent` may be the user's own; what the message needs may not.
            if !own.contains_key(name) || name == header::USER_AGENT {
                own.insert(name, value.clone());
            }
        }
        Ok(request)
    }

    /// Sends, and turns error statuses into [`Error::Daemon`]. A daemon that is older than we are
    /// says so; then the request is made again in its version.
    pub(crate) async fn send(
        &self,
        method: Method,
        target: &Target,
        payload: Payload,
    ) -> Result<Response<Incoming>, Error> {
        loop {
            let path = self.path(target);
            let request = self.request(&method, &path, &payload)?;
            let response = self.round_trip(request, &method, &path).await?;
            if response.status().as_u16() < 400 {
                return Ok(response);
            }
            let error = self.daemon_error(response).await;
            if !self.step_back(&error) {
                return Err(error);
            }
        }
    }

    /// Takes over the version of a daemon that called ours too new; true when that changed anything.
    fn step_back(&self, error: &Error) -> bool {
        let Error::Daemon { status, message } = error else {
            return false;
        };
        if self.fixed_version || *status != StatusCode::BAD_REQUEST {
            return false;
        }
        let Some((_, rest)) = message.split_once("Maximum supported API version is ") else {
            return false;
        };
        let supported = rest.trim();
        let mut version = lock(&self.version);
        if *version == supported || supported.is_empty() {
            return false;
        }
        supported.clone_into(&mut version);
        true
    }

    async fn daemon_error(&self, response: Response<Incoming>) -> Error {
        let status = response.status();
        let message = match read_body(response).await {
            Ok(body) => match json::from_slice::<ErrorResponse>(&body) {
                Ok(reply) if !reply.message.is_empty() => reply.message,
                _ => String::from_utf8_lossy(&body).trim().to_owned(),
            },
            Err(error) => return error,
        };
        let message = if message.is_empty() {
            format!(
                "request returned {} for API route and version {}, check if the server supports the requested API version",
                status.canonical_reason().unwrap_or("an error"),
                self.endpoint
            )
        } else {
            message
        };
        Error::Daemon { status, message }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, target: &Target) -> Result<T, Error> {
        Ok(json::from_slice(&self.get_raw(target).await?)?)
    }

    /// The bytes of a reply, for commands that show what the daemon said.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn get_raw(&self, target: &Target) -> Result<Bytes, Error> {
        read_body(self.send(Method::GET, target, Payload::default()).await?).await
    }

    pub(crate) async fn post(&self, target: &Target, payload: Payload) -> Result<Bytes, Error> {
        read_body(self.send(Method::POST, target, payload).await?).await
    }
}

/// Reads a whole body, which also gives its connection back.
async fn read_body(response: Response<Incoming>) -> Result<Bytes, Error> {
    Limited::new(response.into_body(), MAX_REPLY_BYTES)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(Error::Body)
}

/// A poisoned lock holds what it held before the panic; the values behind ours are always whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
