//! The tree becomes the index: every inode gets its place, then all is written from front to back.

use super::directory::{self, Blocks};
use super::format::{self, BLOCK, BLOCK_SIZE, Layout, SLOT, Superblock, word};
use super::tree::{Children, Content, Inode, Name, ROOT, Tree};
use crate::unpack::Error;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};

/// More inodes, with what follows them, are an attack on the disk: 1 GiB.
const MAX_SLOTS: u64 = (1 << 30) / SLOT;
/// More different times are not counted, to find the most frequent one.
const MAX_TIMES: usize = 1 << 16;
/// How many gaps between inodes are remembered to be filled.
const MAX_GAPS: usize = 8;

/// Writes the index of a tree. Gives the bytes in its files.
///
/// `opaque` is the encoded mark of an opaque directory, `archive` the length of the archive, and
/// `out` has copied data up to the given place.
pub(super) fn write(
    tree: &mut Tree,
    opaque: &[u8],
    archive: u64,
    (out, start): (&mut File, u64),
) -> Result<u64, Error> {
    let children = tree.children();
    let counted = count(tree, &children);
    let mut layout = Placed {
        tree,
        children,
        links: counted.links,
        time: counted.time,
        opaque,
        slots: Vec::new(),
        order: Vec::new(),
    };
    let metadata = layout.place()?;
    let first = format::block(start)?;
    let blocks = format::block(start + (metadata * SLOT).next_multiple_of(BLOCK))?;
    let names: u64 = layout
        .order
        .iter()
        .map(|(_, name)| layout.shape(*name).blocks)
        .sum();
    let total = format::block((u64::from(blocks) + names) * BLOCK)?;
    let archive = format::block(archive.next_multiple_of(BLOCK))?;
    // The last number means a hole.
    if u64::from(total) + u64::from(archive) >= u64::from(u32::MAX) {
        return Err(Error::Bound("its archive is larger than 2 TiB"));
    }
    let mut superblock = Superblock {
        root: format::short(layout.slots[layout.tree.inode_number(ROOT) as usize]),
        inodes: layout.order.len() as u64,
        time: layout.time,
        blocks: total,
        metadata: first,
        uuid: [0; 16],
        archive,
    };
    layout
        .write(&mut superblock, blocks, out)
        .map_err(|source| Error::io("write index of", b"/", source))?;
    Ok(counted.size)
}

/// What has to be known of the whole tree first.
struct Counted {
    /// For each inode; 0 is one that has no name any more.
    links: Vec<u32>,
    /// The most frequent time.
    time: (i64, u32),
    /// Bytes in files.
    size: u64,
}

fn count(tree: &Tree, children: &Children) -> Counted {
    let mut links = vec![0u32; tree.inodes().len()];
    let mut times = HashMap::new();
    let mut size: u64 = 0;
    // Its own two names.
    links[tree.inode_number(ROOT) as usize] = 2;
    for name in std::iter::once(&ROOT).chain(children.all()) {
        let number = tree.inode_number(*name) as usize;
        let inode = &tree.inodes()[number];
        if *name != ROOT {
            links[number] += 1;
            if inode.is(format::DIRECTORY) {
                links[number] += 1;
                links[tree.inode_number(tree.parent(*name)) as usize] += 1;
            }
        }
        if links[number] == 1 {
            size = size.saturating_add(inode.size);
        }
        if let Some(time) = inode.time
            && (times.len() < MAX_TIMES || times.contains_key(&time))
        {
            *times.entry(time).or_insert(0) += 1;
        }
    }
    let most = times
        .into_iter()
        .max_by_key(|(time, count): &(_, u32)| (*count, std::cmp::Reverse(*time)));
    Counted {
        links,
        time: most.map_or((0, 0), |(time, _)| time),
        size,
    }
}

/// A tree whose inodes get or have places.
struct Placed<'t> {
    tree: &'t Tree,
    children: Children,
    links: Vec<u32>,
    time: (i64, u32),
    opaque: &'t [u8],
    /// For each inode; 0 is one that has none.
    slots: Vec<u32>,
    /// Slots and one name of each inode, in the order of the slots.
    order: Vec<(u32, Name)>,
}

/// What an inode takes.
struct Shape {
    extended: bool,
    attributes: u32,
    /// Bytes of content that the index holds: a directory's or a target's.
    content: u64,
    /// Blocks of it, which lie elsewhere; the last one may be filled up with zeros.
    blocks: u64,
    /// The rest, which follows the inode in the same block.
    tail: u64,
    /// Bytes of the table of chunks.
    table: u64,
}

impl Shape {
    /// Bytes of content in whole blocks.
    fn whole(&self) -> usize {
        usize::try_from(self.blocks).unwrap_or(usize::MAX) * BLOCK_SIZE
    }

