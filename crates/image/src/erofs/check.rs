//! Whether an index holds together: what a kernel relies on when it mounts one, checked by reading it
//! the other way round than it was written.

use super::format::{
    self, ATTRIBUTES_HEAD, BLOCK, BLOCK_SIZE, CHUNK_INDEXES, DIRECTORY, FILE, HEAD, SLOT,
    SUPERBLOCK_AT, SYMLINK, TYPE_MASK,
};
use std::collections::HashMap;

/// Why an index is wrong.
type Wrong = &'static str;

/// An index being checked.
struct Image<'i> {
    bytes: &'i [u8],
    metadata: u64,
    /// Where the archive begins and ends in the space of addresses, in blocks.
    archive: std::ops::Range<u64>,
    archive_blocks: u64,
    inodes: u64,
}

/// What is known of an inode.
struct Seen {
    names: u32,
    subdirectories: u32,
    mode: u16,
    links: u32,
}

/// An inode as it is read.
struct Inode {
    layout: u16,
    mode: u16,
    links: u32,
    size: u64,
    union: u32,
    /// Where its attributes are, and where what follows them.
    attributes: std::ops::Range<u64>,
}

/// Checks an index of an archive of so many bytes: the superblock, every inode that has a name, its
/// attributes, that directories are sorted, names legal and links counted, and that all data is
/// inside the index or the archive.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn check(bytes: &[u8], archive: u64) -> Result<(), Wrong> {
    let image = Image::open(bytes, archive)?;
    let root = u64::from(image.u16(SUPERBLOCK_AT as u64 + 14)?);
    let mut seen: HashMap<u64, Seen> = HashMap::new();
    let mut pending = vec![(root, root)];
    image.visit(root, &mut seen)?;
    while let Some((directory, parent)) = pending.pop() {
        let mut subdirectories = 0;
        for (name, number, kind) in image.directory(directory)? {
            match name.as_slice() {
                b"." if number == directory => continue,
                b".." if number == parent => continue,
                b"." | b".." => return Err("a directory that leads elsewhere"),
                _ => {}
            }
            let first = !seen.contains_key(&number);
            let mode = image.visit(number, &mut seen)?;
            if kind != format::entry_type(mode) {
                return Err("a name of another type than its inode");
            }
            if mode & TYPE_MASK == DIRECTORY {
                if !first {
                    return Err("a directory of two names");
                }
                subdirectories += 1;
                pending.push((number, directory));
            }
        }
        let known = seen
            .get_mut(&directory)
            .ok_or("a directory without a name")?;
        known.subdirectories = subdirectories;
    }
    let links = |known: &Seen| match known.mode & TYPE_MASK {
        DIRECTORY => known.links == known.subdirectories + 2,
        _ => known.links == known.names,
    };
    if !seen.values().all(links) {
        return Err("a wrong number of links");
    }
    if seen.len() as u64 != image.inodes {
        return Err("a wrong number of inodes");
    }
    Ok(())
}

impl<'i> Image<'i> {
    fn open(bytes: &'i [u8], archive: u64) -> Result<Self, Wrong> {
        let at = SUPERBLOCK_AT as u64;
        let mut image = Self {
            bytes,
            metadata: 0,
            archive: 0..0,
            archive_blocks: archive.div_ceil(BLOCK),
            inodes: 0,
        };
        let mut block = image.slice(at, BLOCK)?.to_vec();
        block[4..8].fill(0);
        if image.u32(at)? != format::MAGIC || image.u32(at + 4)? != format::crc32c(&block) {
            return Err("not a superblock, or a damaged one");
        }
        let blocks = u64::from(image.u32(at + 36)?);
        if blocks * BLOCK != bytes.len() as u64 {
            return Err("a wrong number of blocks");
        }
        let start = u64::from(image.u32(at + 128 + 68)?);
        let count = u64::from(image.u32(at + 128 + 64)?);
        if start != blocks || count > image.archive_blocks {
            return Err("a wrong further device");
        }
        image.inodes = image.u64(at + 16)?;
        image.metadata = u64::from(image.u32(at + 40)?) * BLOCK;
        image.archive = start..start + count;
        if image.metadata < HEAD {
            return Err("metadata in the superblock");
        }
        Ok(image)
    }

