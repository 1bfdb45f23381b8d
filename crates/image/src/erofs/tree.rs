//! A layer's tree in memory, without the data: some 100 bytes for each of its names.
//!
//! Nothing is ever taken out. What is replaced or removed is only forgotten by the table of names,
//! and left out when the tree is written: whether a name is in the end part of the tree is known
//! when all entries are read, because its directory always has a smaller number than itself.

use super::format::{self, word};
use crate::unpack::Error;
use hashbrown::HashTable;
use std::hash::{BuildHasher as _, RandomState};

/// The number of a name, which for a directory is the number of the directory.
pub(super) type Name = u32;
pub(super) const ROOT: Name = 0;

/// More names are an attack on memory. The largest layers that are seen, those of data sets and of
/// build machines, have some hundred thousand files; what a name takes here is 100 bytes.
const MAX_NAMES: usize = 1 << 22;
/// More bytes of names, targets and attributes are an attack on memory. A name is only its last part, of
/// 20 bytes or less in most layers: this is room for three million of them.
const MAX_TEXT: usize = 64 << 20;

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
struct Entry {
    parent: Name,
    start: u32,
    inode: u32,
    length: u8,
    removed: bool,
}

/// Where the content of an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing, or for a directory its names.
    None,
    /// Blocks of the archive from this one on.
    Archive(u32),
    /// A table of chunks in [`Tree::tables`].
    Chunks(u32),
    /// A symbolic link's target, which starts here in the text.
    Target(u32),
    /// A device's number.
    Device(u32),
}

/// What names point at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inode {
    pub(super) mode: u16,
    pub(super) opaque: bool,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// `None` for what the archive implies but does not list.
    pub(super) time: Option<(i64, u32)>,
    pub(super) size: u64,
    pub(super) content: Content,
    /// Which of the attributes, counted from 1; 0 is none.
    pub(super) attributes: u32,
}

impl Inode {
    /// A directory that the archive may not list.
    pub(super) fn implied(mode: u16) -> Self {
        Self {
            mode: format::DIRECTORY | mode,
            opaque: false,
            uid: 0,
            gid: 0,
            time: None,
            size: 0,
            content: Content::None,
            attributes: 0,
        }
    }

    pub(super) fn is(&self, kind: u16) -> bool {
        self.mode & format::TYPE_MASK == kind
    }

    pub(super) fn is_whiteout(&self) -> bool {
        self.is(format::CHARACTER) && self.content == Content::Device(0)
    }
}

/// The table of chunks of a sparse file.
#[derive(Debug)]
pub(super) struct Table {
    /// The size of a chunk in blocks, as a power of two.
    pub(super) bits: u8,
    pub(super) chunks: Vec<u64>,
}

/// A tree being built.
#[derive(Debug)]
pub(super) struct Tree {
    entries: Vec<Entry>,
    inodes: Vec<Inode>,
    /// All names and targets, one after the other.
    text: Vec<u8>,
    names: HashTable<Name>,
    hasher: RandomState,
    attributes: Vec<Box<[u8]>>,
    known_attributes: HashTable<u32>,
    attribute_bytes: usize,
    pub(super) tables: Vec<Table>,
}

impl Tree {
    /// An empty root directory.
    pub(super) fn new(root_mode: u16) -> Self {
        Self {
            entries: vec![Entry {
                parent: ROOT,
                start: 0,
                inode: 0,
                length: 0,
                removed: false,
            }],
            inodes: vec![Inode::implied(root_mode)],
            text: Vec::new(),
            names: HashTable::new(),
            hasher: RandomState::new(),
            attributes: Vec::new(),
            known_attributes: HashTable::new(),
            attribute_bytes: 0,
            tables: Vec::new(),
        }
    }

    pub(super) fn find(&self, parent: Name, name: &[u8]) -> Option<Name> {
        let hash = self.hasher.hash_one((parent, name));
        let found = self.names.find(hash, |number| {
            let entry = self.entries[*number as usize];
            entry.parent == parent && self.name_of(entry) == name
        });
        found.copied()
    }

    /// Adds a name that its directory does not have, for a new inode.
    pub(super) fn add(&mut self, parent: Name, name: &[u8], inode: Inode) -> Result<Name, Error> {
        let number = word(self.inodes.len());
        let name = self.link(parent, name, number)?;
        self.inodes.push(inode);
        Ok(name)
    }

    /// Adds a name that its directory does not have, for an inode that others have too.
    pub(super) fn link(&mut self, parent: Name, name: &[u8], inode: u32) -> Result<Name, Error> {
        if self.entries.len() == MAX_NAMES {
            return Err(Error::Bound("it has more than 4 million files"));
        }
        let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let start = self.keep(name)?;
        let number = word(self.entries.len());
        self.entries.push(Entry {
            parent,
            start,
            inode,
            length,
            removed: false,
        });
        let Self {
            names,
            entries,
            text,
            hasher,
            ..
        } = self;
        let hash_of = |number: &Name| {
            let entry = entries[*number as usize];
            hasher.hash_one((entry.parent, text_of(text, entry)))
        };
        names.insert_unique(hash_of(&number), number, hash_of);
        Ok(number)
    }

