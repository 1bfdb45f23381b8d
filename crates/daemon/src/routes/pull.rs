//! `POST /images/create`: pulls, with progress.

use crate::access;
use crate::error::ApiError;
use crate::reply::{self, JSON, Outcome};
use crate::request::Request;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use hull_api::image::AuthConfig;
use hull_api::json;
use hull_api::progress::{Detail, ErrorDetail, Message};
use hull_engine::image::{Credentials, Progress, PullRequest};
use std::io;

/// Pulls an image and tells of its progress, a JSON document a line. What fails before there is any
/// progress is told by the status, what fails later in the stream.
pub(crate) async fn create(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    if let Some(grant) = request.grant() {
        let source = query.text("fromSrc");
        let name = match source {
            "" => query.text("fromImage"),
            _ => query.text("repo"),
        };
        access::reference(grant, name, query.text("tag"))?;
        // The daemon's network is not the client's.
        if !source.is_empty() && (source != "-" || !grant.allows("images", "load")) {
            return Err(grant.refusal("importing from there"));
        }
    }
    if !query.text("fromSrc").is_empty() {
        return super::archive::import(request).await;
    }
    let (image, tag) = (query.text("fromImage"), query.text("tag"));
    if image.is_empty() {
        return Err(ApiError::bad_request("invalid reference format"));
    }
    let separator = match tag {
        "" => "",
        // A digest comes by the same parameter.
        tag if tag.contains(':') => "@",
        _ => ":",
    };
    let platform = query.text("platform");
    let pull = PullRequest {
        reference: format!("{image}{separator}{tag}"),
        platform: (!platform.is_empty()).then(|| platform.to_owned()),
        credentials: who(&request.headers),
    };
    let mut progress = request.app.engine.pull(pull).await?;
    let first = match progress.next().await {
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(first)) => Some(Ok(first)),
        None => None,
    };
    let lines = stream::iter(first).chain(progress).map(|step| {
        line(&match step {
            Ok(progress) => message(progress),
            Err(error) => failure(error.full_message()),
        })
    });
    Ok(reply::stream(request.app.shutdown.clone(), JSON, lines).into())
}

pub(super) fn line(message: &Message) -> io::Result<Bytes> {
    let mut line = json::to_vec_escaped(message)?;
    line.extend_from_slice(b"\r\n");
    Ok(Bytes::from(line))
}

pub(super) fn message(progress: Progress) -> Message {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let detail = match progress.bytes {
        Some((current, total)) => Some(Detail {
            current: number(current),
            total: number(total),
            ..Detail::default()
        }),
        // dockerd writes an empty object for a layer without numbers, but not for the tag's line.
        None if !progress.id.is_empty() && !progress.status.starts_with("Pulling from ") => {
            Some(Detail::default())
        }
        None => None,
    };
    Message {
        progress: progress.bytes.map(bar).unwrap_or_default(),
        status: progress.status,
        progress_detail: detail,
        id: progress.id,
        ..Message::default()
    }
}

pub(super) fn failure(message: String) -> Message {
    Message {
        error_detail: Some(ErrorDetail {
            code: 0,
            message: message.clone(),
        }),
        error: message,
        ..Message::default()
    }
}

/// The bar that old clients print as it is: `[====>      ]  1.2MB/30MB`.
pub(super) fn bar((current, total): (u64, u64)) -> String {
    if total == 0 || current > total {
        return format!("{:>8}", size(current));
    }
    let percent = usize::try_from(current * 100 / total / 2)
        .unwrap_or(50)
        .min(50);
    let spaces = 50 - percent;
    format!(
        "[{}>{}] {:>8}/{}",
        "=".repeat(percent),
        " ".repeat(spaces),
        size(current),
        size(total)
    )
}

/// A size in powers of 1000 with four digits at most.
#[expect(
    clippy::cast_precision_loss,
    reason = "four digits are shown of what has up to twenty"
)]
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{}", UNITS[unit])
}

/// Who asks. A header that cannot be read is nobody: dockerd lets the registry refuse.
pub(crate) fn who(headers: &HeaderMap) -> Credentials {
    let header = headers.get("x-registry-auth");
    let text = header.and_then(|value| value.to_str().ok());
    decode_auth(text.unwrap_or_default())
        .and_then(credentials)
        .unwrap_or_default()
}

/// Reads the `X-Registry-Auth` header. Clients write base64 of both alphabets, with and without
/// padding.
fn decode_auth(header: &str) -> Result<AuthConfig, ApiError> {
    if header.is_empty() {
        return Ok(AuthConfig::default());
    }
    let invalid = |why: &dyn std::fmt::Display| {
        ApiError::bad_request(format!("invalid X-Registry-Auth header: {why}"))
    };
    let bytes = decoded(header).map_err(|error| invalid(&error))?;
    json::from_slice(&bytes).map_err(|error| invalid(&error))
}

