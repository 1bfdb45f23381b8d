//! Processes in running containers.

use super::attach::content_type;
use super::container::terminal_size;
use crate::access;
use crate::detach::Detector;
use crate::error::ApiError;
use crate::hijack::{self, Ended, Hijack, Input, Session};
use crate::reframe::reframe;
use crate::reply::{self, Outcome};
use crate::request::Request;
use bytes::BytesMut;
use http::StatusCode;
use hull_api::exec::{
    ExecCreateRequest, ExecCreateResponse, ExecInspect, ExecProcessConfig, ExecStartRequest,
};
use hull_api::stream::{self, StreamKind};
use hull_engine::exec::{ExecConfig, ExecStart};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

/// `POST /containers/{id}/exec`.
pub(crate) async fn create(mut request: Request) -> Result<Outcome, ApiError> {
    let wanted: ExecCreateRequest = request.json_or_default().await?;
    if let Some(grant) = request.grant() {
        access::limits::exec(grant, &wanted)?;
    }
    let args = wanted.cmd.unwrap_or_default();
    if args.is_empty() {
        return Err(ApiError::bad_request("No exec command specified"));
    }
    if Detector::parse(&wanted.detach_keys).is_err() {
        return Err(ApiError::internal(format!(
            "Invalid escape keys ({}) provided",
            wanted.detach_keys
        )));
    }
    let config = ExecConfig {
        args,
        env: wanted.env.unwrap_or_default(),
        working_dir: wanted.working_dir,
        user: wanted.user,
        privileged: wanted.privileged,
        tty: wanted.tty,
        stdin: wanted.attach_stdin,
        stdout: wanted.attach_stdout,
        stderr: wanted.attach_stderr,
        detach_keys: wanted.detach_keys,
        console_size: console_size(wanted.console_size.filter(|_| request.version.since(42)))?,
    };
    let id = request
        .app
        .engine
        .exec_create(&request.name, config)
        .await?;
    Ok(reply::json(StatusCode::CREATED, &ExecCreateResponse { id })?.into())
}

fn console_size(size: Option<[u32; 2]>) -> Result<Option<(u16, u16)>, ApiError> {
    let Some([rows, columns]) = size.filter(|size| *size != [0, 0]) else {
        return Ok(None);
    };
    match (u16::try_from(rows), u16::try_from(columns)) {
        (Ok(rows), Ok(columns)) => Ok(Some((rows, columns))),
        _ => Err(ApiError::bad_request(format!(
            "invalid console size: {rows} rows, {columns} columns"
        ))),
    }
}

/// `POST /exec/{id}/start`: takes the connection over, unless the client wants to hear nothing.
pub(crate) async fn start(mut request: Request) -> Result<Outcome, ApiError> {
    let wanted: ExecStartRequest = request.json_or_default().await?;
    // Without a terminal there is nothing that has a size, and before API 1.42 there was no such member.
    let sized = wanted.tty && !wanted.detach && request.version.since(42);
    let size = wanted.console_size.filter(|_| sized);
    let start = ExecStart {
        detach: wanted.detach,
        console_size: console_size(size)?,
    };
    let engine = Arc::clone(&request.app.engine);
    let exec = engine.exec_inspect(&request.name).await?;
    if wanted.detach {
        engine.exec_start(&exec.id, start).await?;
        return Ok(reply::empty(StatusCode::OK).into());
    }
    let detach = if exec.config.tty && exec.config.stdin {
        let keys = Detector::parse(&exec.config.detach_keys);
        Some(keys.map_err(|error| ApiError::bad_request(error.to_string()))?)
    } else {
        None
    };
    let input = Input {
        ends_session: detach.is_some(),
        detach,
    };
    // Whether there are frames is what the start says, as with dockerd.
    let (terminal, tty) = (exec.config.tty, wanted.tty);
    let session: Session = Box::new(move |mut client, read_too_far| {
        Box::pin(async move {
            // From here on a failure can only be told in the stream, as dockerd does.
            match engine.exec_start(&exec.id, start).await {
                Ok(Some(process)) => {
                    let process = match terminal == tty {
                        true => process,
                        false => reframe(process, terminal),
                    };
                    let ended = hijack::join(client, read_too_far, process, input).await;
                    if ended == Ended::Detached {
                        engine.exec_detached(&exec.id);
                    }
                    return;
                }
                Ok(None) => {}
                Err(error) => {
                    let line = failure(&error.full_message(), tty);
                    // The client may be gone; nobody else wants to know.
                    let _ = client.write_all(&line).await;
                }
            }
            let _ = client.shutdown().await;
        })
    });
    let content_type = content_type(tty, request.version);
    let hijack = Hijack::new(request.upgrade(), content_type, session);
    Ok(Outcome::Hijack(hijack.signed(&request.app.server)))
}

/// A failure as the only output of the process that did not start.
fn failure(message: &str, tty: bool) -> BytesMut {
    let line = format!("{message}\r\n");
    let mut bytes = BytesMut::new();
    if tty {
        bytes.extend_from_slice(line.as_bytes());
    } else {
        stream::encode(StreamKind::Stdout, line.as_bytes(), &mut bytes);
    }
    bytes
}

/// `POST /exec/{id}/resize`.
pub(crate) async fn resize(request: Request) -> Result<Outcome, ApiError> {
    let (rows, columns) = terminal_size(&request)?;
    request
        .app
        .engine
        .exec_resize(&request.name, rows, columns)
        .await?;
    Ok(reply::empty(StatusCode::OK).into())
}

/// `GET /exec/{id}/json`.
pub(crate) async fn inspect(request: Request) -> Result<Outcome, ApiError> {
    let exec = request.app.engine.exec_inspect(&request.name).await?;
    let config = exec.config;
    let mut args = config.args.into_iter();
    reply::ok(&ExecInspect {
        id: exec.id,
        running: exec.running,
        exit_code: exec.exit_code.map(Into::into),
        process_config: ExecProcessConfig {
            tty: config.tty,
            entrypoint: args.next().unwrap_or_default(),
            arguments: args.collect(),
            privileged: Some(config.privileged),
            user: exec.user,
        },
        open_stdin: config.stdin,
        open_stderr: config.stderr,
        open_stdout: config.stdout,
        can_remove: false,
        container_id: exec.container_id,
        detach_keys: Some(config.detach_keys),
        pid: exec.pid.into(),
    })
}
