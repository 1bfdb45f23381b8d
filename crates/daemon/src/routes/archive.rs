//! Images and containers into and out of archives.

use super::pull::{bar, failure, line};
use crate::access;
use crate::error::ApiError;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hull_api::container::{Change, CommitResponse, Config as WireConfig};
use hull_api::progress::{Detail, Message};
use hull_engine::Platform;
use hull_engine::container::{ChangeKind, CommitRequest};
use hull_engine::image::{ContainerConfig, ImportRequest, LoadStep, shown_url};
use hull_engine::stream::{Incoming, Outgoing};
use hyper::body::{Body as _, Incoming as HttpBody};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub(super) const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// How much is read of an upload that was refused: 1 GiB.
const MAX_UNREAD: usize = 1 << 30;
/// How often an import's bar moves.
const STEP: Duration = Duration::from_millis(100);

/// `GET /images/get`.
pub(crate) async fn save(request: Request) -> Result<Outcome, ApiError> {
    let names = all(&request, "names");
    save_names(request, names).await
}

/// `GET /images/{name}/get`.
pub(crate) async fn save_one(request: Request) -> Result<Outcome, ApiError> {
    let names = vec![request.name.clone()];
    save_names(request, names).await
}

async fn save_names(request: Request, names: Vec<String>) -> Result<Outcome, ApiError> {
    let platform = platform(&request)?;
    let archive = request.app.engine.save(names, platform).await?;
    sent(&request, TAR, archive).await
}

/// `GET /containers/{id}/export`.
pub(crate) async fn export(request: Request) -> Result<Outcome, ApiError> {
    let archive = request.app.engine.export(&request.name).await?;
    sent(&request, OCTETS, archive).await
}

fn all(request: &Request, name: &str) -> Vec<String> {
    let values = request.query.all(name).into_iter();
    values.map(str::to_owned).collect()
}

/// The one platform that may be asked for.
fn platform(request: &Request) -> Result<Option<Platform>, ApiError> {
    let mut platforms = request.query.all("platform").into_iter();
    let mut platforms = platforms.by_ref().filter(|text| !text.is_empty());
    let Some(first) = platforms.next() else {
        return Ok(None);
    };
    if platforms.next().is_some() {
        let text = "multiple platform parameters not supported";
        return Err(ApiError::bad_request(text));
    }
    Ok(Some(super::image::platform(first)?))
}

/// An archive as the reply. What fails before its first bytes is told by the status; later only the
/// connection can tell, by breaking off.
pub(super) async fn sent(
    request: &Request,
    content_type: HeaderValue,
    mut archive: Outgoing,
) -> Result<Outcome, ApiError> {
    let first = match archive.next().await {
        Some(Err(error)) => return Err(error.into()),
        first => first,
    };
    let pieces = stream::iter(first).chain(archive).map(|piece| {
        piece.map_err(|error| {
            tracing::warn!(error = error.full_message(), "an archive broke off");
            io::Error::other(error.full_message())
        })
    });
    Ok(reply::stream(request.app.shutdown.clone(), content_type, pieces).into())
}

/// `POST /images/load`. Whatever goes wrong is told in the stream.
pub(crate) async fn load(request: Request) -> Result<Outcome, ApiError> {
    let platform = platform(&request)?;
    // Only what clients say counts: without the parameter dockerd is quiet, and they always send it.
    let quiet = request.query.given("quiet").is_none() || request.query.flag("quiet");
    let engine = &request.app.engine;
    let shutdown = request.app.shutdown.clone();
    let steps = engine.load(incoming(request.body), platform, quiet);
    let lines = steps.map(|step| {
        line(&match step {
            Ok(LoadStep::Layer { id, current, total }) => {
                progress("Loading layer", &id, current, total)
            }
            Ok(LoadStep::Said(text)) => Message {
                stream: text,
                ..Message::default()
            },
            Err(error) => failure(error.full_message()),
        })
    });
    Ok(reply::stream(shutdown, JSON, lines).into())
}

fn progress(status: &str, id: &str, current: u64, total: u64) -> Message {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Message {
        status: status.to_owned(),
        id: id.to_owned(),
        progress: bar((current, total)),
        progress_detail: Some(Detail {
            current: number(current),
            total: number(total),
            ..Detail::default()
        }),
        ..Message::default()
    }
}

/// A body as it comes. One that is given up early is read on into nothing for a while: a client that
/// finds the connection closed while it sends never looks at the answer.
struct Arriving(Option<HttpBody>);

impl Stream for Arriving {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(body) = &mut self.0 else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => {
                    self.0 = None;
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                None => self.0 = None,
            }
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(mut body) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                let mut left = MAX_UNREAD;
                while let Some(Ok(frame)) = body.frame().await {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    match left.checked_sub(length) {
                        Some(rest) => left = rest,
                        None => return,
                    }
                }
            });
        }
    }
}

