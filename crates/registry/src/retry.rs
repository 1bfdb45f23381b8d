//! When to try again, and how long to wait before.

use std::time::Duration;

/// Policy for transient failures: lost connections, 429, 500, 502, 503 and 504.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many times a request is sent again at most.
    pub attempts: u32,
    /// The first pause; each further one is twice as long. A random part of up to a half is taken
    /// off, so that clients do not come back in step.
    pub base: Duration,
    /// The longest pause of our own.
    pub cap: Duration,
    /// The longest `Retry-After` that is waited for; a server that asks for more is told of at once.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(15),
            longest: Duration::from_secs(60),
        }
    }
}

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Retry,
    done: u32,
}

impl Backoff {
    pub(crate) fn new(policy: Retry) -> Self {
        Self { policy, done: 0 }
    }

    /// The pause before the next attempt, or `None` when there is none. `asked` is the server's
    /// `Retry-After`.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.done >= self.policy.attempts {
            return None;
        }
        let own = self
            .policy
            .base
            .saturating_mul(1_u32.checked_shl(self.done).unwrap_or(u32::MAX))
            .min(self.policy.cap);
        self.done += 1;
        match asked {
            Some(asked) => (asked <= self.policy.longest).then_some(asked),
            None => Some(own.mul_f64(rand::random_range(0.5..=1.0))),
        }
    }

    /// Progress was made: count from the start again.
    pub(crate) fn reset(&mut self) {
        self.done = 0;
    }
}

/// Reads `Retry-After` (RFC 9110, 10.2.3). The date form is rare at registries and read as absent,
/// which means our own back-off.
pub(crate) fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_bounds_and_end() {
        let policy = Retry {
            attempts: 40,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(5),
            longest: Duration::from_secs(60),
        };
        let mut backoff = Backoff::new(policy);
        for expected in [1, 2, 4].into_iter().chain([5; 37]) {
            let pause = backoff.next(None).unwrap();
            let whole = Duration::from_secs(expected);
            assert!(
                pause <= whole && pause >= whole / 2,
                "{pause:?} of {whole:?}"
            );
        }
        assert_eq!(backoff.next(None), None);
        backoff.reset();
        assert_eq!(
            backoff.next(Some(Duration::from_secs(7))),
            Some(Duration::from_secs(7))
        );
        assert_eq!(backoff.next(Some(Duration::from_secs(61))), None);
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        assert_eq!(retry_after(" 3 "), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(retry_after("-1"), None);
    }
}
