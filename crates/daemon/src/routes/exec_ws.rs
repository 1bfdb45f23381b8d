//! `GET /hull/exec/{id}/ws`: starts a process in a container and carries its streams over a websocket, for the web page.

use super::attach_ws::{Talk, accept, over_websocket};
use crate::error::ApiError;
use crate::hijack::{Hijack, Session};
use crate::reply::Outcome;
use crate::request::Request;
use futures_util::SinkExt as _;
use hull_engine::exec::ExecStart;
use hull_ui::guard::PROTOCOL;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Message;

/// Starts the process and takes the connection over.
pub(crate) async fn start(request: Request) -> Result<Outcome, ApiError> {
    let accept = accept(&request.headers)?;
    let engine = Arc::clone(&request.app.engine);
    let exec = engine.exec_inspect(&request.name).await?;
    let mut talk = Talk::plain(exec.config.tty);
    let session: Session = Box::new(move |client, read_too_far| {
        Box::pin(async move {
            let mut web = over_websocket(client, &read_too_far).await;
            match engine.exec_start(&exec.id, ExecStart::default()).await {
                Ok(Some(process)) => {
                    talk.join(&mut web, process).await;
                }
                Ok(None) => {}
                Err(error) => {
                    // The client may be gone; nobody else wants to know.
                    let _ = web.send(Message::text(error.full_message())).await;
                }
            }
            let _ = web.close(None).await;
        })
    });
    Ok(Outcome::Hijack(Hijack::websocket(
        &accept,
        Some(PROTOCOL),
        session,
    )))
}
