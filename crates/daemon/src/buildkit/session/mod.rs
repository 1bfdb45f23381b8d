//! Sessions: connections on which the roles are changed, so that the daemon can ask its client for files,
//! secrets, agents and credentials while a build of the client's runs.
//!
//! ```text
//!   client ─ POST /session, Upgrade: h2c ─► daemon      or Control.Session: the same bytes in messages
//!   client ◄─ 101 ──────────────────────── daemon
//!   client ◄─ HTTP/2, gRPC calls ───────── daemon      FileSync, Secrets, SSH, Auth, FileSend, …
//! ```
//!
//! A session lives as long as its connection. A client names its services when it connects; nothing else is
//! called.

mod caller;
mod channel;
mod content;
mod error;
mod services;

pub(crate) use caller::Caller;
pub(crate) use channel::Channel;
pub(crate) use content::ContentClient;
pub(crate) use error::SessionError;

use http::HeaderMap;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

/// No more clients at once: each costs a connection and its buffers.
const MAX_SESSIONS: usize = 1024;
/// The longest id, name or key of a session, bytes. Those of BuildKit's clients have 25.
const MAX_TEXT: usize = 4096;
/// How long a build waits for its client's session, which is set up beside it. BuildKit waits as long.
pub(crate) const SESSION_WAIT: Duration = Duration::from_secs(5);

/// What a client says of its session when it connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Introduction {
    /// What builds name it by.
    id: String,
    /// Equal for sessions from which the same files come.
    shared_key: String,
    /// What may be called, `/service/Method` in small letters.
    methods: HashSet<String>,
}

impl Introduction {
    /// What builds name it by.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// From the headers of `POST /session`, which are the metadata of `Control.Session` too.
    ///
    /// # Errors
    /// For one without an id, or with texts that are too long.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, SessionError> {
        let text = |name: &str| {
            let value = headers.get(name).map(http::HeaderValue::to_str);
            match value.transpose() {
                Ok(value) if value.is_none_or(|value| value.len() <= MAX_TEXT) => {
                    Ok(value.unwrap_or_default().to_owned())
                }
                _ => Err(SessionError::Introduction("a header that is no short text")),
            }
        };
        let id = text("x-docker-expose-session-uuid")?;
        if id.is_empty() {
            return Err(SessionError::Introduction("no id"));
        }
        let methods = headers.get_all("x-docker-expose-session-grpc-method");
        let methods = methods.iter().filter_map(|value| value.to_str().ok());
        Ok(Self {
            id,
            shared_key: text("x-docker-expose-session-sharedkey")?,
            methods: methods.map(str::to_ascii_lowercase).collect(),
        })
    }
}

/// A client that can be asked.
#[derive(Debug)]
pub(crate) struct Session {
    introduction: Introduction,
    channel: Channel,
}

impl Session {
    /// Equal for sessions from which the same files come; empty: not known.
    pub(crate) fn shared_key(&self) -> &str {
        &self.introduction.shared_key
    }

    /// Whether the client serves `/service/Method`.
    pub(crate) fn serves(&self, method: &str) -> bool {
        let method = method.to_ascii_lowercase();
        self.introduction.methods.contains(&method)
    }

    /// The way to it.
    ///
    /// # Errors
    /// [`SessionError::Unsupported`] when the client does not serve `method`.
    fn channel(&self, method: &'static str) -> Result<Channel, SessionError> {
        if self.serves(method) {
            Ok(self.channel.clone())
        } else {
            Err(SessionError::Unsupported(method))
        }
    }
}

/// The sessions there are.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    active: Mutex<HashMap<String, Arc<Session>>>,
    /// Told when one comes.
    came: Notify,
}

/// A session's place in [`Sessions`].
#[derive(Debug)]
struct Place<'a>(&'a Sessions, &'a str);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.active().remove(self.1);
    }
}

impl Sessions {
    fn active(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a session of that id.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.active().contains_key(id)
    }

    /// Keeps the session of who is behind `connection` until one side ends it.
    ///
    /// # Errors
    /// When there is one of that id, too many, or the other side does not speak HTTP/2.
    pub(crate) async fn serve<S>(
        &self,
        introduction: Introduction,
        connection: S,
    ) -> Result<(), SessionError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let id = introduction.id.clone();
        let (channel, connection) = Channel::open(connection).await?;
        let session = Session {
            introduction,
            channel,
        };
        let _place = self.enter(&id, session)?;
        tracing::debug!(id, "a session began");
        let ended = connection.await;
        tracing::debug!(id, ?ended, "a session ended");
        Ok(())
    }

    fn enter<'a>(&'a self, id: &'a str, session: Session) -> Result<Place<'a>, SessionError> {
        let mut active = self.active();
        if active.contains_key(id) {
            return Err(SessionError::Exists(id.to_owned()));
        }
        if active.len() >= MAX_SESSIONS {
            return Err(SessionError::Introduction("too many sessions"));
        }
        active.insert(id.to_owned(), Arc::new(session));
        drop(active);
        self.came.notify_waiters();
        Ok(Place(self, id))
    }

    /// The session of that id; what stands before a colon only keeps vertices of several sessions apart.
    /// Waits for it at most `wait`.
    pub(crate) async fn get(&self, id: &str, wait: Duration) -> Option<Arc<Session>> {
        let id = match id.split_once(':') {
            Some((_, id)) if !id.is_empty() => id,
            _ => id,
        };
        let comes = async {
            loop {
                let came = self.came.notified();
                tokio::pin!(came);
                // Before the look: one that comes between the two would be missed.
                came.as_mut().enable();
                if let Some(session) = self.active().get(id).cloned() {
                    return session;
                }
                came.await;
            }
        };
        tokio::time::timeout(wait, comes).await.ok()
    }
}

#[cfg(test)]
pub(super) mod tests;