    fn slice(&self, at: u64, length: u64) -> Result<&'i [u8], Wrong> {
        let end = at.checked_add(length).ok_or("a place beyond the end")?;
        let range = usize::try_from(at).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(0);
        self.bytes.get(range).ok_or("a place beyond the end")
    }

    fn u16(&self, at: u64) -> Result<u16, Wrong> {
        let bytes = self.slice(at, 2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&self, at: u64) -> Result<u32, Wrong> {
        Ok(u32::from(self.u16(at)?) | u32::from(self.u16(at + 2)?) << 16)
    }

    fn u64(&self, at: u64) -> Result<u64, Wrong> {
        Ok(u64::from(self.u32(at)?) | u64::from(self.u32(at + 4)?) << 32)
    }

    fn inode(&self, number: u64) -> Result<Inode, Wrong> {
        let at = self.metadata + number * SLOT;
        let kind = self.u16(at)?;
        let extended = kind & 1 == 1;
        let attributes = match self.u16(at + 2)? {
            0 => 0,
            count => ATTRIBUTES_HEAD as u64 + 4 * (u64::from(count) - 1),
        };
        let end = at + if extended { 64 } else { 32 };
        Ok(Inode {
            layout: kind >> 1,
            mode: self.u16(at + 4)?,
            links: if extended {
                self.u32(at + 44)?
            } else {
                self.u16(at + 6)?.into()
            },
            size: if extended {
                self.u64(at + 8)?
            } else {
                self.u32(at + 8)?.into()
            },
            union: self.u32(at + 16)?,
            attributes: end..end + attributes,
        })
    }

    /// Checks an inode the first time that a name leads to it; gives its mode.
    fn visit(&self, number: u64, seen: &mut HashMap<u64, Seen>) -> Result<u16, Wrong> {
        if let Some(known) = seen.get_mut(&number) {
            known.names += 1;
            return Ok(known.mode);
        }
        let inode = self.inode(number)?;
        self.attributes(&inode)?;
        match inode.mode & TYPE_MASK {
            FILE => self.data(&inode)?,
            DIRECTORY => {}
            SYMLINK => {
                let target = self.content(&inode)?;
                if target.is_empty() || target.contains(&0) {
                    return Err("a symbolic link to nothing");
                }
            }
            _ if inode.layout != 0 || inode.size != 0 => return Err("a device with data"),
            _ => {}
        }
        let known = Seen {
            names: 1,
            subdirectories: 0,
            mode: inode.mode,
            links: inode.links,
        };
        let mode = known.mode;
        seen.insert(number, known);
        Ok(mode)
    }

    fn attributes(&self, inode: &Inode) -> Result<(), Wrong> {
        let mut at = inode.attributes.start;
        if inode.attributes.is_empty() {
            return Ok(());
        }
        at += ATTRIBUTES_HEAD as u64;
        if at >= inode.attributes.end || self.u64(at - 8)? != 0 {
            return Err("attributes without any");
        }
        while at < inode.attributes.end {
            let head = self.slice(at, 4)?;
            let whole = matches!(head[1], 2 | 3);
            if !matches!(head[1], 1..=4 | 6) || whole != (head[0] == 0) {
                return Err("an attribute of no name space");
            }
            let value = u64::from(self.u16(at + 2)?);
            at += (4 + u64::from(head[0]) + value).next_multiple_of(4);
        }
        if at == inode.attributes.end {
            Ok(())
        } else {
            Err("attributes that end in one")
        }
    }

    /// Whether blocks are in the archive, or in the index between its head and its metadata.
    fn has(&self, first: u64, count: u64) -> bool {
        let copied = HEAD / BLOCK..self.metadata / BLOCK;
        [&self.archive, &copied]
            .iter()
            .any(|range| first >= range.start && first + count <= range.end)
    }

    fn data(&self, inode: &Inode) -> Result<(), Wrong> {
        let blocks = inode.size.div_ceil(BLOCK);
        match inode.layout {
            0 if blocks == 0 || self.has(u64::from(inode.union), blocks) => Ok(()),
            4 if inode.union & !0x1f == CHUNK_INDEXES => {
                let bits = inode.union & 0x1f;
                let table = inode.attributes.end.next_multiple_of(8);
                for number in 0..blocks.div_ceil(1 << bits) {
                    let count = (1 << bits).min(blocks - (number << bits));
                    let first = u64::from(self.u32(table + number * 8 + 4)?);
                    let fits = match self.u32(table + number * 8)? >> 16 {
                        _ if first == u64::from(u32::MAX) => true,
                        0 => first >= HEAD / BLOCK && self.has(first, count),
                        1 => first + count <= self.archive_blocks,
                        _ => false,
                    };
                    if !fits {
                        return Err("a chunk outside of everything");
                    }
                }
                Ok(())
            }
            _ => Err("a file whose data is nowhere"),
        }
    }

    /// The content of a directory or a target.
    fn content(&self, inode: &Inode) -> Result<Vec<u8>, Wrong> {
        if inode.size == 0 {
            return Err("no content");
        }
        let tail = match inode.layout {
            0 => 0,
            2 => inode.size - (inode.size - 1) / BLOCK * BLOCK,
            _ => return Err("a layout that is for files"),
        };
        let whole = (inode.size - tail).next_multiple_of(BLOCK);
        let mut out = self
            .slice(u64::from(inode.union) * BLOCK * u64::from(whole > 0), whole)?
            .to_vec();
        if inode.attributes.end % BLOCK + tail > BLOCK {
            return Err("a tail across a block's border");
        }
        out.extend_from_slice(self.slice(inode.attributes.end, tail)?);
        out.truncate(usize::try_from(inode.size).unwrap_or(usize::MAX));
        Ok(out)
    }

    /// The names of a directory, in their order, with number and type.
    fn directory(&self, number: u64) -> Result<Vec<(Vec<u8>, u64, u8)>, Wrong> {
        let inode = self.inode(number)?;
        let content = self.content(&inode)?;
        let mut found: Vec<(Vec<u8>, u64, u8)> = Vec::new();
        for block in content.chunks(BLOCK_SIZE) {
            let place = |index: usize| -> Result<usize, Wrong> {
                let at = index * 12 + 8;
                let bytes = block.get(at..at + 2).ok_or("a directory cut off")?;
                Ok(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
            };
            let count = place(0)? / 12;
            for index in 0..count {
                let end = match index + 1 {
                    next if next < count => place(next)?,
                    _ => block.len(),
                };
                let name = block
                    .get(place(index)?..end)
                    .ok_or("a name outside of its block")?;
                let name = match index + 1 == count {
                    true => name.split(|byte| *byte == 0).next().unwrap_or_default(),
                    false => name,
                };
                let number = block[index * 12..][..8].iter().rev();
                let number = number.fold(0, |number, byte| number << 8 | u64::from(*byte));
                found.push((name.to_vec(), number, block[index * 12 + 10]));
            }
        }
        let legal = |name: &[u8]| {
            !name.is_empty() && name.len() <= 255 && !name.iter().any(|b| matches!(b, 0 | b'/'))
        };
        if !found.iter().all(|(name, ..)| legal(name)) {
            return Err("a name that is none");
        }
        if !found.is_sorted_by(|a, b| a.0 < b.0) {
            return Err("names out of order");
        }
        let own = |wanted: &[u8]| found.iter().any(|(name, ..)| name == wanted);
        if own(b".") && own(b"..") {
            Ok(found)
        } else {
            Err("a directory without its own names")
        }
    }
}
