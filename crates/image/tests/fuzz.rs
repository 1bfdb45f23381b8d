//! The fuzz targets, run briefly with every change: each seed as it is, then changed at random. `fuzz/`
//! runs the same functions for as long as one likes.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]

use hull_image::fuzz::TARGETS;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How many inputs each target gets.
const INPUTS: u32 = 3000;
/// Longer ones find nothing that these do not, but slowly.
const LONGEST: usize = 64 * 1024;
/// Where a header has something, and what makes it strange: name, mode, owner, size, type, target, the
/// marks of the formats, device, prefix.
const FIELDS: [usize; 11] = [0, 100, 108, 124, 136, 156, 157, 257, 329, 345, 482];
const WORDS: [&[u8]; 18] = [
    b"00000000001\0",
    b"77777777777\0",
    b"\x80\0\0\0\0\0\0\0\0\0\x10\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"../../x\0",
    b"/\0",
    b".wh.etc\0",
    b"etc/.wh..wh..opq\0",
    b"etc/passwd\0",
    b"a/etc/x\0",
    b"0",
    b"1",
    b"2",
    b"5",
    b"x",
    b"S",
    b"L",
    b"17 GNU.sparse.size=9\n",
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

/// One change: of a byte, of a header's field, or of the order of blocks.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let blocks = input.len() / 512;
    let block = dice.below(blocks) * 512;
    match dice.below(6) {
        0 => {
            let at = dice.below(input.len());
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        1 | 2 => {
            let at = block + FIELDS[dice.below(FIELDS.len())];
            let word = WORDS[dice.below(WORDS.len())];
            if let Some(place) = input.get_mut(at..at + word.len()) {
                place.copy_from_slice(word);
            }
        }
        3 if blocks > 0 => drop(input.drain(block..block + 512)),
        4 => {
            let other = &seeds[dice.below(seeds.len())];
            let from = dice.below(other.len() / 512) * 512;
            let to = (from + 512 * (1 + dice.below(3))).min(other.len());
            input.splice(block..block, other[from..to].iter().copied());
        }
        _ => input.truncate(input.len() - dice.below(input.len().min(700) + 1)),
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
            // Changes add up, until nothing is left of the archive.
            if dice.below(16) == 0 || input.is_empty() || input.len() > LONGEST {
                input = seeds[dice.below(seeds.len())].clone();
            }
            change(&mut input, &seeds, &mut dice);
            hold(&input);
        }
    }
}
