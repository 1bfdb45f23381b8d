//! What a build asks its client, and the answers.

use super::super::Duplex;
use crate::transport::Socket;
use bytes::Bytes;
use hull_api::build::{Ask, Wanted};
use hull_engine::build::world::{WorldError, WorldResult};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Numbers are never used twice, whoever asks.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What a client answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It has no such thing.
    Nothing,
    /// It has, but failed.
    Failed(String),
    /// Bytes.
    Bytes(Bytes),
    /// A connection.
    Connection(Duplex<Socket>),
    /// It takes what is sent here; what comes last before the end may be an error.
    Taker(mpsc::Sender<io::Result<Bytes>>),
}

type Waiting = HashMap<(String, u64), oneshot::Sender<Answer>>;

/// The questions that are not answered yet, of all builds.
#[derive(Debug, Default)]
pub(crate) struct Asks(Mutex<Waiting>);

impl Asks {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits for that answer.
    pub(crate) fn has(&self, build: &str, number: u64) -> bool {
        self.waiting().contains_key(&(build.to_owned(), number))
    }

    /// Gives an answer; `false` when nobody waits for it (any more).
    pub(crate) fn answer(&self, build: &str, number: u64, answer: Answer) -> bool {
        let waiting = self.waiting().remove(&(build.to_owned(), number));
        waiting.is_some_and(|waiting| waiting.send(answer).is_ok())
    }
}

/// A build's way to ask.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) asks: Arc<Asks>,
    pub(super) build: String,
    pub(super) messages: mpsc::UnboundedSender<Ask>,
    pub(super) runtime: Handle,
    /// Cancelled at the build's end.
    pub(super) token: CancellationToken,
}

/// A question's place; gone with who asked.
struct Place<'a>(&'a Asks, (String, u64));

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}

impl Asking {
    /// Asks, and waits for the answer or the build's end.
    pub(super) async fn ask(&self, wanted: Wanted) -> WorldResult<Answer> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = (self.build.clone(), number);
        let (sender, answer) = oneshot::channel();
        self.asks.waiting().insert(key.clone(), sender);
        let _place = Place(&self.asks, key);
        let asked = self.messages.send(Ask { number, wanted });
        asked.map_err(|_| WorldError::Cancelled)?;
        tokio::select! {
            () = self.token.cancelled() => Err(WorldError::Cancelled),
            answer = answer => match answer {
                Ok(Answer::Failed(why)) => Err(WorldError::other(why)),
                Ok(answer) => Ok(answer),
                Err(_) => Err(WorldError::Cancelled),
            },
        }
    }

    /// As [`Asking::ask`], for threads.
    pub(super) fn ask_blocking(
        &self,
        wanted: Wanted,
        stop: &CancellationToken,
    ) -> WorldResult<Answer> {
        self.runtime.block_on(async {
            tokio::select! {
                () = stop.cancelled() => Err(WorldError::Cancelled),
                answer = self.ask(wanted) => answer,
            }
        })
    }
}

/// For an answer of another kind than the question's.
pub(super) fn wrong(answer: &Answer) -> WorldError {
    let kind = match answer {
        Answer::Nothing => "nothing",
        Answer::Failed(_) => "a failure",
        Answer::Bytes(_) => "bytes",
        Answer::Connection(_) => "a connection",
        Answer::Taker(_) => "a taker",
    };
    WorldError::other(format!(
        "the client broke the protocol: it answered with {kind}"
    ))
}
