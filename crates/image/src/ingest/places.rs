//! How many layers are unpacked at once.

use super::lock;
use std::num::NonZero;
use std::sync::{Condvar, Mutex, PoisonError};

/// More than there are processors: some wait for the network. Their number bounds the memory of all
/// pulls together, and of all local streams: a megabyte each, and the window of a zstd stream.
const SPARE: usize = 4;

/// Places for the threads of layers.
#[derive(Debug)]
pub(super) struct Places {
    free: Mutex<usize>,
    changed: Condvar,
}

/// Kept while a layer is being unpacked.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Places);

impl Places {
    /// How many there are.
    pub(super) fn count() -> usize {
        std::thread::available_parallelism().map_or(1, NonZero::get) + SPARE
    }

    pub(super) fn new() -> Self {
        Self {
            free: Mutex::new(Self::count()),
            changed: Condvar::new(),
        }
    }

    /// Waits for a place.
    pub(super) fn enter(&self) -> Place<'_> {
        let free = lock(&self.free);
        let mut free = self
            .changed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.changed.notify_one();
    }
}
