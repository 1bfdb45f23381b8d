//! `POST /build?version=2`: BuildKit's way of building for clients of before Docker 23. The context comes over the
//! client's session; what happens is told as BuildKit's own messages, in lines.

use super::attributes;
use crate::buildkit::{ApiBuild, ApiStep};
use crate::convert;
use crate::error::ApiError;
use crate::query::Query;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use hull_api::progress::{ErrorDetail, Message};
use serde_json::json;
use std::collections::BTreeMap;

/// What begins the id of a request that only brings a context.
const UPLOAD: &str = "upload-request";

/// Builds, and tells.
pub(super) async fn build(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let name = query.text("buildid");
    if name.starts_with(UPLOAD) || query.text("remote") == UPLOAD {
        return Err(convert::unsupported(
            "contexts from standard input by BuildKit's protocol of before Docker 23",
        ));
    }
    let attributes = attributes(query)?;
    let inline = attributes.get("build-arg:BUILDKIT_INLINE_CACHE");
    let build = ApiBuild {
        name: match name {
            "" => format!("api-{}", request.app.buildkit.next_number()),
            name => name.to_owned(),
        },
        session: query.text("session").to_owned(),
        inline_cache: inline.is_some_and(|value| matches!(value.as_str(), "1" | "true")),
        cache_from: cache_from(query)?,
        exporter: exporter(query)?,
        attributes,
    };
    let quiet = query.flag("q");
    let steps = request.app.buildkit.build(&request.app.engine, build).await;
    let lines = steps.filter_map(move |step| {
        let message = told(step, quiet);
        std::future::ready(message.map(|message| crate::routes::pull::line(&message)))
    });
    Ok(reply::stream(request.app.shutdown.clone(), JSON, lines).into())
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
fn cache_from(query: &Query) -> Result<Vec<String>, ApiError> {
    match query.text("cachefrom") {
        "" | "null" => Ok(Vec::new()),
        text => serde_json::from_str(text).map_err(|error| {
            ApiError::bad_request(format!("error reading cachefrom: invalid JSON: {error}"))
        }),
    }
}

/// `[{"Type":"local","Attrs":{…}}]`; none is the image store.
fn exporter(query: &Query) -> Result<(String, BTreeMap<String, String>), ApiError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Output {
        r#type: String,
        #[serde(default)]
        attrs: Option<BTreeMap<String, String>>,
    }
    let outputs: Vec<Output> = match query.text("outputs") {
        "" | "null" => Vec::new(),
        text => serde_json::from_str(text).map_err(|error| {
            ApiError::bad_request(format!("error reading outputs: invalid JSON: {error}"))
        })?,
    };
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
