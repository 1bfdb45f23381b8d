//! The web page: its listener, and what it may ask of the API.

pub(crate) mod watch;

use crate::access::{self, Answered, Origin};
use crate::app::{self, App, TakenOver};
use crate::error::ApiError;
use crate::listen::Listener;
use crate::reply::{self, Held, Reply};
use crate::routes::PAGE_ROUTES;
use crate::transport::Handover;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use hull_ui::guard::{self, Ask, Verdict};
use hull_ui::token::{self, Token};
use hyper::body::Incoming;
use ring::rand::{SecureRandom, SystemRandom};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use watch::Watch;

/// The page of this daemon.
#[derive(Debug)]
pub(crate) struct Page {
    token: Token,
    /// What its charts show.
    pub(crate) watch: Arc<Watch>,
}

impl Page {
    /// The page, with the token and the history that are kept in these directories.
    ///
    /// # Errors
    /// When one of them cannot be read or written.
    pub(crate) fn open(data_root: &Path, exec_root: &Path) -> io::Result<Self> {
        let mut random = [0; token::BYTES];
        let none = |_| io::Error::other("no random numbers for the page's token");
        SystemRandom::new().fill(&mut random).map_err(none)?;
        Ok(Self {
            token: Token::kept(&exec_root.join("ui.token"), random)?,
            watch: Arc::new(Watch::open(&data_root.join("history"))?),
        })
    }

    /// Binds the page's address, and says in the log what to open.
    ///
    /// # Errors
    /// When it is taken.
    pub(crate) async fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        let told = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("could not serve the page at {address}: {error}"),
            )
        };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(told)?;
        tracing::info!(
            "the page is at http://{address}/#token={}",
            self.token.reveal()
        );
        Ok(Listener::Tcp {
            listener,
            tls: None,
        })
    }
}

/// Answers one request of the page's listener.
///
/// # Errors
/// [`TakenOver`], as [`app::answer`].
pub(crate) async fn answer(
    app: Arc<App>,
    handover: Arc<Handover>,
    origin: Arc<Origin>,
    mut request: http::Request<Incoming>,
) -> Result<Response<Held>, TakenOver> {
    let verdict = match &app.page {
        Some(page) => guard::judge(&ask(&request), &page.token),
        None => Verdict::Refused(404, "page not found"),
    };
    let reply = match verdict {
        Verdict::Asset(asset) => {
            let mut reply = reply::with_body(StatusCode::OK, asset.content);
            let kind = HeaderValue::from_static(asset.media_type);
            reply.headers_mut().insert(CONTENT_TYPE, kind);
            reply
        }
        Verdict::Refused(status, why) => {
            note_refused(&app, &origin, &request, status);
            refuse(status, why)
        }
        Verdict::Api => match below(request.uri()) {
            Some(uri) => {
                *request.uri_mut() = uri;
                let mut reply = app::answer(app, PAGE_ROUTES, handover, origin, request).await?;
                protect(reply.headers_mut());
                return Ok(reply);
            }
            None => refuse(400, "not a path"),
        },
    };
    let mut reply = reply.map(|body| Held::new(body, handover.reply()));
    protect(reply.headers_mut());
    Ok(reply)
}

/// Writes down who was kept from changing something.
fn note_refused(app: &App, origin: &Origin, request: &http::Request<Incoming>, status: u16) {
    let method = request.method();
    let uri = request.uri();
    if access::changes(method) || uri.path().ends_with("/ws") {
        let answered = Answered {
            method,
            uri,
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN),
            elapsed: Duration::ZERO,
        };
        app.audit.note(origin, &answered);
    }
}

fn ask(request: &http::Request<Incoming>) -> Ask<'_> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    Ask {
        method: request.method().as_str(),
        path: request.uri().path(),
        // An absolute URI has its own.
        host: request
            .uri()
            .authority()
            .map_or_else(|| header("host"), |name| Some(name.as_str())),
        origin: header("origin"),
        fetch_site: header("sec-fetch-site"),
        authorization: header("authorization"),
        protocols: header("sec-websocket-protocol"),
    }
}

fn refuse(status: u16, why: &str) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    reply::refuse(&ApiError::new(status, why))
}

/// The API's path of a path on the page's listener.
fn below(uri: &Uri) -> Option<Uri> {
    let target = uri.path_and_query()?.as_str();
    let rest = target.strip_prefix(guard::API)?;
    format!("/{rest}").parse().ok()
}

fn protect(headers: &mut HeaderMap) {
    for (name, value) in guard::HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_below_a_directory() {
        let path = |text: &str| below(&text.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(
            path("/api/containers/json?all=1").as_deref(),
            Some("/containers/json?all=1")
        );
        assert_eq!(path("/api//x").as_deref(), Some("//x"));
        assert_eq!(path("/apis"), None);
    }
}
