//! `POST /hull/system/check`.

use crate::error::ApiError;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use bytes::Bytes;
use futures_util::StreamExt;
use hull_api::check::{Finding, Message, Progress, Summary};
use hull_engine::check::{CheckItem, CheckOptions};

/// Checks the store, a JSON document a line. A client that leaves ends it.
pub(crate) async fn check(request: Request) -> Result<Outcome, ApiError> {
    let options = CheckOptions {
        repair: request.query.flag("repair"),
        young: request.query.flag("young"),
    };
    let items = request.app.engine.check(options)?;
    let lines = items.map(|item| {
        let mut line = serde_json::to_vec(&message(item))?;
        line.push(b'\n');
        Ok(Bytes::from(line))
    });
    Ok(reply::stream(request.app.shutdown.clone(), JSON, lines).into())
}

fn message(item: hull_engine::Result<CheckItem>) -> Message {
    let mut message = Message::default();
    match item {
        Ok(CheckItem::Progress(done, total)) => message.progress = Some(Progress { done, total }),
        Ok(CheckItem::Found(found)) => {
            message.finding = Some(Finding {
                problem: found.problem.to_owned(),
                object: found.object.to_owned(),
                id: found.id,
                detail: found.detail,
                repaired: found.repaired,
                repair: found.repair,
            });
        }
        Ok(CheckItem::Done(checked)) => {
            message.summary = Some(Summary {
                images: checked.images,
                layers: checked.layers,
                containers: checked.containers,
                bytes: checked.bytes,
            });
        }
        Err(error) => message.error = error.full_message(),
    }
    message
}