    /// The inode and what follows it, without the tail.
    fn head(&self) -> u64 {
        let inode = if self.extended { 64 } else { 32 };
        let head: u64 = inode + u64::from(self.attributes);
        if self.table > 0 {
            head.next_multiple_of(8) + self.table
        } else {
            head
        }
    }
}

impl Placed<'_> {
    /// Gives every inode its slot: the entries of a directory lie side by side, because who reads one
    /// reads its neighbours. Gives the end of all slots.
    fn place(&mut self) -> Result<u64, Error> {
        let mut free = Free {
            // Number 0 means "none" to some programs.
            next: 1,
            gaps: Vec::new(),
        };
        self.slots = vec![0; self.tree.inodes().len()];
        self.put(ROOT, &mut free)?;
        let mut pending = vec![ROOT];
        while let Some(directory) = pending.pop() {
            let range = self.children.of(directory).len();
            let mut below = Vec::new();
            for index in 0..range {
                let name = self.children.of(directory)[index];
                if self.slots[self.tree.inode_number(name) as usize] == 0 {
                    self.put(name, &mut free)?;
                }
                if self.tree.inode(name).is(format::DIRECTORY) {
                    below.push(name);
                }
            }
            pending.extend(below.into_iter().rev());
        }
        self.order.sort_unstable();
        Ok(free.next)
    }

    fn put(&mut self, name: Name, free: &mut Free) -> Result<(), Error> {
        let shape = self.shape(name);
        let slot = free.take(shape.head(), shape.tail);
        let slot = u32::try_from(slot).ok().filter(|_| free.next <= MAX_SLOTS);
        let slot = slot.ok_or(Error::Bound("its index is larger than 1 GiB"))?;
        self.slots[self.tree.inode_number(name) as usize] = slot;
        self.order.push((slot, name));
        Ok(())
    }

    fn shape(&self, name: Name) -> Shape {
        let inode = self.tree.inode(name);
        let links = self.links[self.tree.inode_number(name) as usize];
        let content = match inode.mode & format::TYPE_MASK {
            format::DIRECTORY => directory::size(self.names(name).map(|(name, _)| name)),
            format::SYMLINK => inode.size,
            _ => 0,
        };
        let size = content.max(inode.size);
        let short = |number: u32| number <= u32::from(u16::MAX);
        let fits = short(inode.uid) && short(inode.gid) && short(links);
        let timely = inode.time.is_none_or(|time| time == self.time);
        let attributes = self.attributes(inode);
        let attributes = attributes.map_or(0, |(own, mark)| own.len() + mark.len());
        let mut shape = Shape {
            extended: !fits || !timely || u32::try_from(size).is_err(),
            attributes: word(attributes),
            content,
            blocks: content / BLOCK,
            tail: content % BLOCK,
            table: match inode.content {
                Content::Chunks(table) => 8 * self.tree.tables[table as usize].chunks.len() as u64,
                _ => 0,
            },
        };
        // Attributes end at any fourth byte of a slot: then a block may have no room for what
        // follows them, wherever the inode is.
        if shape.head() % SLOT + shape.tail > BLOCK {
            shape.blocks += 1;
            shape.tail = 0;
        }
        shape
    }

    /// The encoded attributes of an inode, in two pieces.
    fn attributes(&self, inode: &Inode) -> Option<(&[u8], &[u8])> {
        match (self.tree.attributes(inode), inode.opaque) {
            ([], false) => None,
            ([], true) => Some((self.opaque, &[])),
            (own, false) => Some((own, &[])),
            (own, true) => Some((own, &self.opaque[format::ATTRIBUTES_HEAD..])),
        }
    }

    /// A directory's names in their order, with its own two.
    fn names(&self, directory: Name) -> impl Iterator<Item = (&[u8], Name)> {
        let own = [
            (b".".as_slice(), directory),
            (b"..".as_slice(), self.tree.parent(directory)),
        ];
        let names = self.children.of(directory);
        // Few bytes are less than a dot.
        let before = names.partition_point(|name| self.tree.name(*name) < b".".as_slice());
        let between = names.partition_point(|name| self.tree.name(*name) < b"..".as_slice());
        let listed = |range: std::ops::Range<usize>| {
            names[range]
                .iter()
                .map(|name| (self.tree.name(*name), *name))
        };
        let [one, two] = own;
        listed(0..before)
            .chain([one])
            .chain(listed(before..between))
            .chain([two])
            .chain(listed(between..names.len()))
    }

    fn content(&self, name: Name) -> Vec<u8> {
        let inode = self.tree.inode(name);
        if inode.is(format::SYMLINK) {
            return self.tree.target(inode).to_vec();
        }
        let mut blocks = Blocks::default();
        for (text, child) in self.names(name) {
            let inode = self.tree.inode(child);
            let slot = self.slots[self.tree.inode_number(child) as usize];
            blocks.add(text, u64::from(slot), format::entry_type(inode.mode));
        }
        blocks.finish()
    }

    fn write(&self, superblock: &mut Superblock, blocks: u32, out: &mut File) -> io::Result<()> {
        out.seek(SeekFrom::Start(u64::from(superblock.metadata) * BLOCK))?;
        let mut out = Hashed {
            out: BufWriter::with_capacity(1 << 18, out),
            hash: Sha256::new(),
            at: 0,
        };
        let mut next = blocks;
        let mut encoded = Vec::new();
        for (number, (slot, name)) in self.order.iter().enumerate() {
            out.pad(u64::from(*slot) * SLOT)?;
            let shape = self.shape(*name);
            encoded.clear();
            self.encode(
                *name,
                &shape,
                (word(number), next, superblock.blocks),
                &mut encoded,
            );
            out.write(&encoded)?;
            next += word(shape.blocks);
        }
        out.pad(u64::from(blocks - superblock.metadata) * BLOCK)?;
        for (_, name) in &self.order {
            let shape = self.shape(*name);
            if shape.blocks > 0 {
                let mut content = self.content(*name);
                content.resize(content.len().max(shape.whole()), 0);
                out.write(&content[..shape.whole()])?;
            }
        }
        out.out.flush()?;
        let digest = out.hash.finalize();
        superblock.uuid.copy_from_slice(&digest[..16]);
        let file = out
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[0; format::SUPERBLOCK_AT])?;
        file.write_all(&superblock.encode())
    }

    /// An inode and what follows it.
    fn encode(
        &self,
        name: Name,
        shape: &Shape,
        (number, next, archive): (u32, u32, u32),
        out: &mut Vec<u8>,
    ) {
        let inode = self.tree.inode(name);
        let (layout, union) = match inode.content {
            Content::Archive(block) => (Layout::Plain, archive + block),
            Content::Chunks(table) => {
                let bits = self.tree.tables[table as usize].bits;
                (Layout::Chunks, u32::from(bits) | format::CHUNK_INDEXES)
            }
            Content::Device(number) => (Layout::Plain, number),
            Content::None | Content::Target(_) if shape.tail > 0 => (Layout::Inline, next),
            Content::None | Content::Target(_) => (Layout::Plain, next),
        };
        let links = self.links[self.tree.inode_number(name) as usize];
        let encoded = format::Inode {
            extended: shape.extended,
            layout,
            attributes: shape.attributes,
            mode: inode.mode,
            links,
            size: shape.content.max(inode.size),
            union,
            number: number + 1,
            uid: inode.uid,
            gid: inode.gid,
            time: inode.time.unwrap_or(self.time),
        };
        encoded.encode(out);
        if let Some((own, opaque)) = self.attributes(inode) {
            out.extend_from_slice(own);
            out.extend_from_slice(opaque);
        }
        if let Content::Chunks(table) = inode.content {
            out.resize(out.len().next_multiple_of(8), 0);
            let chunks = &self.tree.tables[table as usize].chunks;
            out.extend(chunks.iter().flat_map(|chunk| chunk.to_le_bytes()));
        }
        if shape.tail > 0 {
            out.extend_from_slice(&self.content(name)[shape.whole()..]);
        }
    }
}

