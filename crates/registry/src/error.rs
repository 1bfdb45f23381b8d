//! What can go wrong, in Docker's words.

use crate::retry::retry_after;
use crate::session::Purpose;
use hull_spec::Reference;
use reqwest::{Response, StatusCode, header};
use serde::Deserialize;
use std::time::Duration;

/// Groups of errors, for callers that choose a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no such repository, manifest or blob.
    NotFound,
    /// The registry wants to know who asks, or does not believe it.
    Unauthorized,
    /// The registry knows who asks and refuses.
    Denied,
    /// The registry asks to slow down.
    TooManyRequests,
    /// The registry cannot be reached, or says that it cannot answer now.
    Unavailable,
    /// The registry's answer is wrong: digest, size, form.
    InvalidResponse,
    /// The request is one that Hull refuses to make.
    InvalidRequest,
}

/// Why a request to a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest does not exist.
    #[error("manifest for {reference} not found: {detail}")]
    ManifestUnknown {
        /// The reference as people write it.
        reference: String,
        /// The registry's words.
        detail: String,
    },
    /// The repository does not exist.
    #[error("repository {name} not found: {detail}")]
    RepositoryUnknown {
        /// The repository as people write it.
        name: String,
        /// The registry's words.
        detail: String,
    },
    /// The registry refuses access.
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login': {detail}"
    )]
    Denied {
        /// The repository as people write it.
        name: String,
        /// The registry's words.
        detail: String,
    },
    /// The registry refuses a push.
    #[error("{0}")]
    PushDenied(String),
    /// The registry or its token server does not accept the credentials, or wants some.
    #[error("{0}")]
    Unauthorized(String),
    /// Too many requests.
    #[error("{detail}")]
    TooManyRequests {
        /// The registry's words.
        detail: String,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
    },
    /// Any other answer with an error in it.
    #[error("{detail}")]
    Registry {
        /// The HTTP status.
        status: u16,
        /// The code that the registry gives, such as `BLOB_UPLOAD_UNKNOWN`; empty without one.
        code: String,
        /// The registry's words.
        detail: String,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
    },
    /// The connection could not be made, or broke.
    #[error("{verb} \"{url}\": {reason}")]
    Transport {
        /// `Get`, `Head`, `Post`: as Go's clients write methods.
        verb: &'static str,
        /// The URL.
        url: String,
        /// Go's words for the cause.
        reason: String,
        /// Whether trying again may help.
        transient: bool,
        /// Whether no connection came to be.
        connect: bool,
    },
    /// A blob broke off more often than is tried again; it can be resumed at `position`.
    #[error("download of {digest} broke off at byte {position} of {size}: {reason}")]
    Interrupted {
        /// The blob.
        digest: String,
        /// How many of its bytes arrived.
        position: u64,
        /// How many it has.
        size: u64,
        /// The last failure.
        reason: String,
    },
    /// An upload broke off more often than is tried again.
    #[error("upload of {digest} broke off at byte {position} of {size}: {reason}")]
    UploadInterrupted {
        /// The blob.
        digest: String,
        /// How many of its bytes the registry has.
        position: u64,
        /// How many it has.
        size: u64,
        /// The last failure.
        reason: String,
    },
    /// What was to be uploaded could not be read.
    #[error("reading what is to be uploaded: {0}")]
    Source(String),
    /// The bytes are not the ones that were asked for.
    #[error("manifest verification failed for digest {0}")]
    DigestMismatch(String),
    /// A document or blob is longer than it may be.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Which.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A document has another length than its descriptor says.
    #[error("{what} has {actual} bytes, expected {expected}")]
    WrongSize {
        /// Which.
        what: String,
        /// The length that came.
        actual: u64,
        /// The length that was promised.
        expected: u64,
    },
    /// A format that Docker no longer supports either.
    #[error(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the author of {0} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. More information at https://docs.docker.com/go/deprecated-image-specs/"
    )]
    Schema1(String),
    /// The answer does not follow the protocol.
    #[error("{0}")]
    Malformed(String),
    /// A redirect or token server that would carry the request or its secrets over plain HTTP.
    #[error(
        "refusing to continue {url} over plain HTTP: add the host to the insecure registries to allow it"
    )]
    PlainHttp {
        /// Where it would have gone.
        url: String,
    },
    /// The settings of a registry's host cannot be used.
    #[error("invalid registry configuration in {path}: {reason}")]
    HostConfig {
        /// The host's directory.
        path: String,
        /// What is wrong there.
        reason: String,
    },
    /// The client could not be set up.
    #[error("setting up the HTTP client: {0}")]
    Setup(String),
}

