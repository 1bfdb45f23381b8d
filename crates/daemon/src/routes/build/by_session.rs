//! `POST /build?version=2`: BuildKit's way of building for clients of before Docker 23, and for programs that speak no
//! gRPC. The context comes over the client's session, as the body, or as the body of a request beside this one; what
//! happens is told as BuildKit's own messages, in lines.

use super::{attributes, parameter};
use crate::buildkit::{ApiBuild, ApiStep};
use crate::error::ApiError;
use crate::query::Query;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hull_api::progress::{ErrorDetail, Message};
use serde_json::json;
use std::collections::BTreeMap;

/// What begins the id of a request that only brings a context, and is the place of one that came so.
pub(super) const UPLOAD: &str = "upload-request";

/// Builds, and tells.
pub(super) async fn build(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let name = query.text("buildid");
    if let Some(build) = name
        .strip_prefix(UPLOAD)
        .and_then(|rest| rest.strip_prefix(':'))
    {
        return upload(build.to_owned(), request).await;
    }
    let attributes = attributes(query)?;
    let (cache_from, exporter) = (cache_from(query)?, exporter(query)?);
    let name = match name {
        "" => format!("api-{}", request.app.buildkit.next_number()),
        name => name.to_owned(),
    };
    let (quiet, session) = (query.flag("q"), query.text("session").to_owned());
    let upload = match query.text("remote") {
        "" => {
            let body = crate::routes::archive::incoming(request.body);
            Some(request.app.engine.upload_context(body).await?)
        }
        UPLOAD => Some(request.app.buildkit.uploads().wait(&name).await?),
        _ => None,
    };
    let inline = attributes.get("build-arg:BUILDKIT_INLINE_CACHE");
    let build = ApiBuild {
        name,
        session,
        upload,
        inline_cache: inline.is_some_and(|value| matches!(value.as_str(), "1" | "true")),
        cache_from,
        exporter,
        attributes,
    };
    let steps = request.app.buildkit.build(&request.app.engine, build).await;
    let lines = steps.filter_map(move |step| {
        let message = told(step, quiet);
        std::future::ready(message.map(|message| crate::routes::pull::line(&message)))
    });
    Ok(reply::stream(request.app.shutdown.clone(), JSON, lines).into())
}

/// Takes a context for the build of that name, which is asked for beside this; answered when that has it.
async fn upload(build: String, request: Request) -> Result<Outcome, ApiError> {
    let place = request.app.buildkit.uploads().begin(build)?;
    let body = crate::routes::archive::incoming(request.body);
    let files = request.app.engine.upload_context(body).await?;
    place.give(files).await?;
    let mut reply = reply::empty(StatusCode::OK);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(reply.into())
}

/// A step as a line; `None` where nothing is said.
fn told(step: ApiStep, quiet: bool) -> Option<Message> {
    match step {
        ApiStep::Trace(_) if quiet => None,
        ApiStep::Trace(bytes) => Some(Message {
            id: "moby.buildkit.trace".to_owned(),
            aux: Some(json!(STANDARD.encode(bytes))),
            ..Message::default()
        }),
        ApiStep::Done(id) if quiet => id.map(|id| Message {
            stream: format!("{id}\n"),
            ..Message::default()
        }),
        ApiStep::Done(id) => id.map(|id| Message {
            id: "moby.image.id".to_owned(),
            aux: Some(json!({"ID": id})),
            ..Message::default()
        }),
        ApiStep::Failed(why) => Some(Message {
            error_detail: Some(ErrorDetail {
                message: why.clone(),
                ..ErrorDetail::default()
            }),
            error: why,
            ..Message::default()
        }),
    }
}

/// `["name"]`
pub(super) fn cache_from(query: &Query) -> Result<Vec<String>, ApiError> {
    let found = parameter(query, "cachefrom", "error reading cache-from")?;
    Ok(found.unwrap_or_default())
}

/// `[{"Type":"local","Attrs":{…}}]`; none is the image store.
pub(super) fn exporter(query: &Query) -> Result<(String, BTreeMap<String, String>), ApiError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Output {
        r#type: String,
        #[serde(default)]
        attrs: Option<BTreeMap<String, String>>,
    }
    let outputs: Option<Vec<Output>> = parameter(query, "outputs", "invalid outputs specified")?;
    let outputs = outputs.unwrap_or_default();
    if outputs.len() > 1 {
        return Err(ApiError::internal("multiple outputs not supported"));
    }
    let (kind, mut attributes) = match outputs.into_iter().next() {
        Some(output) => (output.r#type, output.attrs.unwrap_or_default()),
        None => ("moby".to_owned(), BTreeMap::new()),
    };
    let names = query.all("t").join(",");
    if matches!(kind.as_str(), "moby" | "image") && !names.is_empty() {
        attributes.insert("name".to_owned(), names);
    }
    Ok((kind, attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_what_becomes_of_it() {
        let query = Query::parse("t=a:1&t=b");
        let (kind, attributes) = exporter(&query).unwrap();
        assert_eq!(
            (kind.as_str(), attributes["name"].as_str()),
            ("moby", "a:1,b")
        );
        let query = Query::parse("t=a&outputs=%5B%7B%22Type%22%3A%22local%22%7D%5D");
        assert_eq!(
            exporter(&query).unwrap(),
            ("local".to_owned(), BTreeMap::new())
        );
        assert!(exporter(&Query::parse("outputs=x")).is_err());
        assert!(cache_from(&Query::parse("cachefrom=x")).is_err());
        let query = Query::parse("cachefrom=%5B%22a%22%5D");
        assert_eq!(cache_from(&query).unwrap(), ["a"]);
    }

    #[test]
    fn steps_are_lines() {
        let trace = told(ApiStep::Trace(vec![1, 2]), false).unwrap();
        assert_eq!(trace.aux, Some(json!("AQI=")));
        assert_eq!(told(ApiStep::Trace(vec![]), true), None);
        let done = told(ApiStep::Done(Some("sha256:a".to_owned())), true).unwrap();
        assert_eq!(done.stream, "sha256:a\n");
        let failed = told(ApiStep::Failed("no".to_owned()), false).unwrap();
        assert_eq!((failed.error.as_str(), failed.id.as_str()), ("no", ""));
    }
}
