//! `GET /events`.

use crate::access;
use crate::convert::time;
use crate::error::ApiError;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use bytes::Bytes;
use futures_util::StreamExt;
use hull_api::event::{Actor, Event as WireEvent};
use hull_api::json;
use hull_engine::event::{Event, EventOptions};
use std::io;
use std::sync::Arc;

/// Tells what happens, a JSON document a line, until the client leaves or `until` has come.
pub(crate) async fn events(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let since = time::parse(query.text("since"))?;
    let until = time::parse(query.text("until"))?;
    if let (Some(from), Some(to)) = (since, until)
        && from > to
    {
        let (since, until) = (query.text("since"), query.text("until"));
        return Err(ApiError::bad_request(format!(
            "`since` time ({since}) cannot be after `until` time ({until})"
        )));
    }
    let options = EventOptions {
        since,
        until,
        filters: query.filters()?.0,
    };
    let origin = Arc::clone(&request.origin);
    let events = request.app.engine.events(options)?;
    let lines = events.filter_map(move |event| {
        let grant = origin.door.grant.as_deref();
        let told = grant.is_none_or(|grant| access::sees_event(grant, &event));
        std::future::ready(told.then(|| line(event)))
    });
    Ok(reply::stream(request.app.shutdown.clone(), JSON, lines).into())
}

fn line(event: Event) -> io::Result<Bytes> {
    let mut line = json::to_vec_escaped(&convert(event))?;
    line.push(b'\n');
    Ok(Bytes::from(line))
}

fn convert(event: Event) -> WireEvent {
    // The members of API 1.21 and before; dockerd still writes them for containers and images.
    let old = matches!(event.kind, "container" | "image");
    let from = match event.kind {
        "container" => event.attributes.get("image").cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let nanoseconds = event.at.as_nanosecond();
    WireEvent {
        status: if old {
            event.action.clone()
        } else {
            String::new()
        },
        id: if old { event.id.clone() } else { String::new() },
        from,
        kind: event.kind.to_owned(),
        action: event.action,
        actor: Actor {
            id: event.id,
            attributes: event.attributes,
        },
        scope: "local".to_owned(),
        time: event.at.as_second(),
        time_nano: i64::try_from(nanoseconds).unwrap_or(i64::MAX),
    }
}
