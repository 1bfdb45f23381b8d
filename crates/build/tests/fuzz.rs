//! The fuzz targets, run briefly with every change.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]

#[path = "../../../fuzz/brief.rs"]
mod brief;

use brief::{Brief, Dice};

/// What means something in Dockerfiles, words and patterns.
const WORDS: [&str; 40] = [
    "FROM ",
    "RUN ",
    "COPY ",
    "ADD ",
    "ARG ",
    "ENV ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "EXPOSE ",
    "LABEL ",
    "--from=",
    "--mount=",
    "type=cache,",
    "--chmod=",
    "--platform=",
    "$",
    "${",
    "}",
    ":-",
    "##",
    "%%",
    "//",
    "<<EOF",
    "<<-'A B'",
    "\nEOF\n",
    "\\\n",
    "\\",
    "`",
    "\n",
    "\r\n",
    "#",
    "# escape=`\n",
    "'",
    "\"",
    "[\"",
    "\"]",
    "**/",
    "!",
    "[^",
    "\u{e9}",
];

/// One change: of a bit, a word, or of what is where.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len());
    match dice.below(6) {
        0 => dice.flip(input, at),
        1..=3 => {
            let word = dice.choose(&WORDS).bytes();
            drop(input.splice(at..at, word));
        }
        4 => {
            let other = dice.choose(seeds);
            let from = dice.below(other.len());
            let to = (from + dice.below(40)).min(other.len());
            drop(input.splice(at..at, other[from..to].iter().copied()));
        }
        _ => drop(input.drain(at..(at + dice.below(12)).min(input.len()))),
    }
}

#[test]
fn every_target_holds() {
    let brief = Brief {
        inputs: 1000,
        longest: 8 * 1024,
        changes: 24,
        change,
    };
    brief.run(&hull_build::fuzz::TARGETS);
}
