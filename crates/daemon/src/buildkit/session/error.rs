//! What can go wrong between the daemon and a client that it asks.

use std::io;
use tonic::{Code, Status};

/// Why a client was asked in vain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// Nobody could know it by what it says.
    #[error("invalid session: {0}")]
    Introduction(&'static str),
    /// Its id is taken.
    #[error("session {0} already exists")]
    Exists(String),
    /// It does not speak HTTP/2, or not any more.
    #[error("the session's connection failed")]
    Connection(#[source] hyper::Error),
    /// It does not serve that.
    #[error("method {0} not supported by the client")]
    Unsupported(&'static str),
    /// It refused, or failed.
    #[error("{}", .0.message())]
    Refused(Status),
    /// It broke the rules of a protocol.
    #[error("the client broke the protocol: {0}")]
    Protocol(String),
    /// What is to be received costs too much.
    #[error("{0}")]
    Limit(String),
    /// Who asked does not want it any more.
    #[error("context canceled")]
    Cancelled,
    /// This side failed.
    #[error("could not {operation}: {source}")]
    Local {
        /// What was tried.
        operation: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl SessionError {
    /// A failure of `operation` on this side.
    pub(crate) fn local(operation: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Local {
            operation: operation.into(),
            source: source.into(),
        }
    }

    /// Whether the client said that it does not have what it was asked for.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::NotFound)
    }
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}