pub(super) fn incoming(body: HttpBody) -> Incoming {
    Arriving(Some(body)).boxed()
}

/// `POST /images/create?fromSrc=`: from the body (`-`) or a URL.
pub(crate) async fn import(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let source = query.text("fromSrc").to_owned();
    let message = match query.text("message") {
        // The history is for everybody: it has no URL's password.
        "" if source.contains('@') => format!("Imported from {}", shown_url(&source)),
        "" => format!("Imported from {source}"),
        message => message.to_owned(),
    };
    let platform = query.text("platform");
    let wanted = ImportRequest {
        repository: query.text("repo").to_owned(),
        tag: query.text("tag").to_owned(),
        message,
        changes: all(&request, "changes"),
        platform: (!platform.is_empty()).then(|| platform.to_owned()),
    };
    let engine = request.app.engine.clone();
    if source == "-" {
        let id = engine.import(wanted, incoming(request.body)).await?;
        let said = line(&status(id.as_str()));
        let said = stream::iter([said]);
        return Ok(reply::stream(request.app.shutdown.clone(), JSON, said).into());
    }
    engine.check_import(&wanted)?;
    let (length, bytes) = engine.fetch_import(&source).await?;
    let (told, messages) = mpsc::channel(16);
    let bytes = counted(bytes, length, told.clone());
    tokio::spawn(async move {
        let message = match engine.import(wanted, bytes).await {
            Ok(id) => status(id.as_str()),
            Err(error) => failure(error.full_message()),
        };
        // Who left need not know.
        let _ = told.send(message).await;
    });
    let messages = stream::unfold(messages, |mut messages| async move {
        messages.recv().await.map(|message| (message, messages))
    });
    let first = status(&format!("Downloading from {}", shown_url(&source)));
    let lines = stream::iter([first]).chain(messages).map(|m| line(&m));
    Ok(reply::stream(request.app.shutdown.clone(), JSON, lines).into())
}

fn status(text: &str) -> Message {
    Message {
        status: text.to_owned(),
        ..Message::default()
    }
}

/// The same bytes, with a bar; they end when nobody looks at that any more.
fn counted(bytes: Incoming, length: Option<u64>, told: mpsc::Sender<Message>) -> Incoming {
    let mut current = 0;
    let mut last = Instant::now();
    bytes
        .map(move |piece| {
            let piece = piece?;
            current += piece.len() as u64;
            if told.is_closed() {
                return Err(io::Error::other("the client left"));
            }
            let whole = length == Some(current);
            if whole || last.elapsed() >= STEP {
                last = Instant::now();
                let total = length.unwrap_or_default();
                // A bar that does not move for a client that does not read is no loss.
                let _ = told.try_send(progress("Importing", "", current, total));
            }
            Ok(piece)
        })
        .boxed()
}

/// `POST /commit`.
pub(crate) async fn commit(mut request: Request) -> Result<Outcome, ApiError> {
    let config: Option<WireConfig> = if request.has_body() {
        request.json().await?
    } else {
        None
    };
    let query = &request.query;
    let text = |name: &str| query.text(name).to_owned();
    let container = match request.grant() {
        Some(grant) => {
            access::reference(grant, query.text("repo"), query.text("tag"))?;
            access::container(grant, &request.app.engine, query.text("container")).await?
        }
        None => text("container"),
    };
    let wanted = CommitRequest {
        container,
        repository: text("repo"),
        tag: text("tag"),
        comment: text("comment"),
        author: text("author"),
        // Clients of API 1.12 and before did not know it: it is on unless switched off.
        pause: query.given("pause").is_none() || query.flag("pause"),
        changes: all(&request, "changes"),
        config: config.map(image_config).transpose()?,
    };
    let id = request.app.engine.commit(wanted).await?;
    let reply = CommitResponse { id: id.to_string() };
    Ok(reply::json(StatusCode::CREATED, &reply)?.into())
}

/// The part of a container's config that an image has too; the members have the same names.
fn image_config(config: WireConfig) -> Result<ContainerConfig, ApiError> {
    let unreadable = |error| ApiError::bad_request(format!("invalid config: {error}"));
    let value = serde_json::to_value(config).map_err(unreadable)?;
    serde_json::from_value(value).map_err(unreadable)
}

/// `GET /containers/{id}/changes`: `null` when there are none.
pub(crate) async fn changes(request: Request) -> Result<Outcome, ApiError> {
    let changes = request.app.engine.changes(&request.name).await?;
    if changes.is_empty() {
        return reply::ok(&None::<Vec<Change>>);
    }
    let changes: Vec<Change> = changes
        .into_iter()
        .map(|change| Change {
            path: String::from_utf8_lossy(&change.path).into_owned(),
            kind: match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            },
        })
        .collect();
    reply::ok(&changes)
}
