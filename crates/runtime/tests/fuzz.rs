//! The fuzz targets, run briefly with every change: each seed as it is, then changed at random. What goes
//! wrong is told with the input that did it; `fuzz/` runs the same functions for as long as one likes.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]

use hull_runtime::fuzz::TARGETS;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How many inputs each target gets.
const INPUTS: u32 = 20_000;
/// Longer ones find nothing that these do not, but slowly.
const LONGEST: usize = 16 * 1024;

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

/// Pieces that make documents and command lines strange.
const WORDS: &[&str] = &[
    "null",
    "true",
    "-1",
    "0",
    "4294967296",
    "18446744073709551616",
    "1e400",
    "[]",
    "{}",
    "\"\"",
    "[[[[",
    "\\u0000",
    "\"..\"",
    "/../",
    "--",
    "-",
    "=",
    "\0",
    ",",
    ":",
    "\u{fffd}",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "r",
    "ro",
    "\"path\":",
    "\"type\":\"user\"",
    "\"args\":[{\"index\":6}]",
    "--force",
    "-b",
    "\\",
    "9",
    "e",
    ".",
    "*",
];

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

/// One small change.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    let end = at + dice.below((input.len() - at).min(64) + 1);
    match dice.below(6) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        1 => drop(input.drain(at..end)),
        2 => drop(input.splice(at..end, WORDS[dice.below(WORDS.len())].bytes())),
        3 => drop(input.splice(at..at, WORDS[dice.below(WORDS.len())].bytes())),
        4 => {
            let piece = input[at..end].to_vec();
            let place = dice.below(input.len() + 1);
            drop(input.splice(place..place, piece));
        }
        _ => {
            let other = &seeds[dice.below(seeds.len())];
            let from = dice.below(other.len() + 1);
            let to = from + dice.below((other.len() - from).min(256) + 1);
            drop(input.splice(at..end, other[from..to].iter().copied()));
        }
    }
}

#[test]
fn every_target_holds() {
    // What a target says when it panics is said below, with its input.
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        let mut dice = Dice(0x5eed);
        let hold = |input: &[u8]| {
            let held = catch_unwind(AssertUnwindSafe(|| target(input))).is_ok();
            assert!(held, "{name}: {:?}", String::from_utf8_lossy(input));
        };
        seeds.iter().for_each(|seed| hold(seed));
        let mut input = seeds[0].clone();
        for _ in 0..INPUTS {
            // Changes add up, until the document is nothing but noise.
            if dice.below(16) == 0 || input.len() > LONGEST {
                input = seeds[dice.below(seeds.len())].clone();
            }
            change(&mut input, &seeds, &mut dice);
            hold(&input);
        }
    }
}
