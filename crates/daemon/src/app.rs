//! What all requests share, and the way of one request: version, route, handler, reply.

use crate::access::{self, Access, Answered, Audit, Origin};
use crate::buildkit::BuildKit;
use crate::config::{ContainerDefaults, Others};
use crate::error::{ApiError, Form};
use crate::metrics::Actions;
use crate::query::Query;
use crate::reply::{self, Held, Outcome};
use crate::request::Request;
use crate::router::{self, Route};
use crate::transport::Handover;
use crate::ui::Page;
use crate::version;
use http::{HeaderValue, StatusCode};
use hull_engine::Engine;

use hyper::body::Incoming;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the daemon's settings say to requests.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Whether the log is at debug level, for `docker info`.
    pub(crate) debug: bool,
    /// What containers get that say nothing themselves.
    pub(crate) containers: ContainerDefaults,
    /// The rest of what is shown.
    pub(crate) others: Others,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    /// Whether the host's control groups are version 2: some defaults differ.
    pub(crate) cgroup_v2: bool,
    /// What the settings say to requests; a reload replaces it.
    pub(crate) live: RwLock<Arc<Live>>,
    /// BuildKit's protocol.
    pub(crate) buildkit: BuildKit,
    /// How long what is done to containers takes.
    pub(crate) actions: Actions,
    /// The web page, if it is served.
    pub(crate) page: Option<Page>,
    /// What is answered.
    pub(crate) routes: &'static [Route],
    /// Scoped sockets.
    pub(crate) access: Access,
    /// Who has changed what.
    pub(crate) audit: Audit,
    /// The sockets that clients are accepted on.
    pub(crate) accepting: TaskTracker,
    /// The clients that are served.
    pub(crate) clients: TaskTracker,
    /// The requests that are worked on.
    pub(crate) work: TaskTracker,
    /// Cancelled when the daemon is to stop; streams end then.
    pub(crate) shutdown: CancellationToken,
    /// The `Server` header.
    pub(crate) server: HeaderValue,
}

impl App {
    /// The settings in force.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// hyper must not answer: the connection is taken over, and the `Handover` says by whom.
#[derive(Debug, thiserror::Error)]
#[error("the connection was taken over")]
pub(crate) struct TakenOver;

/// Answers one request by one of `routes`. Its work runs in a task of its own and to its end: a client that leaves
/// while a container is made must not leave half a container.
///
/// # Errors
/// [`TakenOver`], which ends hyper's part in the connection.
pub(crate) async fn answer(
    app: Arc<App>,
    routes: &'static [Route],
    handover: Arc<Handover>,
    origin: Arc<Origin>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Held>, TakenOver> {
    let method = request.method().clone();
    let uri = request.uri().clone();
    let target = uri.path();
    let started = std::time::Instant::now();
    let work = noted(Arc::clone(&app), routes, origin, request);
    let outcome = app.work.spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%method, target, %error, "a request's work broke off");
        reply::refuse(&ApiError::internal("internal error: see the daemon's log")).into()
    });
    let elapsed = started.elapsed();
    match outcome {
        Outcome::Reply(reply) => {
            tracing::debug!(%method, target, status = reply.status().as_u16(), ?elapsed, "answered");
            Ok(reply.map(|body| Held::new(body, handover.reply())))
        }
        Outcome::Hijack(hijack) => {
            tracing::debug!(%method, target, ?elapsed, "taken over");
            handover.leave(hijack);
            Err(TakenOver)
        }
    }
}

/// Does a request's work and notes it, whether or not the client is still there.
async fn noted(
    app: Arc<App>,
    routes: &'static [Route],
    origin: Arc<Origin>,
    request: http::Request<Incoming>,
) -> Outcome {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let started = std::time::Instant::now();
    let outcome = route(Arc::clone(&app), routes, Arc::clone(&origin), request).await;
    let status = match &outcome {
        Outcome::Reply(reply) => reply.status(),
        Outcome::Hijack(_) => StatusCode::SWITCHING_PROTOCOLS,
    };
    // Who takes a connection over can type.
    if access::changes(&method) || status == StatusCode::SWITCHING_PROTOCOLS {
        let answered = Answered {
            method: &method,
            uri: &uri,
            status,
            elapsed: started.elapsed(),
        };
        app.audit.note(&origin, &answered);
    }
    outcome
}

