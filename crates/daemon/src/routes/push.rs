//! `POST /images/{name}/push`, and what a registry says of an image.

use super::pull::{credentials, decode_auth, failure, line, message};
use crate::config::parse_compression;
use crate::error::ApiError;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use futures_util::StreamExt;
use http::HeaderMap;
use hull_api::progress::{Detail, Message};
use hull_engine::Platform;
use hull_engine::image::{Compression, Credentials, PushRequest, PushStep};
use serde_json::json;

/// Pushes a tag, or all of a repository. Almost everything that can fail is told in the stream, as by
/// dockerd: its first line is written before it looks for the image.
pub(crate) async fn push(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let tag = query.text("tag");
    let separator = match tag {
        "" => "",
        tag if tag.contains(':') => "@",
        _ => ":",
    };
    let push = PushRequest {
        reference: format!("{}{separator}{tag}", request.name),
        platform: match request.version.since(46) {
            true => platform(query.text("platform"))?,
            false => None,
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

/// Who asks. A header that cannot be read is nobody: dockerd lets the registry refuse.
fn who(headers: &HeaderMap) -> Credentials {
    let header = headers.get("x-registry-auth");
    let text = header.and_then(|value| value.to_str().ok());
    decode_auth(text.unwrap_or_default())
        .and_then(credentials)
        .unwrap_or_default()
}

fn compression(text: &str) -> Result<Option<Compression>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || ApiError::bad_request(format!("invalid compression: {text}"));
    parse_compression(text).map(Some).ok_or_else(invalid)
}

/// A platform as JSON, which the API has here and nowhere else in this form.
fn platform(text: &str) -> Result<Option<Platform>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    hull_api::json::from_slice(text.as_bytes())
        .map(Some)
        .map_err(|error| ApiError::bad_request(format!("failed to parse platform: {error}")))
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
