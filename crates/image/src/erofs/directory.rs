//! Directories on disk: blocks of entries, each with a number of an inode, a type and where in the
//! block the name is; all names of a block follow its entries. Names are in the order of their bytes,
//! throughout, because the kernel looks for them by halving.

use super::format::{BLOCK, BLOCK_SIZE, short};

/// An entry without its name.
const ENTRY: usize = 12;

/// Bytes of a directory, with its own two entries.
pub(super) fn size<'n>(names: impl Iterator<Item = &'n [u8]>) -> u64 {
    let mut size = 0;
    let mut used = 0;
    for length in names.map(|name| name.len() + ENTRY) {
        if used + length > BLOCK_SIZE {
            size += BLOCK;
            used = 0;
        }
        used += length;
    }
    size + used as u64
}

/// A directory being written.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    out: Vec<u8>,
    entries: Vec<u8>,
    names: Vec<u8>,
}

impl Blocks {
    /// Adds a name, which comes after all that were added before.
    pub(super) fn add(&mut self, name: &[u8], inode: u64, kind: u8) {
        if self.entries.len() + self.names.len() + ENTRY + name.len() > BLOCK_SIZE {
            self.end_block();
            self.out
                .resize(self.out.len().next_multiple_of(BLOCK_SIZE), 0);
        }
        self.entries.extend_from_slice(&inode.to_le_bytes());
        // Corrected when it is known how many entries come before the names.
        let place = short(self.names.len());
        self.entries.extend_from_slice(&place.to_le_bytes());
        self.entries.extend_from_slice(&[kind, 0]);
        self.names.extend_from_slice(name);
    }

    fn end_block(&mut self) {
        let before = short(self.entries.len());
        for entry in self.entries.chunks_exact_mut(ENTRY) {
            let place = u16::from_le_bytes([entry[8], entry[9]]) + before;
            entry[8..10].copy_from_slice(&place.to_le_bytes());
        }
        self.out.append(&mut self.entries);
        self.out.append(&mut self.names);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_block();
        self.out
    }
}
