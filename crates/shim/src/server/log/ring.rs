//! `mode=non-blocking`: a thread writes, and what comes while too much waits is lost.

use super::Writer;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What waits to be written.
#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<(u8, Vec<u8>)>,
    bytes: usize,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// The queue and its thread.
#[derive(Debug)]
pub(in crate::server) struct Ring {
    shared: Arc<Shared>,
    limit: usize,
    thread: JoinHandle<io::Result<()>>,
}

impl Ring {
    pub(super) fn start(writer: Writer, limit: u64) -> io::Result<Self> {
        let shared: Arc<Shared> = Arc::default();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || work(&theirs, writer))?;
        Ok(Self {
            shared,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            thread,
        })
    }

    /// Whatever does not fit is dropped, whole pieces of it; one always fits into an empty queue.
    pub(super) fn write(&self, stream: u8, bytes: &[u8]) {
        let mut queue = self
            .shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if queue.bytes > 0 && queue.bytes + bytes.len() > self.limit {
            return;
        }
        queue.bytes += bytes.len();
        queue.pieces.push_back((stream, bytes.to_vec()));
        self.shared.changed.notify_one();
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ended = true;
        self.shared.changed.notify_one();
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the log's thread failed")))
    }
}

fn work(shared: &Shared, mut writer: Writer) -> io::Result<()> {
    loop {
        let (stream, bytes) = {
            let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(piece) = queue.pieces.pop_front() {
                    break piece;
                }
                if queue.ended {
                    drop(queue);
                    return writer.finish();
                }
                queue = shared
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        // As without the thread: a log that cannot be written does not stop the container.
        let _ = writer.write(stream, &bytes);
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted until it is written: the limit is one on memory.
        queue.bytes -= bytes.len();
    }
}
