//! Sparse files: which chunks they get, and what of their data has to be copied into the index.
//!
//! A chunk is a hole, or lies in the archive as it is, or is copied. It can stay in the archive when
//! it is in one part of the file as a whole and lies there at a block's border, which is what GNU
//! tar's archives of files with ordinary holes have.

use super::format::{self, BLOCK, BLOCK_BITS, HOLE};
use crate::unpack::{Archive, Error, Segment};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// A power of two that no chunk's size in blocks is above.
const MAX_BITS: u8 = 31;
/// More chunks in all files of a layer are an attack on memory: 32 MiB.
const MAX_CHUNKS: u64 = 1 << 22;

/// A part of a file, and where it is in the archive.
#[derive(Clone, Copy, Debug)]
struct Part {
    offset: u64,
    length: u64,
    archive: u64,
}

impl Part {
    fn end(&self) -> u64 {
        self.offset + self.length
    }

    fn is_aligned(&self) -> bool {
        self.offset % BLOCK == self.archive % BLOCK
    }
}

/// The chunks of one sparse file.
#[derive(Debug)]
pub(super) struct Plan {
    bits: u8,
    size: u64,
    parts: Vec<Part>,
}

impl Plan {
    /// Decides for a file of `size` bytes whose data starts at `archive`.
    pub(super) fn new(segments: &[Segment], size: u64, mut archive: u64) -> Result<Self, Error> {
        let mut parts: Vec<Part> = Vec::new();
        for segment in segments.iter().filter(|segment| segment.length > 0) {
            match parts.last_mut() {
                Some(last) if last.end() == segment.offset => last.length += segment.length,
                _ => parts.push(Part {
                    offset: segment.offset,
                    length: segment.length,
                    archive,
                }),
            }
            archive += segment.length;
        }
        // All that will be pointed at has a number.
        format::block(archive)?;
        let mut plan = Self {
            bits: 0,
            size,
            parts,
        };
        let cheapest = (0..=MAX_BITS).min_by_key(|bits| plan.cost(*bits));
        plan.bits = cheapest.unwrap_or(0);
        Ok(plan)
    }

    pub(super) fn bits(&self) -> u8 {
        self.bits
    }

    fn count(&self, bits: u8) -> u64 {
        self.size.div_ceil(BLOCK << bits)
    }

    /// The bytes that chunks of a size cost in the index. A copied chunk is mostly a hole in the
    /// index, too, but not for free: its addresses are used up.
    fn cost(&self, bits: u8) -> u64 {
        let chunk = BLOCK << bits;
        let mut cost = self.count(bits) * 8;
        let mut copied = None;
        for part in &self.parts {
            let mut copy = |first: u64, last: u64, bytes: u64| {
                let new = last - first + u64::from(copied != Some(first));
                copied = Some(last);
                cost = cost.saturating_add(bytes.saturating_add((new * chunk).div_ceil(64)));
            };
            let (first, last) = (part.offset / chunk, (part.end() - 1) / chunk);
            let whole = self.whole(part, chunk);
            if whole.is_empty() {
                copy(first, last, part.length);
                continue;
            }
            if first < whole.start {
                copy(first, first, whole.start * chunk - part.offset);
            }
            if last >= whole.end {
                copy(last, last, part.end() - whole.end * chunk);
            }
        }
        cost
    }

    /// The chunks of a part that can stay in the archive.
    fn whole(&self, part: &Part, chunk: u64) -> std::ops::Range<u64> {
        let first = part.offset.div_ceil(chunk);
        let end = if part.end() == self.size {
            part.end().div_ceil(chunk)
        } else {
            part.end() / chunk
        };
        if part.is_aligned() && first < end {
            first..end
        } else {
            first..first
        }
    }
}

/// Data copied into the index, which comes before everything else there.
#[derive(Debug)]
pub(super) struct Spill<'o> {
    out: &'o mut File,
    end: u64,
    chunks: u64,
}

impl<'o> Spill<'o> {
    pub(super) fn new(out: &'o mut File) -> Self {
        Self {
            out,
            end: format::HEAD,
            chunks: 0,
        }
    }

    /// The file and the block where the rest of the index can begin.
    pub(super) fn finish(self) -> (&'o mut File, u64) {
        (self.out, self.end)
    }

    /// Reads a file's data; gives its table of chunks.
    pub(super) fn table(
        &mut self,
        plan: &Plan,
        archive: &mut Archive<'_>,
    ) -> Result<Vec<u64>, Error> {
        let (bits, count) = (plan.bits, plan.count(plan.bits));
        self.chunks += count;
        let too_many = || Error::Bound("its sparse files have too many parts");
        if self.chunks > MAX_CHUNKS {
            return Err(too_many());
        }
        let chunk = BLOCK << bits;
        let mut table = vec![HOLE; usize::try_from(count).map_err(|_| too_many())?];
        for part in &plan.parts {
            let whole = plan.whole(part, chunk);
            let mut offset = part.offset;
            while offset < part.end() {
                let number = offset / chunk;
                let length = (chunk - offset % chunk).min(part.end() - offset);
                // Both fit: the count was checked above.
                let place = &mut table[usize::try_from(number).map_err(|_| too_many())?];
                if whole.contains(&number) {
                    let at = format::block(part.archive + (offset - part.offset))?;
                    *place = 1 << 16 | u64::from(at) << 32;
                    archive.pass(length)?;
                } else {
                    if *place == HOLE {
                        *place = u64::from(format::block(self.end)?) << 32;
                        let end = ((number + 1) * chunk).min(plan.size);
                        self.end += (end - number * chunk).next_multiple_of(BLOCK);
                    }
                    let at = (*place >> 32 << BLOCK_BITS) + offset % chunk;
                    self.copy(archive, at, length)?;
                }
                offset += length;
            }
        }
        Ok(table)
    }

    /// The table of a file of `size` bytes that is in the archive from a block on, but for the last
    /// bytes, whose block is not whole there.
    pub(super) fn table_but_last(
        &mut self,
        first: u32,
        size: u64,
        last: &[u8],
    ) -> Result<Vec<u64>, Error> {
        let count = size.div_ceil(BLOCK);
        self.chunks += count;
        if self.chunks > MAX_CHUNKS {
            return Err(Error::Truncated);
        }
        let whole = (0..size / BLOCK).map(|number| 1 << 16 | (u64::from(first) + number) << 32);
        let mut table: Vec<u64> = whole.collect();
        table.push(u64::from(format::block(self.end)?) << 32);
        let written = self.out.write_all_at(last, self.end);
        written.map_err(|source| Error::io("write index of", b"/", source))?;
        self.end += BLOCK;
        Ok(table)
    }

    fn copy(
        &mut self,
        archive: &mut Archive<'_>,
        mut at: u64,
        mut length: u64,
    ) -> Result<(), Error> {
        while length > 0 {
            let data = archive.data()?;
            if data.is_empty() {
                return Err(Error::Truncated);
            }
            let count = data
                .len()
                .min(usize::try_from(length).unwrap_or(usize::MAX));
            let result = self.out.write_all_at(&data[..count], at);
            result.map_err(|source| Error::io("write index of", b"/", source))?;
            archive.consume(count);
            at += count as u64;
            length -= count as u64;
        }
        Ok(())
    }
}