/// Slots that are free.
struct Free {
    next: u64,
    /// Start and length of what was passed over.
    gaps: Vec<(u64, u64)>,
}

impl Free {
    /// Slots for `head` bytes and a tail that must not cross a block's border, and for which there is
    /// room behind the part of a slot that the head fills.
    fn take(&mut self, head: u64, tail: u64) -> u64 {
        if tail == 0 {
            let count = head.div_ceil(SLOT);
            if let Some(gap) = self.gaps.iter_mut().find(|gap| gap.1 >= count) {
                let slot = gap.0;
                *gap = (gap.0 + count, gap.1 - count);
                return slot;
            }
            self.next += count;
            return self.next - count;
        }
        let mut slot = self.next;
        while (slot * SLOT + head) % BLOCK + tail > BLOCK {
            slot += 1;
        }
        if slot > self.next {
            self.gaps.retain(|gap| gap.1 > 0);
            if self.gaps.len() == MAX_GAPS {
                self.gaps.remove(0);
            }
            self.gaps.push((self.next, slot - self.next));
        }
        self.next = slot + (head + tail).div_ceil(SLOT);
        slot
    }
}

/// A writer that knows what went through it.
struct Hashed<'o> {
    out: BufWriter<&'o mut File>,
    hash: Sha256,
    at: u64,
}

impl Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Zeros up to a place.
    fn pad(&mut self, place: u64) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.at < place {
            let count = usize::try_from(place - self.at)
                .unwrap_or(usize::MAX)
                .min(ZEROS.len());
            self.write(&ZEROS[..count])?;
        }
        Ok(())
    }
}
