//! The fuzz targets, run briefly with every change.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]

#[path = "../../../fuzz/brief.rs"]
mod brief;

use brief::{Brief, Dice};

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
    let word = dice.choose(&WORDS).as_bytes();
    match dice.below(8) {
        0 => dice.flip(input, at),
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
            let other = dice.choose(seeds);
            let from = seam(other, dice);
            input.splice(at..at, other[from..].iter().copied());
        }
        6 => drop(input.drain(at..(at + dice.below(12)).min(input.len()))),
        _ => input.truncate(input.len() - dice.below(input.len().min(8) + 1)),
    }
}

#[test]
fn every_target_holds() {
    let brief = Brief {
        inputs: 20_000,
        longest: 8192,
        changes: 6,
        change,
    };
    brief.run(&hull_daemon::fuzz::TARGETS);
}
