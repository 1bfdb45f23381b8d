//! A request as handlers see it.

use crate::access::{Grant, Origin};
use crate::app::App;
use crate::error::ApiError;
use crate::query::Query;
use crate::version::ApiVersion;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hull_api::json;
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The longest JSON body that is read. What clients send for a container with every option is some
/// tens of kilobytes; dockerd has no limit, but a daemon that runs as root must not be filled up.
const MAX_JSON: usize = 16 * 1024 * 1024;

/// A routed request.
#[derive(Debug)]
pub(crate) struct Request {
    /// What all requests share.
    pub(crate) app: Arc<App>,
    /// Where it came from.
    pub(crate) origin: Arc<Origin>,
    /// The version the client speaks.
    pub(crate) version: ApiVersion,
    pub(crate) method: Method,
    /// The path behind the version, decoded.
    pub(crate) path: String,
    /// What the route's `{}` stands for, decoded.
    pub(crate) name: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
}

impl Request {
    /// What limits it, if it came over a scoped socket.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        self.origin.door.grant.as_deref()
    }

    /// The protocol that the client asks to change to, if it does.
    pub(crate) fn upgrade(&self) -> Option<String> {
        let asks = self
            .headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
        let protocol = self.headers.get(UPGRADE)?.to_str().ok()?.trim();
        (asks && !protocol.is_empty()).then(|| protocol.to_owned())
    }

    /// Whether the client sent a body: by its length, as dockerd decides.
    pub(crate) fn has_body(&self) -> bool {
        !self.body.is_end_stream()
    }

    /// The JSON body.
    ///
    /// # Errors
    /// 400 when the content type is another, the body is empty, no JSON or of other types.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        self.json_by(json::from_slice).await
    }

    /// The JSON body, decoded by `decode`.
    ///
    /// # Errors
    /// As [`Request::json`].
    pub(crate) async fn json_by<T>(
        &mut self,
        decode: fn(&[u8]) -> Result<T, json::Error>,
    ) -> Result<T, ApiError> {
        self.require_json()?;
        let body = self.bytes().await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(ApiError::bad_request(
                "invalid JSON: got EOF while reading request body",
            ));
        }
        decode(&body).map_err(|error| misread(error, &body))
    }

    /// The JSON body of a request for which dockerd uses Go's bare decoder: of any content type, and what is wrong is a failure of
    /// the daemon's.
    ///
    /// # Errors
    /// 500 when the body is empty, no JSON or of other types.
    pub(crate) async fn plain_json<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        let body = self.bytes().await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(ApiError::internal("EOF"));
        }
        json::from_slice(&body).map_err(|error| {
            let message = misread(error, &body).message;
            ApiError::internal(message.strip_prefix("invalid JSON: ").unwrap_or(&message))
        })
    }

    /// The JSON body, or the zero value when there is no body.
    ///
    /// # Errors
    /// As [`Request::json`].
    pub(crate) async fn json_or_default<T: DeserializeOwned + Default>(
        &mut self,
    ) -> Result<T, ApiError> {
        self.require_json()?;
        if !self.has_body() {
            return Ok(T::default());
        }
        self.json().await
    }

    /// Whether the body is `{}`, `null` or blank, whatever its content type.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn is_empty_object(&mut self) -> Result<bool, ApiError> {
        let body = self.bytes().await?;
        let text = body.trim_ascii();
        let inner = text
            .strip_prefix(b"{")
            .and_then(|rest| rest.strip_suffix(b"}"));
        let empty_object = inner.is_some_and(|inner| inner.trim_ascii().is_empty());
        Ok(text.is_empty() || text == b"null" || empty_object)
    }

    fn require_json(&self) -> Result<(), ApiError> {
        let given = self.headers.get(CONTENT_TYPE);
        let given = given.map_or("", |value| value.to_str().unwrap_or("?"));
        if given.is_empty() && !self.has_body() {
            return Ok(());
        }
        let media_type = given.split(';').next().unwrap_or_default().trim();
        if media_type.is_empty() {
            return Err(ApiError::bad_request(format!(
                "malformed Content-Type header ({given}): mime: no media type"
            )));
        }
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::bad_request(format!(
                "unsupported Content-Type header ({given}): must be 'application/json'"
            )));
        }
        Ok(())
    }

    /// The whole body.
    ///
    /// # Errors
    /// 413 when it is longer than a request may be; 400 when it cannot be read.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, ApiError> {
        match Limited::new(&mut self.body, MAX_JSON).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request's body is longer than {MAX_JSON} bytes"),
            )),
            Err(error) => Err(ApiError::bad_request(format!(
                "could not read the request's body: {error}"
            ))),
        }
    }
}

/// What a client is told of a body that was not understood.
pub(crate) fn misread(error: json::Error, body: &[u8]) -> ApiError {
    ApiError::bad_request(match error {
        json::Error::Type(mismatch) => format!("invalid JSON: json: {mismatch}"),
        json::Error::Syntax(error) => syntax(&error, body),
    })
}

