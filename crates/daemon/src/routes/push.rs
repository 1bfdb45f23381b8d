//! `POST /images/{name}/push`, and what a registry says of an image.

use super::image::platform;
use super::pull::{failure, line, message, who};
use crate::access;
use crate::config::parse_compression;
use crate::error::ApiError;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use futures_util::StreamExt;
use hull_api::progress::{Detail, Message};
use hull_engine::image::{Compression, PushRequest, PushStep};
use serde_json::json;

/// Pushes a tag, or all of a repository. Almost everything that can fail is told in the stream, as by
/// dockerd: its first line is written before it looks for the image.
pub(crate) async fn push(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let tag = query.text("tag");
    if let Some(grant) = request.grant() {
        access::reference(grant, &request.name, tag)?;
    }
    let separator = match tag {
        "" => "",
        tag if tag.contains(':') => "@",
        _ => ":",
    };
    let push = PushRequest {
        reference: format!("{}{separator}{tag}", request.name),
        platform: match query.text("platform") {
            text if request.version.since(46) && !text.is_empty() => Some(platform(text)?),
            _ => None,
        },
        credentials: who(&request.headers),
        compression: compression(query.text("compression"))?,
    };
    let progress = request.app.engine.push(push).await?;
    let lines = progress.map(|step| {
        line(&match step {
            Ok(PushStep::Progress(progress)) => message(progress),
            Ok(step) => aux(&step),
            Err(error) => failure(error.full_message()),
        })
    });
    Ok(reply::stream(request.app.shutdown.clone(), JSON, lines).into())
}

/// `GET /distribution/{name}/json`: the registry's answer, without pulling.
pub(crate) async fn distribution(request: Request) -> Result<Outcome, ApiError> {
    let who = who(&request.headers);
    let found = request.app.engine.distribution(&request.name, who).await?;
    let mut descriptor = json!({
        "mediaType": found.descriptor.media_type,
        "digest": found.descriptor.digest,
        "size": found.descriptor.size,
    });
    if !found.descriptor.annotations.is_empty() {
        descriptor["annotations"] = json!(found.descriptor.annotations);
    }
    // An artifact's is null, as dockerd's.
    let platforms = (!found.platforms.is_empty()).then_some(found.platforms);
    reply::ok(&json!({"Descriptor": descriptor, "Platforms": platforms}))
}

fn compression(text: &str) -> Result<Option<Compression>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || ApiError::bad_request(format!("invalid compression: {text}"));
    parse_compression(text).map(Some).ok_or_else(invalid)
}

fn aux(step: &PushStep) -> Message {
    let value = match step {
        PushStep::Pushed { tag, digest, size } => {
            json!({"Tag": tag, "Digest": digest, "Size": size})
        }
        PushStep::InsteadOfIndex { index, manifest } => json!({
            "manifestPushedInsteadOfIndex": true,
            "originalIndex": index,
            "selectedManifest": manifest,
        }),
        PushStep::Progress(_) => serde_json::Value::Null,
    };
    Message {
        progress_detail: Some(Detail::default()),
        aux: Some(value),
        ..Message::default()
    }
}
