//! Fuzz targets, run briefly with every change: each seed as it is, then changed at random. `fuzz/` runs the same functions
//! for as long as one likes. A part of the tests of each crate that has targets; how inputs are changed is theirs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Random numbers that are the same in every run (xorshift64).
pub(crate) struct Dice(u64);

impl Dice {
    /// Below `bound`; 0 for 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let number = usize::try_from(self.0 >> 33).unwrap_or(0);
        number.checked_rem(bound).unwrap_or(0)
    }

    /// One of these.
    pub(crate) fn choose<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Flips a bit of the byte there, if there is one.
    pub(crate) fn flip(&mut self, input: &mut [u8], at: usize) {
        if let Some(byte) = input.get_mut(at) {
            *byte ^= 1 << self.below(8);
        }
    }
}

/// A target: its name, which is that of the directory of its seeds, and what it does.
type Target = (&'static str, fn(&[u8]));

/// How targets are run.
pub(crate) struct Brief {
    /// How many inputs each gets.
    pub(crate) inputs: u32,
    /// Longer ones find nothing that these do not, but slowly.
    pub(crate) longest: usize,
    /// After about so many changes, which add up, comes a new seed: until nothing but noise is left.
    pub(crate) changes: usize,
    /// Makes one change, with the other seeds at hand.
    pub(crate) change: fn(&mut Vec<u8>, &[Vec<u8>], &mut Dice),
}

impl Brief {
    /// Runs them all; what does not hold is told with its input.
    pub(crate) fn run(&self, targets: &[Target]) {
        for (name, target) in targets {
            let seeds = seeds(name);
            let mut dice = Dice(0x5eed);
            let hold = |input: &[u8]| {
                let held = catch_unwind(AssertUnwindSafe(|| target(input))).is_ok();
                assert!(held, "{name}: {}", input.escape_ascii());
            };
            seeds.iter().for_each(|seed| hold(seed));
            let mut input = dice.choose(&seeds).clone();
            for _ in 0..self.inputs {
                if dice.below(self.changes) == 0 || input.is_empty() || input.len() > self.longest {
                    input.clone_from(dice.choose(&seeds));
                }
                (self.change)(&mut input, &seeds, &mut dice);
                hold(&input);
            }
        }
    }
}

/// Seeds of a target: the files of its directory.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut paths: Vec<_> = fs_err::read_dir(directory)
        .expect("every target has seeds")
        .map(|entry| entry.expect("listed").path())
        .collect();
    paths.sort();
    let read = |path| fs_err::read(path).expect("read");
    paths.iter().map(read).collect()
}
