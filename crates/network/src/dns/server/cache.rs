//! Answers of the host's servers, kept for as long as they say.

use super::packet::{self, HEADER, Lifetime};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many answers are kept.
const ENTRIES: usize = 2048;
/// Bytes that all of them may have; longer answers push others out.
const BYTES: usize = 2 << 20;
/// Nothing is kept longer, in seconds: hosts move between networks.
const LONGEST: u32 = 3600;
/// Nor is it kept longer that something does not exist.
const LONGEST_NEGATIVE: u32 = 300;

/// Answers by question: all bytes of a query behind the identifier, its name in lower case.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Box<[u8]>, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    message: Box<[u8]>,
    lifetime: Lifetime,
    since: Instant,
}

impl Entry {
    fn age(&self, now: Instant) -> Option<u32> {
        let age = now.saturating_duration_since(self.since);
        (age < Duration::from_secs(self.lifetime.seconds.into()))
            .then(|| u32::try_from(age.as_secs()).unwrap_or(u32::MAX))
    }
}

impl Cache {
    /// An answer of at most `limit` bytes, its times to live as they are by now.
    pub(super) fn get(&self, question: &[u8], limit: usize, now: Instant) -> Option<Vec<u8>> {
        let entry = self.entries.get(question)?;
        let age = entry.age(now)?;
        if entry.message.len() > limit {
            return None;
        }
        let mut message = entry.message.to_vec();
        for place in &entry.lifetime.ttls {
            packet::age(&mut message, *place, age);
        }
        Some(message)
    }

    /// Keeps an answer, if it may be kept.
    pub(super) fn insert(
        &mut self,
        question: Box<[u8]>,
        message: &[u8],
        question_end: usize,
        now: Instant,
    ) {
        // An answer without the question is an error, or will be taken for one.
        if message.len() < question_end || question_end <= HEADER {
            return;
        }
        let Some(mut lifetime) = packet::lifetime(message, question_end) else {
            return;
        };
        let is_negative = message[6..8] == [0, 0] || packet::code(message) != 0;
        lifetime.seconds = lifetime.seconds.min(match is_negative {
            true => LONGEST_NEGATIVE,
            false => LONGEST,
        });
        let size = message.len() + question.len();
        if size > BYTES / 8 {
            return;
        }
        self.make_room(size, now);
        let entry = Entry {
            message: message.into(),
            lifetime,
            since: now,
        };
        self.bytes += size;
        if let Some((old, question)) = self
            .entries
            .insert(question, entry)
            .map(|old| (old.message.len(), size - message.len()))
        {
            self.bytes -= old + question;
        }
    }

    /// Forgets what has expired and, if that is not enough, everything: a cache that is full of what lives
    /// long was filled by somebody who asks for everything.
    fn make_room(&mut self, size: usize, now: Instant) {
        let fits = |cache: &Self| cache.entries.len() < ENTRIES && cache.bytes + size <= BYTES;
        if fits(self) {
            return;
        }
        self.entries.retain(|_, entry| entry.age(now).is_some());
        let sizes = self.entries.iter();
        self.bytes = sizes
            .map(|(key, entry)| key.len() + entry.message.len())
            .sum();
        if !fits(self) {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}
