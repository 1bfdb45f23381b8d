//! The fuzz targets, run briefly with every change: each seed as it is, then changed at random. `fuzz/` runs the same functions
//! for as long as one likes.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]

use hull_daemon::fuzz::TARGETS;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How many inputs each target gets.
const INPUTS: u32 = 20_000;
const LONGEST: usize = 8192;
/// What is strange in requests: zeros, empty things, numbers too large, texts cut off, wrong types, what needs escaping.
const WORDS: [&str; 24] = [
    "null",
    "{}",
    "[]",
    "[[",
    "{\"",
    "\"\"",
    "-1",
    "1e999",
    "0.5",
    "99999999999999999999",
    "-9223372036854775808",
    "true",
    "\"\\ud800\"",
    "\\u0000",
    ":",
    ",",
    "/",
    "%",
    "%zz",
    "\u{e9}",
    "=",
    "&",
    "0-65536",
    "::",
];

/// Random numbers that are the same in every run (xorshift64).
struct Dice(u64);

impl Dice {
    /// Below `bound`; 0 for 0.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let number = usize::try_from(self.0 >> 33).unwrap_or(0);
        number.checked_rem(bound).unwrap_or(0)
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut paths: Vec<_> = fs_err::read_dir(directory)
        .expect("every target has seeds")
        .map(|entry| entry.expect("listed").path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs_err::read(path).expect("read"))
        .collect()
}

/// The ends of JSON's values and names: what is changed there stays JSON more often.
fn seam(input: &[u8], dice: &mut Dice) -> usize {
    let start = dice.below(input.len());
    let rest = input[start..]
        .iter()
        .position(|byte| b"{}[],:\"=&/".contains(byte));
    start + rest.unwrap_or(0)
}

/// One change: of a bit, of a value, or of what is where.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = seam(input, dice);
    let word = WORDS[dice.below(WORDS.len())].as_bytes();
    match dice.below(8) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        // In place of what comes up to the next seam.
        1..=3 => {
            let from = (at + 1).min(input.len());
            let length = input[from..]
                .iter()
                .position(|byte| b",}]&".contains(byte))
                .unwrap_or(0);
            input.splice(from..from + length, word.iter().copied());
        }
        4 => drop(input.splice(at..at, word.iter().copied())),
        5 => {
            let other = &seeds[dice.below(seeds.len())];
            let from = seam(other, dice);
            input.splice(at..at, other[from..].iter().copied());
        }
        6 => drop(input.drain(at..(at + dice.below(12)).min(input.len()))),
        _ => input.truncate(input.len() - dice.below(input.len().min(8) + 1)),
    }
}

#[test]
fn every_target_holds() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        let mut dice = Dice(0x5eed);
        let hold = |input: &[u8]| {
            let held = catch_unwind(AssertUnwindSafe(|| target(input))).is_ok();
            assert!(held, "{name}: {}", input.escape_ascii());
        };
        seeds.iter().for_each(|seed| hold(seed));
        let mut input = seeds[0].clone();
        for _ in 0..INPUTS {
            // Changes add up, for a while.
            if dice.below(6) == 0 || input.is_empty() || input.len() > LONGEST {
                input = seeds[dice.below(seeds.len())].clone();
            }
            change(&mut input, &seeds, &mut dice);
            hold(&input);
        }
    }
}
