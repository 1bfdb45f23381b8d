//! Entries that wait for their server: bounded, and what to do when it is full.

use crate::entry::Entry;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) entries: usize,
    /// Nobody waits for room: the oldest go.
    pub(crate) never_wait: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The server is away.
    away: bool,
    dropped: u64,
    /// No more entries will come, and since when.
    ended: Option<Instant>,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry, and waits for room where that is how it is, until `is_over` says that nobody is left for whom.
    pub(crate) fn push(&self, entry: Entry, mut is_over: impl FnMut() -> bool) {
        /// How often it is asked.
        const OFTEN: Duration = Duration::from_secs(1);
        let weight = entry.weight();
        let mut state = self.lock();
        let mut over = false;
        // One always fits into an empty queue.
        while !state.entries.is_empty()
            && (state.bytes + weight > self.limits.bytes
                || state.entries.len() >= self.limits.entries)
        {
            if self.limits.never_wait || state.away || over {
                if let Some(oldest) = state.entries.pop_front() {
                    state.bytes -= oldest.weight();
                    state.dropped += 1;
                }
            } else {
                let waited = self.changed.wait_timeout(state, OFTEN);
                let (again, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                state = again;
                over = waited.timed_out() && is_over();
            }
        }
        state.bytes += weight;
        state.entries.push_back(entry);
        self.changed.notify_all();
    }

    /// Takes the oldest entries, at most `most`, when there are some; what comes within `linger` of that is
    /// among them. Empty at the end.
    pub(crate) fn take(&self, most: usize, linger: Duration) -> Vec<Entry> {
        let mut state = self.lock();
        while state.entries.is_empty() && state.ended.is_none() {
            state = self.wait(state);
        }
        let until = Instant::now() + linger;
        while state.entries.len() < most && state.ended.is_none() {
            // A queue that is full gets no longer.
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.bytes >= self.limits.bytes / 2 {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = most.min(state.entries.len());
        let taken: Vec<Entry> = state.entries.drain(..count).collect();
        state.bytes -= taken.iter().map(Entry::weight).sum::<usize>();
        self.changed.notify_all();
        taken
    }

    /// Says that no more entries will come.
    pub(crate) fn end(&self) {
        self.lock().ended.get_or_insert_with(Instant::now);
        self.changed.notify_all();
    }

    /// Says whether the server is away.
    pub(crate) fn set_away(&self, away: bool) {
        self.lock().away = away;
        self.changed.notify_all();
    }

    /// How many were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Counts entries that are dropped elsewhere.
    pub(crate) fn drop_some(&self, count: usize) {
        self.lock().dropped += count as u64;
    }

    /// Waits so long; after the end, for which there is little time, a moment at most.
    pub(crate) fn pause(&self, time: Duration) {
        const AT_THE_END: Duration = Duration::from_millis(200);
        let mut until = Instant::now() + time;
        let mut hurried = false;
        let mut state = self.lock();
        loop {
            if state.ended.is_some() && !std::mem::replace(&mut hurried, true) {
                until = until.min(Instant::now() + AT_THE_END);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How long ago the end was.
    pub(crate) fn ended_for(&self) -> Option<Duration> {
        self.lock().ended.map(|at| at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::line;
    use std::sync::Arc;

    fn queue(entries: usize, never_wait: bool) -> Arc<Queue> {
        Arc::new(Queue::new(Limits {
            bytes: 1 << 20,
            entries,
            never_wait,
        }))
    }

    fn lines(entries: &[Entry]) -> Vec<String> {
        let text = |entry: &Entry| String::from_utf8_lossy(&entry.line).into_owned();
        entries.iter().map(text).collect()
    }

    #[test]
    fn the_oldest_go_when_nobody_may_wait() {
        let queue = queue(2, true);
        for text in ["1", "2", "3", "4"] {
            queue.push(line(false, text), || false);
        }
        assert_eq!(lines(&queue.take(9, Duration::ZERO)), ["3", "4"]);
        assert_eq!(queue.dropped(), 2);
        queue.end();
        assert!(queue.take(9, Duration::ZERO).is_empty());
    }

    #[test]
    fn who_writes_waits_for_a_slow_server_and_not_for_one_that_is_away() {
        let queue = queue(1, false);
        let theirs = Arc::clone(&queue);
        let writer = std::thread::spawn(move || {
            for number in 0..100 {
                theirs.push(line(false, number.to_string()), || false);
            }
        });
        let mut seen = Vec::new();
        while seen.len() < 50 {
            seen.extend(lines(&queue.take(9, Duration::ZERO)));
        }
        assert_eq!(
            seen[..50],
            (0..50).map(|n| n.to_string()).collect::<Vec<_>>()
        );
        queue.set_away(true);
        writer.join().unwrap();
        assert_eq!(lines(&queue.take(9, Duration::ZERO)), ["99"]);
        assert_eq!(queue.dropped() + seen.len() as u64 + 1, 100);
    }

    #[test]
    fn bytes_count_and_a_giant_fits_alone() {
        let queue = Queue::new(Limits {
            bytes: 100,
            entries: 99,
            never_wait: true,
        });
        queue.push(line(false, vec![b'a'; 500]), || false);
        queue.push(line(false, "b"), || false);
        assert_eq!(lines(&queue.take(9, Duration::ZERO)), ["b"]);
    }

    #[test]
    fn nobody_waits_for_room_once_it_is_over() {
        let queue = Queue::new(Limits {
            bytes: 1,
            entries: 1,
            never_wait: false,
        });
        queue.push(line(false, "old"), || false);
        queue.push(line(false, "new"), || true);
        assert_eq!(queue.dropped(), 1);
        let left = queue.take(9, Duration::ZERO);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].line, b"new");
    }
}