    /// Forgets a name and what is below it.
    pub(super) fn remove(&mut self, name: Name) {
        let entry = self.entries[name as usize];
        let hash = self.hasher.hash_one((entry.parent, self.name_of(entry)));
        if let Ok(found) = self.names.find_entry(hash, |number| *number == name) {
            found.remove();
        }
        self.entries[name as usize].removed = true;
    }

    pub(super) fn inode_number(&self, name: Name) -> u32 {
        self.entries[name as usize].inode
    }

    pub(super) fn inode(&self, name: Name) -> &Inode {
        &self.inodes[self.inode_number(name) as usize]
    }

    pub(super) fn inode_mut(&mut self, name: Name) -> &mut Inode {
        let number = self.inode_number(name);
        &mut self.inodes[number as usize]
    }

    pub(super) fn inodes(&self) -> &[Inode] {
        &self.inodes
    }

    pub(super) fn inodes_mut(&mut self) -> &mut [Inode] {
        &mut self.inodes
    }

    pub(super) fn parent(&self, name: Name) -> Name {
        self.entries[name as usize].parent
    }

    pub(super) fn name(&self, name: Name) -> &[u8] {
        self.name_of(self.entries[name as usize])
    }

    fn name_of(&self, entry: Entry) -> &[u8] {
        text_of(&self.text, entry)
    }

    /// Keeps a name or target; where it starts is what finds it again.
    pub(super) fn keep(&mut self, text: &[u8]) -> Result<u32, Error> {
        self.check_text(text.len())?;
        let start = word(self.text.len());
        self.text.extend_from_slice(text);
        Ok(start)
    }

    /// The target of a symbolic link.
    pub(super) fn target(&self, inode: &Inode) -> &[u8] {
        match inode.content {
            Content::Target(start) => {
                let length = usize::try_from(inode.size).unwrap_or(0);
                &self.text[start as usize..][..length]
            }
            _ => &[],
        }
    }

    /// Keeps encoded attributes, the same ones only once.
    pub(super) fn keep_attributes(&mut self, encoded: Vec<u8>) -> Result<u32, Error> {
        if encoded.is_empty() {
            return Ok(0);
        }
        let hash = self.hasher.hash_one(encoded.as_slice());
        let same = |number: &u32| *self.attributes[*number as usize] == *encoded;
        if let Some(known) = self.known_attributes.find(hash, same) {
            return Ok(known + 1);
        }
        self.check_text(encoded.len())?;
        self.attribute_bytes += encoded.len();
        let number = word(self.attributes.len());
        self.attributes.push(encoded.into_boxed_slice());
        let (all, hasher) = (&self.attributes, &self.hasher);
        let hash_of = |number: &u32| hasher.hash_one(&all[*number as usize][..]);
        self.known_attributes.insert_unique(hash, number, hash_of);
        Ok(number + 1)
    }

    pub(super) fn attributes(&self, inode: &Inode) -> &[u8] {
        match inode.attributes.checked_sub(1) {
            Some(number) => &self.attributes[number as usize],
            None => &[],
        }
    }

    fn check_text(&self, more: usize) -> Result<(), Error> {
        if self.text.len() + self.attribute_bytes + more > MAX_TEXT {
            return Err(Error::Bound(
                "its names, link targets and extended attributes take more than 64 MiB",
            ));
        }
        Ok(())
    }

    /// The tree as it is in the end. The table of names is given up for it.
    pub(super) fn children(&mut self) -> Children {
        self.names = HashTable::new();
        self.known_attributes = HashTable::new();
        let count = self.entries.len();
        for number in 1..count {
            let entry = self.entries[number];
            let gone = entry.removed || self.entries[entry.parent as usize].removed;
            self.entries[number].removed = gone;
        }
        let mut starts = vec![0; count + 1];
        let present = || (1..count).filter(|number| !self.entries[*number].removed);
        for number in present() {
            starts[self.entries[number].parent as usize + 1] += 1;
        }
        for number in 0..count {
            starts[number + 1] += starts[number];
        }
        let mut next = starts.clone();
        let mut sorted = vec![0; starts[count] as usize];
        for number in present() {
            let place = &mut next[self.entries[number].parent as usize];
            sorted[*place as usize] = word(number);
            *place += 1;
        }
        drop(next);
        for range in starts.windows(2) {
            sorted[range[0] as usize..range[1] as usize]
                .sort_unstable_by(|a, b| self.name(*a).cmp(self.name(*b)));
        }
        Children { starts, sorted }
    }
}

/// The names of each directory, in the order of their bytes.
#[derive(Debug)]
pub(super) struct Children {
    starts: Vec<u32>,
    sorted: Vec<Name>,
}

impl Children {
    pub(super) fn of(&self, directory: Name) -> &[Name] {
        let at = |number: usize| self.starts[number] as usize;
        let directory = directory as usize;
        &self.sorted[at(directory)..at(directory + 1)]
    }

    pub(super) fn all(&self) -> &[Name] {
        &self.sorted
    }
}

fn text_of(text: &[u8], entry: Entry) -> &[u8] {
    &text[entry.start as usize..][..usize::from(entry.length)]
}
