//! Errors as clients see them: the one place that chooses a status code.

use crate::version::UnsupportedVersion;
use http::StatusCode;
use hull_engine::ErrorKind;

/// A refusal or failure, ready to be written as a reply.
#[derive(Debug)]
pub(crate) struct ApiError {
    /// The reply's status.
    pub(crate) status: StatusCode,
    /// The text for people.
    pub(crate) message: String,
    /// How the text is put into the body.
    pub(crate) form: Form,
}

/// How an error's text goes into the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `{"message":"…"}`.
    Json,
    /// The bare text: for clients from before API 1.24, which knew no JSON errors.
    Text,
    /// The bare text and CR LF under the stream's content type: attach is hijacked before anything
    /// can fail, so dockerd has no other way to say it and clients expect no other.
    Stream,
}

impl ApiError {
    /// An error with this status and text.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            form: Form::Json,
        }
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The daemon failed.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The API has it, Hull does not (yet): never answered with a fake.
    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// The same error, written as a stream's only text.
    pub(crate) fn in_stream(mut self) -> Self {
        self.form = Form::Stream;
        self
    }
}

impl From<UnsupportedVersion> for ApiError {
    fn from(error: UnsupportedVersion) -> Self {
        let form = match error {
            UnsupportedVersion::TooNew(_) => Form::Json,
            UnsupportedVersion::TooOld(_) => Form::Text,
        };
        Self {
            form,
            ..Self::bad_request(error.to_string())
        }
    }
}

/// The only place where an engine's error gets a status. No wildcard: a new kind must be decided
/// here.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::AlreadyInThatState => StatusCode::NOT_MODIFIED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<hull_engine::Error> for ApiError {
    fn from(error: hull_engine::Error) -> Self {
        Self::new(status(error.kind()), error.full_message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_engine::Error;

    #[test]
    fn every_kind_has_its_status() {
        for (kind, code) in [
            (ErrorKind::InvalidInput, 400),
            (ErrorKind::Unauthorized, 401),
            (ErrorKind::Forbidden, 403),
            (ErrorKind::NotFound, 404),
            (ErrorKind::Conflict, 409),
            (ErrorKind::AlreadyInThatState, 304),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::NotImplemented, 501),
            (ErrorKind::Internal, 500),
        ] {
            assert_eq!(ApiError::from(Error::new(kind, "x")).status.as_u16(), code);
        }
    }

    #[test]
    fn causes_are_told_once_each() {
        let cause = std::io::Error::other("disk on fire");
        let error = Error::new(ErrorKind::Internal, "could not write").caused_by(cause);
        assert_eq!(
            ApiError::from(error).message,
            "could not write: disk on fire"
        );
    }
}
