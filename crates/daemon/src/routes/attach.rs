//! `POST /containers/{id}/attach`.

use super::logs::Form;
use crate::detach::Detector;
use crate::error::ApiError;
use crate::hijack::{self, Ended, Hijack, Input, MULTIPLEXED_STREAM, RAW_STREAM, Session};
use crate::query::Query;
use crate::reply::Outcome;
use crate::request::Request;
use crate::transport::Socket;
use crate::version::ApiVersion;
use futures_util::StreamExt;
use hull_engine::Engine;
use hull_engine::container::{AttachOptions, Attached};
use hull_engine::logs::{LogOptions, Logs};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// What a stream's content is called: API 1.42 gave frames a name of their own.
pub(super) fn content_type(tty: bool, version: ApiVersion) -> &'static str {
    if tty || !version.since(42) {
        RAW_STREAM
    } else {
        MULTIPLEXED_STREAM
    }
}

/// Takes the connection over for a container's streams. Everything is set up before the reply's
/// head is sent: whoever has read it may start the container and misses nothing.
pub(crate) async fn attach(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let keys = Detector::parse(query.text("detachKeys"))
        .map_err(|error| ApiError::bad_request(error.to_string()).in_stream())?;
    let options = options(query);
    let engine = Arc::clone(&request.app.engine);
    let refused = |error: hull_engine::Error| ApiError::from(error).in_stream();
    let Wanted { attached, log, tty } = prepare(&engine, &request.name, options)
        .await
        .map_err(refused)?;
    let input = Input {
        detach: (tty && options.stdin).then_some(keys),
        // dockerd ends the session at containers whose input stays open for others too, and loses what
        // the process answers. Here the output goes on: whoever wants no more of it closes.
        ends_session: options.stdin && tty,
    };
    let name = request.name.clone();
    let session: Session = Box::new(move |client, read_too_far| {
        Box::pin(async move {
            let Some((client, process)) = begin(client, log, attached).await else {
                return;
            };
            if hijack::join(client, read_too_far, process, input).await == Ended::Detached {
                engine.detached(&name);
            }
        })
    });
    let content_type = content_type(tty, request.version);
    Ok(Outcome::Hijack(Hijack::new(
        request.upgrade(),
        content_type,
        session,
    )))
}

/// What a client that attaches gets.
pub(super) struct Wanted {
    pub(super) attached: Option<Attached>,
    pub(super) log: Option<Logs>,
    pub(super) tty: bool,
}

/// Sets up what `options` ask for.
pub(super) async fn prepare(
    engine: &Arc<Engine>,
    name: &str,
    options: AttachOptions,
) -> hull_engine::Result<Wanted> {
    // Attached before the log is read: a line may come twice then, but none is lost.
    let attached = match options.stream {
        true => Some(engine.attach(name, options).await?),
        false => None,
    };
    let log = match options.logs && (options.stdout || options.stderr) {
        true => Some(engine.logs(name, past(options)).await?),
        false => None,
    };
    let tty = match (&attached, &log) {
        (Some(attached), _) => attached.tty,
        (None, Some(log)) => log.tty,
        (None, None) => engine.inspect(name, false).await?.config.tty,
    };
    Ok(Wanted { attached, log, tty })
}

pub(super) fn options(query: &Query) -> AttachOptions {
    AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
    }
}

/// Writes the log and waits for the process; `None` when that was all.
async fn begin(
    mut client: Socket,
    log: Option<Logs>,
    attached: Option<Attached>,
) -> Option<(Socket, UnixStream)> {
    // A client that is gone needs nothing more.
    replay(log, &mut client).await.ok()?;
    if let Some(attached) = attached {
        match attached.stream.await {
            Ok(process) => return Some((client, process)),
            Err(error) => {
                tracing::debug!(error = error.full_message(), "nothing to attach to");
            }
        }
    }
    // The client waits for the end; that it may be gone does not matter.
    let _ = client.shutdown().await;
    None
}

/// The part of the log that an attached client asks for: all there is.
fn past(options: AttachOptions) -> LogOptions {
    LogOptions {
        stdout: options.stdout,
        stderr: options.stderr,
        ..LogOptions::default()
    }
}

/// Writes what the log holds.
async fn replay(log: Option<Logs>, client: &mut Socket) -> std::io::Result<()> {
    let Some(log) = log else { return Ok(()) };
    let form = Form {
        timestamps: false,
        details: false,
        framed: !log.tty,
    };
    let mut pieces = log.pieces(move |line, out| form.write(line, out));
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => client.write_all(&piece).await?,
            Err(error) => tracing::warn!(error = error.full_message(), "could not read a log"),
        }
    }
    Ok(())
}
