//! Who waits for other servers, and who has to let others go first.

use std::collections::{BTreeMap, HashMap};

/// How much may wait at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Questions that servers are asked: each has a descriptor or more.
    pub(super) pending: usize,
    /// Clients that wait, of all sandboxes.
    pub(super) waiters: usize,
    /// Clients of one sandbox that wait.
    pub(super) of_a_sandbox: usize,
}

impl Limits {
    const MOST: Self = Self {
        pending: 4096,
        waiters: 8192,
        of_a_sandbox: 256,
    };

    /// For a process that may have so many descriptors. Most of them are left to sandboxes and connections.
    pub(super) fn of(descriptors: u64) -> Self {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let pending = Self::MOST.pending.min(descriptors / 8).max(16);
        Self {
            pending,
            waiters: pending * 2,
            of_a_sandbox: Self::MOST.of_a_sandbox.min(pending / 16).max(1),
        }
    }
}

/// Those who wait. Whoever came first has the smallest number.
#[derive(Debug)]
pub(super) struct Turns {
    limits: Limits,
    /// By sandbox and turn, the question that is waited for.
    questions: HashMap<u64, BTreeMap<u64, u64>>,
    count: usize,
    last: u64,
}

impl Turns {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            questions: HashMap::new(),
            count: 0,
            last: 0,
        }
    }

    /// The next turn, for somebody who waits for `question`.
    pub(super) fn take(&mut self, sandbox: u64, question: u64) -> u64 {
        self.last += 1;
        let turns = self.questions.entry(sandbox).or_default();
        turns.insert(self.last, question);
        self.count += 1;
        self.last
    }

    /// Who had it waits no longer.
    pub(super) fn give_back(&mut self, sandbox: u64, turn: u64) {
        let Some(turns) = self.questions.get_mut(&sandbox) else {
            return;
        };
        if turns.remove(&turn).is_some() {
            self.count -= 1;
        }
        if turns.is_empty() {
            self.questions.remove(&sandbox);
        }
    }

    /// Turns and questions of a sandbox.
    pub(super) fn of(&self, sandbox: u64) -> Vec<(u64, u64)> {
        let turns = self.questions.get(&sandbox).into_iter().flatten();
        turns.map(|(turn, question)| (*turn, *question)).collect()
    }

    /// Sandbox, turn and question of whom to let go before one more of `sandbox` waits, with so many
    /// questions pending: its own oldest when it has its share, or the oldest of whoever has most.
    pub(super) fn too_much(&self, sandbox: u64, pending: usize) -> Option<(u64, u64, u64)> {
        let own = self.questions.get_key_value(&sandbox);
        let has_share = |(_, turns): &(_, &BTreeMap<_, _>)| turns.len() >= self.limits.of_a_sandbox;
        let (of, turns) = own.filter(has_share).or_else(|| {
            let is_full = self.count >= self.limits.waiters || pending >= self.limits.pending;
            let all = is_full.then_some(&self.questions);
            all?.iter().max_by_key(|(_, turns)| turns.len())
        })?;
        let (turn, question) = turns.first_key_value()?;
        Some((*of, *turn, *question))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks once more, each time another question, and gives who was let go.
    fn ask(turns: &mut Turns, sandbox: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        while let Some((of, turn, _)) = turns.too_much(sandbox, turns.count) {
            turns.give_back(of, turn);
            gone.push(of);
        }
        turns.take(sandbox, 0);
        gone
    }

    #[test]
    fn nobody_takes_the_share_of_others() {
        let limits = Limits {
            pending: 10,
            waiters: 20,
            of_a_sandbox: 4,
        };
        let mut turns = Turns::new(limits);
        for sandbox in [1, 2] {
            for _ in 0..4 {
                assert!(ask(&mut turns, sandbox).is_empty());
            }
            let first = turns.of(sandbox)[0];
            assert_eq!(ask(&mut turns, sandbox), [sandbox]);
            assert!(!turns.of(sandbox).contains(&first));
        }
        assert!(ask(&mut turns, 3).is_empty());
        assert!(ask(&mut turns, 3).is_empty());
        // All is full now: those who have most make room until all have the same.
        let mut gone: Vec<u64> = (0..2).flat_map(|_| ask(&mut turns, 4)).collect();
        gone.sort_unstable();
        assert_eq!(gone, [1, 2]);
        assert_eq!(turns.count, 10);
        for (turn, _) in turns.of(1) {
            turns.give_back(1, turn);
            turns.give_back(1, turn);
        }
        assert_eq!((turns.count, turns.questions.len()), (7, 3));
    }

    #[test]
    fn few_descriptors_are_shared_as_well() {
        for descriptors in [0, 64, 1024, 1 << 20, u64::MAX] {
            let limits = Limits::of(descriptors);
            assert!(limits.pending >= 16 * limits.of_a_sandbox && limits.of_a_sandbox > 0);
        }
    }
}
