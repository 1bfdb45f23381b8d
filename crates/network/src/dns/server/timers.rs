//! What is waited for, and until when.

use hull_linux::reactor::{Interest, Reactor};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// How long nobody is accepted after there was nothing to do it with.
const SHORTAGE: Duration = Duration::from_millis(100);
/// Timers that may be of no use any more before they are sorted out.
const MOST_IDLE: usize = 8192;

/// What a descriptor that is waited for, or a time, is about. The number is a key that is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Listener,
    Control(u64),
    /// Packets of a sandbox.
    Packets(u64),
    /// Connections to a sandbox.
    Connections(u64),
    Stream(u64),
    Upstream(u64),
}

impl Token {
    pub(super) fn number(self) -> u64 {
        let (kind, key) = match self {
            Self::Listener => (0, 0),
            Self::Control(key) => (1, key),
            Self::Packets(key) => (2, key),
            Self::Connections(key) => (3, key),
            Self::Stream(key) => (4, key),
            Self::Upstream(key) => (5, key),
        };
        key << 3 | kind
    }

    pub(super) fn of(number: u64) -> Self {
        let key = number >> 3;
        match number & 7 {
            1 => Self::Control(key),
            2 => Self::Packets(key),
            3 => Self::Connections(key),
            4 => Self::Stream(key),
            5 => Self::Upstream(key),
            _ => Self::Listener,
        }
    }
}

/// Times at which something is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, u64)>>);

impl Timers {
    pub(super) fn at(&mut self, time: Instant, token: Token) {
        self.0.push(Reverse((time, token.number())));
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Token> {
        let Reverse((time, _)) = self.0.peek()?;
        if *time > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, number))| Token::of(number))
    }

    /// Accepts nobody at a socket for a while: with no descriptor left, whoever waits there would be
    /// reported again and again.
    pub(super) fn pause(&mut self, reactor: &Reactor, listener: BorrowedFd<'_>, token: Token) {
        let paused = reactor.change(listener, token.number(), Interest::NONE);
        if paused.is_ok() {
            self.at(Instant::now() + SHORTAGE, token);
        }
    }

    /// Sorts out those that are of no use any more, when there may be many: `live` things have timers.
    pub(super) fn sort_out(&mut self, live: usize, is_of_use: impl Fn(Token) -> bool) {
        if self.0.len() >= 4 * live + MOST_IDLE {
            self.0
                .retain(|Reverse((_, number))| is_of_use(Token::of(*number)));
        }
    }

    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        let Reverse((time, _)) = self.0.peek()?;
        Some(time.saturating_duration_since(now))
    }
}

/// Whether something could not be had that will be there later.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        matches!(
            errno,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS
        )
    })
}
