//! The fuzz target, run briefly with every change: each seed as it is, then changed at random. `fuzz/`
//! runs the same function for as long as one likes.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]

use hull_network::fuzz::TARGETS;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How many inputs the target gets.
const INPUTS: u32 = 100_000;
const LONGEST: usize = 4096;
/// What is strange in a message: counts, pointers, lengths, types.
const WORDS: [&[u8]; 12] = [
    b"\xff\xff",
    b"\0\0",
    b"\0\x01",
    b"\xc0\x0c",
    b"\xc0\xff",
    b"\x3f",
    b"\x40",
    b"\0\x29\xff\xff",
    b"\0\x06\0\x01",
    b"\0\x0c\0\x01",
    b"\x04arpa\0",
    b"\xff\xff\xff\xff\0\x14",
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
    let read = |path| fs_err::read(path).expect("read");
    paths.iter().map(read).collect()
}

/// One change: of a bit, of a number, or of what is where.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len());
    match dice.below(8) {
        0 | 1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        2..=4 => {
            let word = WORDS[dice.below(WORDS.len())];
            if let Some(place) = input.get_mut(at..at + word.len()) {
                place.copy_from_slice(word);
            }
        }
        5 => {
            let other = &seeds[dice.below(seeds.len())];
            let from = dice.below(other.len());
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
            // Changes add up, until nothing is left of the message.
            if dice.below(16) == 0 || input.is_empty() || input.len() > LONGEST {
                input = seeds[dice.below(seeds.len())].clone();
            }
            change(&mut input, &seeds, &mut dice);
            hold(&input);
        }
    }
}
