//! The fuzz targets, run briefly with every change.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]

#[path = "../../../fuzz/brief.rs"]
mod brief;

use brief::{Brief, Dice};

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

/// One change: of a byte, of a header's field, or of the order of blocks.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let blocks = input.len() / 512;
    let block = dice.below(blocks) * 512;
    match dice.below(6) {
        0 => {
            let at = dice.below(input.len());
            dice.flip(input, at);
        }
        1 | 2 => {
            let at = block + dice.choose(&FIELDS);
            let word = dice.choose(&WORDS);
            if let Some(place) = input.get_mut(at..at + word.len()) {
                place.copy_from_slice(word);
            }
        }
        3 if blocks > 0 => drop(input.drain(block..block + 512)),
        4 => {
            let other = dice.choose(seeds);
            let from = dice.below(other.len() / 512) * 512;
            let to = (from + 512 * (1 + dice.below(3))).min(other.len());
            input.splice(block..block, other[from..to].iter().copied());
        }
        _ => input.truncate(input.len() - dice.below(input.len().min(700) + 1)),
    }
}

#[test]
fn every_target_holds() {
    let brief = Brief {
        inputs: 3000,
        longest: 64 * 1024,
        changes: 16,
        change,
    };
    brief.run(&hull_image::fuzz::TARGETS);
}