impl Error {
    /// The group that the error belongs to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::ManifestUnknown { .. } | Self::RepositoryUnknown { .. } => Kind::NotFound,
            Self::Denied { .. } | Self::PushDenied(_) => Kind::Denied,
            Self::Unauthorized(_) => Kind::Unauthorized,
            Self::TooManyRequests { .. } => Kind::TooManyRequests,
            Self::Registry { status: 404, .. } => Kind::NotFound,
            Self::Registry { status, .. } if *status >= 500 => Kind::Unavailable,
            Self::Transport { .. }
            | Self::Interrupted { .. }
            | Self::UploadInterrupted { .. }
            | Self::Source(_)
            | Self::Setup(_) => Kind::Unavailable,
            Self::PlainHttp { .. } | Self::HostConfig { .. } => Kind::InvalidRequest,
            Self::Registry { .. }
            | Self::DigestMismatch(_)
            | Self::TooLarge { .. }
            | Self::WrongSize { .. }
            | Self::Schema1(_)
            | Self::Malformed(_) => Kind::InvalidResponse,
        }
    }

    /// Whether the same blob can be asked for again from a later byte.
    #[must_use]
    pub fn resumable(&self) -> Option<u64> {
        match self {
            Self::Interrupted { position, .. } => Some(*position),
            _ => None,
        }
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::TooManyRequests { .. } => true,
            Self::Registry { status, .. } => matches!(status, 500 | 502 | 503 | 504),
            Self::Transport { transient, .. } => *transient,
            _ => false,
        }
    }

    /// Whether the registry answered with this status.
    pub(crate) fn is_status(&self, wanted: u16) -> bool {
        matches!(self, Self::Registry { status, .. } if *status == wanted)
    }

    pub(crate) fn is_connect(&self) -> bool {
        matches!(self, Self::Transport { connect: true, .. })
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after, .. } | Self::Registry { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// Reads an answer that is not a success. Its body is waited for no longer than `patience`: what
    /// came by then is what is told.
    pub(crate) async fn from_response(
        reference: &Reference,
        purpose: &Purpose,
        response: Response,
        patience: Duration,
    ) -> Self {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?));
        let mut body = Vec::new();
        let _ = tokio::time::timeout(patience, read_body(response, &mut body)).await;
        let (code, detail) = explain(status, &body);
        let name = || reference.familiar_name();
        match (code.as_str(), status) {
            ("MANIFEST_UNKNOWN", _) => Self::ManifestUnknown {
                reference: reference.familiar(),
                detail,
            },
            ("NAME_UNKNOWN", _) => Self::RepositoryUnknown {
                name: name(),
                detail,
            },
            ("DENIED", _) if *purpose != Purpose::Pull => Self::PushDenied(detail),
            ("DENIED", _) => Self::Denied {
                name: name(),
                detail,
            },
            ("TOOMANYREQUESTS", _) | (_, StatusCode::TOO_MANY_REQUESTS) => Self::TooManyRequests {
                detail,
                retry_after,
            },
            ("UNAUTHORIZED", _) | (_, StatusCode::UNAUTHORIZED) => Self::Unauthorized(detail),
            _ => Self::Registry {
                status: status.as_u16(),
                code,
                detail,
                retry_after,
            },
        }
    }
}

/// An error's text needs no more than this of a body, and none may fill the memory.
const MAX_ERROR_BODY: usize = 64 << 10;

