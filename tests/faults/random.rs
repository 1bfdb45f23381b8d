//! Numbers that look random and are the same each time.

/// A linear congruential generator (Knuth's MMIX); its upper bits are used.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// One of several.
    pub(crate) fn one_of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        let at = self.below(all.len() as u64);
        &all[usize::try_from(at).unwrap_or_default()]
    }

    /// Waits for up to so many microseconds: the moment of a kill, not a condition.
    pub(crate) fn wait(&mut self, micros: u64) {
        let pause = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(self.below(micros) * 1000).unwrap_or(0),
        };
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
}
