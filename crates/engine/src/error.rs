//! Errors as the engine's callers see them: a kind to decide by, and Docker's text for people.

use std::fmt;

/// What kind of failure it is. The daemon makes a status code of it, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request makes no sense, whatever the state of things.
    InvalidInput,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// Credentials are right and do not suffice, or policy says no.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// It makes no sense in the present state.
    Conflict,
    /// What was asked for is so already: nothing was done, and that is no failure.
    AlreadyInThatState,
    /// It cannot be done now, perhaps later.
    Unavailable,
    /// Docker has it, Hull has not (yet).
    NotImplemented,
    /// Anything else.
    Internal,
}

/// A failed operation.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with Docker's text.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with its cause, which is for logs and for [`Error::full_message`].
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text without the causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text with the causes behind it, `what: why: why that`, as Docker's clients expect it.
    #[must_use]
    pub fn full_message(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}