/// The bytes of a header in base64 of either alphabet, with and without padding.
pub(super) fn decoded(header: &str) -> Result<Vec<u8>, base64::DecodeError> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let text = header.trim().replace('+', "-").replace('/', "_");
    GeneralPurpose::new(&alphabet::URL_SAFE, lenient).decode(text)
}

/// What the engine makes of a client's credentials.
///
/// # Errors
/// 400 when `auth` is no base64 of `user:password`.
pub(super) fn credentials(auth: AuthConfig) -> Result<Credentials, ApiError> {
    if !auth.registry_token.is_empty() {
        return Ok(Credentials::RegistryToken(auth.registry_token));
    }
    if !auth.identity_token.is_empty() {
        return Ok(Credentials::IdentityToken(auth.identity_token));
    }
    if !auth.username.is_empty() {
        return Ok(Credentials::Basic {
            username: auth.username,
            password: auth.password,
        });
    }
    if auth.auth.is_empty() {
        return Ok(Credentials::Anonymous);
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(&auth.auth)
        .ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((username, password)) => Ok(Credentials::Basic {
            username: username.to_owned(),
            // Some clients end the text with a NUL byte.
            password: password.trim_end_matches('\0').to_owned(),
        }),
        None => Err(ApiError::bad_request("invalid auth configuration file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

    #[test]
    fn credentials_come_in_every_kind_of_base64() {
        let text = br#"{"username":"a","password":"b???>>>","serveraddress":"r"}"#;
        for header in [
            STANDARD.encode(text),
            URL_SAFE.encode(text),
            URL_SAFE_NO_PAD.encode(text),
        ] {
            let auth = credentials(decode_auth(&header).unwrap()).unwrap();
            let expected = Credentials::Basic {
                username: "a".to_owned(),
                password: "b???>>>".to_owned(),
            };
            assert!(auth == expected, "{header}");
        }
        assert!(credentials(decode_auth("").unwrap()).unwrap() == Credentials::Anonymous);
        assert!(credentials(decode_auth("e30=").unwrap()).unwrap() == Credentials::Anonymous);
        for bad in ["!", "e30", "bm8="] {
            let _ = decode_auth(bad).map(credentials);
        }
        assert!(decode_auth("!").is_err() && decode_auth("bm8=").is_err());
    }

    #[test]
    fn the_auth_member_is_taken_apart() {
        let auth = |text: &str| AuthConfig {
            auth: text.to_owned(),
            ..AuthConfig::default()
        };
        let expected = Credentials::Basic {
            username: "u".to_owned(),
            password: "p:q".to_owned(),
        };
        assert!(credentials(auth(&STANDARD.encode("u:p:q"))).unwrap() == expected);
        assert!(credentials(auth("dQ==")).is_err());
    }

    #[test]
    fn progress_is_written_as_by_dockerd() {
        let text =
            |progress| String::from_utf8(line(&message(progress)).unwrap().to_vec()).unwrap();
        let progress = |id: &str, status: &str, bytes| Progress {
            id: id.to_owned(),
            status: status.to_owned(),
            bytes,
        };
        assert_eq!(
            text(progress("latest", "Pulling from library/busybox", None)),
            "{\"status\":\"Pulling from library/busybox\",\"id\":\"latest\"}\r\n"
        );
        assert_eq!(
            text(progress("a1", "Pulling fs layer", None)),
            "{\"status\":\"Pulling fs layer\",\"progressDetail\":{},\"id\":\"a1\"}\r\n"
        );
        assert_eq!(
            text(progress("", "Status: Image is up to date for bb", None)),
            "{\"status\":\"Status: Image is up to date for bb\"}\r\n"
        );
        let line = text(progress("a1", "Downloading", Some((1_000_000, 2_000_000))));
        assert!(
            line.contains("\"progressDetail\":{\"current\":1000000,\"total\":2000000}"),
            "{line}"
        );
        assert!(
            line.contains(
                "[=========================\\u003e                         ]      1MB/2MB"
            ),
            "{line}"
        );
        let line = line_of(failure("no".to_owned()));
        assert_eq!(
            line,
            "{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n"
        );
    }

    fn line_of(message: Message) -> String {
        String::from_utf8(line(&message).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn sizes_have_four_digits_at_most() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.234kB"),
            (2_065_221, "2.065MB"),
            (123_456_789, "123.5MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