async fn route(
    app: Arc<App>,
    routes: &'static [Route],
    origin: Arc<Origin>,
    request: http::Request<Incoming>,
) -> Outcome {
    let Some(path) = percent_decode(request.uri().path()) else {
        let mut error = ApiError::bad_request("400 Bad Request");
        error.form = Form::Text;
        return reply::refuse(&error).into();
    };
    if let Some(location) = router::clean(&path) {
        return reply::redirect(&location).into();
    }
    let (version, path) = version::split(&path);
    let Some((route, name)) = router::find(routes, request.method(), path) else {
        return reply::refuse(&ApiError::not_found("page not found")).into();
    };
    let server = app.server.clone();
    let version = match version::negotiate(version) {
        Err(error) => return reply::refuse(&error.into()).into(),
        Ok(version) => version,
    };
    // Whether there is a daemon is answered at once, anything about containers when they are known.
    if route.pattern != "/_ping" {
        app.engine.ready().await;
    }
    let (parts, body) = request.into_parts();
    let began = std::time::Instant::now();
    let request = Request {
        app: Arc::clone(&app),
        origin,
        version,
        method: parts.method,
        path: path.to_owned(),
        name: name.to_owned(),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body,
    };
    let outcome = handle(route, request).await;
    let mut reply = match outcome {
        Ok(Outcome::Hijack(hijack)) => return Outcome::Hijack(hijack),
        Ok(Outcome::Reply(reply)) => {
            app.actions
                .observe(&route.method, route.pattern, began.elapsed());
            reply
        }
        Err(error) => {
            log(&error, path);
            let reply = reply::refuse(&error);
            if error.form != Form::Json {
                // Written past the place where dockerd puts its headers on.
                return reply.into();
            }
            reply
        }
    };
    reply::sign(reply.headers_mut(), &server);
    reply.into()
}

/// Lets the route's handler answer, if whoever asks may do so.
async fn handle(route: &Route, mut request: Request) -> Result<Outcome, ApiError> {
    let origin = Arc::clone(&request.origin);
    if let Some(grant) = &origin.door.grant {
        access::admit(grant, route, &mut request).await?;
    }
    (route.handler)(request).await
}

/// Failures of the daemon are for its log too; what clients did wrong is theirs to read.
fn log(error: &ApiError, path: &str) {
    if error.status.is_server_error() {
        tracing::error!(path, status = error.status.as_u16(), "{}", error.message);
    } else {
        tracing::debug!(path, status = error.status.as_u16(), "{}", error.message);
    }
}

/// The path that `text` stands for; `None` when a `%` is not followed by two hexadecimal digits or
/// the result is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// An application with these routes.
#[cfg(test)]
pub(crate) fn for_tests(routes: &'static [Route], root: &std::path::Path) -> Arc<App> {
    // It is in the machine's own network namespace, where a test leaves nothing.
    let mut network = hull_engine::network::NetworkConfig::default();
    "none".clone_into(&mut network.bridge.device);
    network.keep_forwarding = true;
    let engine = Engine::open(hull_engine::Config {
        data_root: root.join("data"),
        exec_root: root.join("run"),
        default_runtime: "hull-runtime".to_owned(),
        network,
        ..hull_engine::Config::default()
    });
    Arc::new(App {
        engine: engine.unwrap(),
        live: RwLock::default(),
        cgroup_v2: false,
        buildkit: BuildKit::default(),
        actions: Actions::default(),
        page: None,
        routes,
        access: Access::new(&root.join("data"), &root.join("run")),
        audit: Audit::default(),
        accepting: TaskTracker::new(),
        clients: TaskTracker::new(),
        work: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        server: HeaderValue::from_static("Docker/test (linux)"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_before_they_are_routed() {
        assert_eq!(
            percent_decode("/images/a%2Fb/json").as_deref(),
            Some("/images/a/b/json")
        );
        assert_eq!(percent_decode("/a+b").as_deref(), Some("/a+b"));
        for bad in ["/%", "/%2", "/%zz", "/%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }
}
