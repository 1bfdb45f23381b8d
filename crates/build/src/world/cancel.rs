//! How the end of a build is asked for.

use super::{WorldError, WorldResult};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends a build, or the part of it that nobody waits for any more.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Cancelling>);

#[derive(Default)]
struct Cancelling {
    cancelled: AtomicBool,
    callbacks: Mutex<Callbacks>,
}

#[derive(Default)]
struct Callbacks {
    next: u64,
    waiting: Vec<(u64, Box<dyn FnOnce() + Send>)>,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

impl Cancel {
    /// One that nobody has asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the end; again changes nothing.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let waiting = std::mem::take(&mut self.callbacks().waiting);
        for (_, callback) in waiting {
            callback();
        }
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// # Errors
    /// [`WorldError::Cancelled`] once the end was asked for.
    pub fn check(&self) -> WorldResult<()> {
        match self.is_cancelled() {
            true => Err(WorldError::Cancelled),
            false => Ok(()),
        }
    }

    /// Whether this is a handle of the other one.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Does something when the end is asked for, at once if it was; not any more when the returned value
    /// is dropped.
    #[must_use]
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> OnCancel {
        let mut callbacks = self.callbacks();
        let number = callbacks.next;
        callbacks.next += 1;
        callbacks.waiting.push((number, Box::new(callback)));
        drop(callbacks);
        // Also what came between the two.
        if self.is_cancelled() {
            self.cancel();
        }
        OnCancel(self.clone(), number)
    }

    fn callbacks(&self) -> std::sync::MutexGuard<'_, Callbacks> {
        let callbacks = self.0.callbacks.lock();
        callbacks.unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Cancel::on_cancel`].
#[derive(Debug)]
pub struct OnCancel(Cancel, u64);

impl Drop for OnCancel {
    fn drop(&mut self) {
        let mut callbacks = self.0.callbacks();
        callbacks.waiting.retain(|(number, _)| *number != self.1);
    }
}
