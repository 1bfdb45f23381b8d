//! A build's way to its client: blocking, and at an end when the build is.

use super::{Channel, Session, SessionError};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// A client, and when it is not to be asked any more. All calls block: not for tasks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    session: Arc<Session>,
    runtime: Handle,
    cancel: CancellationToken,
}

impl Caller {
    /// Asks `session` until `cancel`.
    pub(crate) fn new(session: Arc<Session>, runtime: Handle, cancel: CancellationToken) -> Self {
        Self {
            session,
            runtime,
            cancel,
        }
    }

    /// Who is asked.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// [`SessionError::Cancelled`], and what `answer` fails with.
    pub(crate) fn wait<T, E>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, SessionError>
    where
        SessionError: From<E>,
    {
        self.runtime.block_on(async {
            tokio::select! {
                () = self.cancel.cancelled() => Err(SessionError::Cancelled),
                answer = answer => Ok(answer?),
            }
        })
    }

    /// The way of calls of `method`.
    ///
    /// # Errors
    /// [`SessionError::Unsupported`] when the client does not serve it.
    pub(in crate::buildkit) fn channel(
        &self,
        method: &'static str,
    ) -> Result<Channel, SessionError> {
        self.session.channel(method)
    }

    /// Does something beside the build, until its end or the build's.
    pub(in crate::buildkit) fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Where tasks run.
    pub(in crate::buildkit) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
