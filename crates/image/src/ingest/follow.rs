//! Reading a file while another thread appends to it.

use super::{Progress, lock};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What the appending side tells the reading side, and back.
#[derive(Debug)]
pub(super) struct Feed {
    state: Mutex<State>,
    changed: Condvar,
    failed: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Bytes that may be read.
    length: u64,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// `length` is all there is.
    Complete,
    /// Nobody wants the result.
    Abandoned,
}

impl Feed {
    pub(super) fn new(length: u64) -> Self {
        Self {
            state: Mutex::new(State { length, end: None }),
            changed: Condvar::new(),
            failed: AtomicBool::new(false),
        }
    }

    pub(super) fn grow(&self, length: u64) {
        lock(&self.state).length = length;
        self.changed.notify_one();
    }

    pub(super) fn complete(&self) {
        lock(&self.state).end = Some(End::Complete);
        self.changed.notify_one();
    }

    pub(super) fn abandon(&self) {
        lock(&self.state).end = Some(End::Abandoned);
        self.changed.notify_one();
    }

    /// The reading side cannot go on, whatever comes.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Waits until there is more than `position`; 0 at the end.
    fn available(&self, position: u64) -> io::Result<u64> {
        let state = lock(&self.state);
        let state = self
            .changed
            .wait_while(state, |s| s.length <= position && s.end.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        if state.end == Some(End::Abandoned) {
            return Err(io::Error::other("the download was abandoned"));
        }
        Ok(state.length.saturating_sub(position))
    }
}

/// The growing file as a reader that hashes what passes.
pub(super) struct Follow {
    file: fs_err::File,
    feed: Arc<Feed>,
    progress: Arc<Progress>,
    position: u64,
    hash: Sha256,
}

impl Follow {
    pub(super) fn new(file: fs_err::File, feed: Arc<Feed>, progress: Arc<Progress>) -> Self {
        Self {
            file,
            feed,
            progress,
            position: 0,
            hash: Sha256::new(),
        }
    }

    /// The digest of everything, once all was read.
    pub(super) fn digest(self) -> hull_spec::Digest {
        hull_spec::Digest::from_sha256(&self.hash.finalize().into())
    }
}

impl Read for Follow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.feed.available(self.position)?;
        let wanted = usize::try_from(available).map_or(buffer.len(), |a| a.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.file.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::other("the partial download became shorter"));
        }
        self.hash.update(&buffer[..count]);
        self.position += count as u64;
        self.progress
            .unpacked
            .store(self.position, Ordering::Relaxed);
        Ok(count)
    }
}