async fn read_body(mut response: Response, body: &mut Vec<u8>) {
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ERROR_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_ERROR_BODY {
            break;
        }
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Entry>,
    /// Older token servers.
    #[serde(default)]
    details: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The code and Docker's text for an error answer.
pub(crate) fn explain(status: StatusCode, body: &[u8]) -> (String, String) {
    if status.is_server_error() {
        return (
            String::new(),
            format!(
                "received unexpected HTTP status: {} {}",
                status.as_u16(),
                status.canonical_reason().unwrap_or_default()
            ),
        );
    }
    let unexpected = |reason: String| {
        let text = String::from_utf8_lossy(body);
        match status {
            StatusCode::UNAUTHORIZED => (
                "UNAUTHORIZED".to_owned(),
                "unauthorized: authentication required".to_owned(),
            ),
            _ => (
                String::new(),
                format!(
                    "error parsing HTTP {} response body: {reason}: {text:?}",
                    status.as_u16()
                ),
            ),
        }
    };
    let parsed: Body = match serde_json::from_slice(body) {
        Ok(parsed) => parsed,
        Err(error) => return unexpected(go_json_error(body, &error)),
    };
    if !parsed.details.is_empty() {
        let (code, word) = match status {
            StatusCode::UNAUTHORIZED => ("UNAUTHORIZED", "unauthorized"),
            StatusCode::TOO_MANY_REQUESTS => ("TOOMANYREQUESTS", "toomanyrequests"),
            _ => ("UNKNOWN", "unknown"),
        };
        return (code.to_owned(), format!("{word}: {}", parsed.details));
    }
    let texts: Vec<String> = parsed.errors.iter().map(entry_text).collect();
    match (parsed.errors.into_iter().next(), texts.len()) {
        (None, _) => unexpected("no error details found in HTTP response body".to_owned()),
        (Some(first), 1) => (first.code, texts.concat()),
        (Some(first), _) => (first.code, format!("errors:\n{}\n", texts.join("\n"))),
    }
}

fn go_json_error(body: &[u8], error: &serde_json::Error) -> String {
    match body.iter().find(|b| !b.is_ascii_whitespace()) {
        None => "unexpected end of JSON input".to_owned(),
        Some(first) if !b"{[\"0123456789-tfn".contains(first) => format!(
            "invalid character {:?} looking for beginning of value",
            char::from(*first)
        ),
        Some(_) => error.to_string(),
    }
}

fn entry_text(entry: &Entry) -> String {
    let word = entry.code.to_lowercase().replace('_', " ");
    let default = match entry.code.as_str() {
        "UNAUTHORIZED" => "authentication required",
        "DENIED" => "requested access to the resource is denied",
        "MANIFEST_UNKNOWN" => "manifest unknown",
        "NAME_UNKNOWN" => "repository name not known to registry",
        "BLOB_UNKNOWN" => "blob unknown to registry",
        "TOOMANYREQUESTS" => "too many requests",
        _ => "unknown error",
    };
    let message = match entry.message.as_str() {
        "" => default,
        message => message,
    };
    format!("{word}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_become_dockers_words() {
        for (status, body, text) in [
            (
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
                "manifest unknown: manifest unknown",
            ),
            (
                403,
                r#"{"errors":[{"code":"DENIED"}]}"#,
                "denied: requested access to the resource is denied",
            ),
            (401, "", "unauthorized: authentication required"),
            (
                401,
                r#"{"details":"incorrect username or password"}"#,
                "unauthorized: incorrect username or password",
            ),
            (
                404,
                "<html>",
                "error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: \"<html>\"",
            ),
            (
                404,
                "{}",
                "error parsing HTTP 404 response body: no error details found in HTTP response body: \"{}\"",
            ),
            (
                503,
                "",
                "received unexpected HTTP status: 503 Service Unavailable",
            ),
            (
                400,
                r#"{"errors":[{"code":"A_B","message":"m"},{"code":"C","message":"n"}]}"#,
                "errors:\na b: m\nc: n\n",
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(explain(status, body.as_bytes()).1, text);
        }
    }
}
