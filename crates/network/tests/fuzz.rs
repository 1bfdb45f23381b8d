//! The fuzz targets, run briefly with every change.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]

#[path = "../../../fuzz/brief.rs"]
mod brief;

use brief::{Brief, Dice};

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

/// One change: of a bit, of a number, or of what is where.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len());
    match dice.below(8) {
        0 | 1 => dice.flip(input, at),
        2..=4 => {
            let word = dice.choose(&WORDS);
            if let Some(place) = input.get_mut(at..at + word.len()) {
                place.copy_from_slice(word);
            }
        }
        5 => {
            let other = dice.choose(seeds);
            let from = dice.below(other.len());
            input.splice(at..at, other[from..].iter().copied());
        }
        6 => drop(input.drain(at..(at + dice.below(12)).min(input.len()))),
        _ => input.truncate(input.len() - dice.below(input.len().min(8) + 1)),
    }
}

#[test]
fn every_target_holds() {
    let brief = Brief {
        inputs: 100_000,
        longest: 4096,
        changes: 16,
        change,
    };
    brief.run(&hull_network::fuzz::TARGETS);
}