/// Decodes a parameter that is JSON.
///
/// # Errors
/// The words of Go's `json.Unmarshal`.
pub(crate) fn unmarshalled<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    json::from_slice(text.as_bytes()).map_err(|error| match error {
        json::Error::Type(mismatch) => format!("json: {mismatch}"),
        json::Error::Syntax(error) if error.is_eof() => "unexpected end of JSON input".to_owned(),
        json::Error::Syntax(error) => {
            let told = syntax(&error, text.as_bytes());
            told.trim_start_matches("invalid JSON: ").to_owned()
        }
    })
}

/// Go's words for a document that is no JSON.
fn syntax(error: &serde_json::Error, body: &[u8]) -> String {
    if error.is_eof() {
        return "invalid JSON: unexpected EOF".to_owned();
    }
    let text = error.to_string();
    if text.starts_with("trailing characters") {
        return "unexpected content after JSON".to_owned();
    }
    let place = if text.starts_with("expected `:`") {
        "after object key"
    } else if text.starts_with("expected `,` or `}`") {
        "after object key:value pair"
    } else if text.starts_with("expected `,` or `]`") {
        "after array element"
    } else if text.starts_with("key must be a string") {
        "looking for beginning of object key string"
    } else if text.starts_with("expected value") || text.starts_with("trailing comma") {
        "looking for beginning of value"
    } else if text.starts_with("expected ident") {
        return literal(error, body);
    } else {
        return format!("invalid JSON: {text}");
    };
    let line = body
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1));
    let byte = line.and_then(|line| line.get(error.column().saturating_sub(1)));
    let character = byte.map_or('?', |byte| char::from(*byte));
    format!("invalid JSON: invalid character {character:?} {place}")
}

/// Go's words for something that begins like `null`, `true` or `false` and goes on otherwise.
fn literal(error: &serde_json::Error, body: &[u8]) -> String {
    let mut lines = body.split(|byte| *byte == b'\n');
    let line = lines
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let wrong = error.column().saturating_sub(1).min(line.len());
    let start = (0..wrong)
        .rev()
        .take(5)
        .find(|at| matches!(line[*at], b'n' | b't' | b'f'));
    let found = start.and_then(|start| {
        let words = ["null", "true", "false"];
        let word = words
            .into_iter()
            .find(|word| line[start..].starts_with(&word.as_bytes()[..wrong - start]))?;
        let expected = word.as_bytes().get(wrong - start)?;
        let wrong = line.get(wrong)?;
        let (wrong, expected) = (char::from(*wrong), char::from(*expected));
        Some(format!(
            "invalid character {wrong:?} in literal {word} (expecting {expected:?})"
        ))
    });
    let told = found.unwrap_or_else(|| error.to_string());
    format!("invalid JSON: {told}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_api::container::CreateRequest;

    fn refused(body: &str) -> String {
        let error = CreateRequest::from_slice(body.as_bytes()).unwrap_err();
        let error = misread(error, body.as_bytes());
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
        error.message
    }

    /// The texts are those of dockerd 28.5 for the same bodies.
    #[test]
    fn bad_json_is_told_in_dockerds_words() {
        for (body, message) in [
            (r#"{"Image":"bb""#, "invalid JSON: unexpected EOF"),
            (r#"{"Image":"bb"}xx"#, "unexpected content after JSON"),
            (
                r#"{"Image":"bb","Tty":yes}"#,
                "invalid JSON: invalid character 'y' looking for beginning of value",
            ),
            (
                "nonsense",
                "invalid JSON: invalid character 'o' in literal null (expecting 'u')",
            ),
            (
                r#"{"Tty":trye}"#,
                "invalid JSON: invalid character 'y' in literal true (expecting 'u')",
            ),
            (
                r#"{"Image":3}"#,
                "invalid JSON: json: cannot unmarshal number into Go struct field .Image of type string",
            ),
            (
                r#"{"Image":"bb","HostConfig":{"Memory":"a"}}"#,
                "invalid JSON: json: cannot unmarshal string into Go struct field .HostConfig.Memory of type int64",
            ),
            (
                r#"{"Image":"bb","HostConfig":{"Memory":1.5}}"#,
                "invalid JSON: json: cannot unmarshal number 1.5 into Go struct field .HostConfig.Memory of type int64",
            ),
            (
                r#"{"Image":"bb","Env":"x"}"#,
                "invalid JSON: json: cannot unmarshal string into Go struct field .Env of type []string",
            ),
            (
                r#"{"Image":"bb","Tty":"yes"}"#,
                "invalid JSON: json: cannot unmarshal string into Go struct field .Tty of type bool",
            ),
        ] {
            assert_eq!(refused(body), message, "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            let _ = CreateRequest::from_slice(&body).map_err(|error| misread(error, &body));
        }
    }
}
