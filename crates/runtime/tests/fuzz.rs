//! The fuzz targets, run briefly with every change.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]

#[path = "../../../fuzz/brief.rs"]
mod brief;

use brief::{Brief, Dice};

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

/// One small change.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    let end = at + dice.below((input.len() - at).min(64) + 1);
    match dice.below(6) {
        0 => dice.flip(input, at),
        1 => drop(input.drain(at..end)),
        2 => drop(input.splice(at..end, dice.choose(WORDS).bytes())),
        3 => drop(input.splice(at..at, dice.choose(WORDS).bytes())),
        4 => {
            let piece = input[at..end].to_vec();
            let place = dice.below(input.len() + 1);
            drop(input.splice(place..place, piece));
        }
        _ => {
            let other = dice.choose(seeds);
            let from = dice.below(other.len() + 1);
            let to = from + dice.below((other.len() - from).min(256) + 1);
            drop(input.splice(at..end, other[from..to].iter().copied()));
        }
    }
}

#[test]
fn every_target_holds() {
    let brief = Brief {
        inputs: 20_000,
        longest: 16 * 1024,
        changes: 16,
        change,
    };
    brief.run(&hull_runtime::fuzz::TARGETS);
}
