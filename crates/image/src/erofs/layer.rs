//! Entries become a tree in memory; data that cannot be pointed at is copied into the index at once.

use super::format;
use super::plan::{Plan, Spill};
use super::tree::{Content, Inode, Name, ROOT, Table, Tree};
use super::write;
use crate::rows::RootAttributes;
use crate::unpack::{
    self, ABOVE, Archive, EXHAUSTED, Effort, Entry, Error, IMPLIED_MODE, Kind, Meaning,
    OPAQUE_ATTRIBUTE, Summary, shown,
};
use rustix::io::Errno;
use std::fs::File;

/// A layer being read.
pub(super) struct Layer<'o> {
    tree: Tree,
    spill: Spill<'o>,
    effort: Effort,
    root: Option<RootAttributes>,
}

impl<'o> Layer<'o> {
    pub(super) fn new(out: &'o mut File) -> Self {
        Self {
            tree: Tree::new(IMPLIED_MODE),
            spill: Spill::new(out),
            effort: Effort::default(),
            root: None,
        }
    }

    /// Puts one entry into the tree; its data is read from `archive`.
    pub(super) fn add(&mut self, entry: Entry, archive: &mut Archive<'_>) -> Result<(), Error> {
        let place = unpack::place(&entry)?;
        match place.meaning {
            Meaning::Nothing => Ok(()),
            Meaning::Root => self.root(&entry),
            Meaning::Opaque => {
                let parent = self.enter(&entry, &place.parents)?;
                self.tree.inode_mut(parent).opaque = true;
                Ok(())
            }
            Meaning::Whiteout(hidden) => self.whiteout(&entry, &place.parents, hidden),
            Meaning::Entry(name) => {
                let parent = self.enter(&entry, &place.parents)?;
                self.entry(&entry, parent, name, archive)
            }
        }
    }

    /// Writes the index.
    pub(super) fn finish(mut self, archive: &Archive<'_>) -> Result<Summary, Error> {
        let mut opaque = vec![0; format::ATTRIBUTES_HEAD];
        format::attribute(OPAQUE_ATTRIBUTE, b"y", &mut opaque);
        if let Some(last) = archive.cut() {
            self.complete(last, archive.offset())?;
        }
        let out = self.spill.finish();
        let size = write::write(&mut self.tree, &opaque, archive.offset(), out)?;
        Ok(Summary {
            size,
            root: self.root,
        })
    }

    /// Copies the last bytes of an archive that does not end with a whole block: the kernel reads only
    /// whole ones.
    fn complete(&mut self, last: &[u8], end: u64) -> Result<(), Error> {
        let first_of = |inode: &Inode| match inode.content {
            Content::Archive(first) => Some(first),
            _ => None,
        };
        let place = |inode: &Inode| first_of(inode).map(|f| u64::from(f) * format::BLOCK);
        let block = end / format::BLOCK * format::BLOCK;
        let ends = |inode: &Inode| place(inode).is_some_and(|place| place + inode.size > block);
        let number = u32::try_from(self.tree.tables.len()).unwrap_or(u32::MAX);
        let Some(inode) = self.tree.inodes_mut().iter_mut().find(|inode| ends(inode)) else {
            return Ok(());
        };
        let Some(first) = first_of(inode) else {
            return Ok(());
        };
        let chunks = self.spill.table_but_last(first, inode.size, last)?;
        inode.content = Content::Chunks(number);
        self.tree.tables.push(Table { bits: 0, chunks });
        Ok(())
    }

    fn root(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.kind != Kind::Directory {
            return Err(Error::Entry {
                entry: shown(&entry.path),
                reason: "the root can only be a directory",
            });
        }
        self.root = Some(RootAttributes {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
        });
        self.update(ROOT, entry)
    }

    /// The directory that holds an entry; what is missing of its path is made.
    fn enter(&mut self, entry: &Entry, path: &[&[u8]]) -> Result<Name, Error> {
        let mut here = ROOT;
        for part in path {
            here = match self.tree.find(here, part) {
                None => self.imply(here, part)?,
                Some(found) if self.tree.inode(found).is(format::DIRECTORY) => found,
                // A whiteout, and then something new in its place.
                Some(found) if self.tree.inode(found).is_whiteout() => {
                    self.tree.remove(found);
                    let directory = self.imply(here, part)?;
                    self.tree.inode_mut(directory).opaque = true;
                    directory
                }
                Some(found) => {
                    let is_link = self.tree.inode(found).is(format::SYMLINK);
                    let straight = if is_link {
                        self.follow(path)
                    } else {
                        Err(ABOVE)
                    };
                    let straight = straight.map_err(|reason| Error::Entry {
                        entry: shown(&entry.path),
                        reason,
                    })?;
                    let parts: Vec<&[u8]> = straight.iter().map(Vec::as_slice).collect();
                    return self.enter(entry, &parts);
                }
            };
        }
        Ok(here)
    }

    /// Where a path leads through the layer's symbolic links.
    fn follow(&mut self, path: &[&[u8]]) -> Result<Vec<Vec<u8>>, &'static str> {
        let tree = &self.tree;
        // What each part of the place is.
        let mut way: Vec<Option<Name>> = Vec::new();
        unpack::follow(path, &mut self.effort, &mut |place, name| {
            way.truncate(place.len());
            let here = way.last().map_or(Some(ROOT), |here| *here);
            let found = here.and_then(|here| tree.find(here, name));
            way.push(found);
            let inode = tree.inode(found?);
            inode
                .is(format::SYMLINK)
                .then(|| tree.target(inode).to_vec())
        })
    }

    fn imply(&mut self, parent: Name, name: &[u8]) -> Result<Name, Error> {
        self.tree.add(parent, name, Inode::implied(IMPLIED_MODE))
    }

    fn entry(
        &mut self,
        entry: &Entry,
        parent: Name,
        name: &[u8],
        archive: &mut Archive<'_>,
    ) -> Result<(), Error> {
        let kind = match entry.kind {
            Kind::HardLink => return self.hard_link(entry, parent, name),
            Kind::Directory => return self.directory(entry, parent, name),
            Kind::File => format::FILE,
            Kind::Symlink => format::SYMLINK,
            Kind::Character => format::CHARACTER,
            Kind::Block => format::BLOCK_DEVICE,
            Kind::Fifo => format::FIFO,
        };
        let mut inode = self.inode(entry, kind)?;
        match entry.kind {
            Kind::File => {
                inode.content = self.data(entry, archive)?;
                inode.size = entry.size;
            }
            Kind::Symlink => {
                inode.content = Content::Target(self.target(entry)?);
                inode.size = entry.link.len() as u64;
            }
            _ => {
                let number = format::device(entry.device.0, entry.device.1);
                inode.content = Content::Device(number);
            }
        }
        // Of several entries with one name the last one counts.
        if let Some(earlier) = self.tree.find(parent, name) {
            self.tree.remove(earlier);
        }
        self.tree.add(parent, name, inode)?;
        Ok(())
    }

    fn inode(&mut self, entry: &Entry, kind: u16) -> Result<Inode, Error> {
        let attributes = encode_attributes(entry)?;
        let mode = match kind {
            format::SYMLINK => 0o777,
            _ => u16::try_from(entry.mode & 0o7777).unwrap_or(0),
        };
        Ok(Inode {
            mode: kind | mode,
            opaque: false,
            uid: entry.uid,
            gid: entry.gid,
            time: Some(entry.mtime),
            size: 0,
            content: Content::None,
            attributes: self.tree.keep_attributes(attributes)?,
        })
    }

    fn target(&mut self, entry: &Entry) -> Result<u32, Error> {
        let failed =
            |errno: Errno| Err(Error::io("create symbolic link", &entry.path, errno.into()));
        match entry.link.len() {
            0 => failed(Errno::NOENT),
            length if length > format::MAX_TARGET => failed(Errno::NAMETOOLONG),
            _ => self.tree.keep(&entry.link),
        }
    }

    fn data(&mut self, entry: &Entry, archive: &mut Archive<'_>) -> Result<Content, Error> {
        if entry.size > format::MAX_FILE {
            let source = Errno::FBIG.into();
            return Err(Error::io("create file", &entry.path, source));
        }
        if entry.size == 0 {
            return Ok(Content::None);
        }
        let start = archive.offset();
        let Some(segments) = &entry.sparse else {
            return Ok(Content::Archive(format::block(start)?));
        };
        let plan = Plan::new(segments, entry.size, start)?;
        let chunks = self.spill.table(&plan, archive)?;
        let number = u32::try_from(self.tree.tables.len()).unwrap_or(u32::MAX);
        self.tree.tables.push(Table {
            bits: plan.bits(),
            chunks,
        });
        Ok(Content::Chunks(number))
    }

    fn directory(&mut self, entry: &Entry, parent: Name, name: &[u8]) -> Result<(), Error> {
        let mut hidden = false;
        let number = match self.tree.find(parent, name) {
            Some(found) if self.tree.inode(found).is(format::DIRECTORY) => found,
            earlier => {
                if let Some(earlier) = earlier {
                    hidden = self.tree.inode(earlier).is_whiteout();
                    self.tree.remove(earlier);
                }
                self.imply(parent, name)?
            }
        };
        self.tree.inode_mut(number).opaque |= hidden;
        self.update(number, entry)
    }

    /// Gives a directory the attributes of its entry; that it is opaque stays.
    fn update(&mut self, directory: Name, entry: &Entry) -> Result<(), Error> {
        let new = self.inode(entry, format::DIRECTORY)?;
        let inode = self.tree.inode_mut(directory);
        *inode = Inode {
            opaque: inode.opaque,
            ..new
        };
        Ok(())
    }

    /// Links to a file of this layer; see [`crate::unpack`] for why not to one of a lower layer.
    fn hard_link(&mut self, entry: &Entry, parent: Name, name: &[u8]) -> Result<(), Error> {
        let bad = |reason| Error::Link {
            entry: shown(&entry.path),
            target: shown(&entry.link),
            reason,
        };
        let target = self.link_target(&entry.link).map_err(bad)?;
        let earlier = self.tree.find(parent, name);
        if earlier == Some(target) {
            return Ok(());
        }
        if let Some(earlier) = earlier {
            self.tree.remove(earlier);
            // What was removed may have been a directory with the target in it.
            self.link_target(&entry.link).map_err(bad)?;
        }
        let inode = self.tree.inode_number(target);
        self.tree.link(parent, name, inode)?;
        Ok(())
    }

    fn link_target(&mut self, path: &[u8]) -> Result<Name, &'static str> {
        const OUTSIDE: &str = "its target is outside of the layer";
        let mut parents = unpack::split(path).ok_or(OUTSIDE)?;
        let name = parents.pop().ok_or(OUTSIDE)?;
        let straight = self.follow(&parents).map_err(|reason| match reason {
            EXHAUSTED => reason,
            _ => OUTSIDE,
        })?;
        let mut here = ROOT;
        for part in &straight {
            here = match self.tree.find(here, part) {
                None => return Err("its target is not in this layer"),
                Some(found) if self.tree.inode(found).is(format::DIRECTORY) => found,
                Some(_) => return Err("its target is below a file"),
            };
        }
        match self.tree.find(here, name) {
            None => Err("its target is not in this layer"),
            Some(found) if self.tree.inode(found).is(format::DIRECTORY) => {
                Err("its target is a directory")
            }
            Some(found) => Ok(found),
        }
    }

    /// Hides what lower layers have under a name: for overlayfs a character device 0/0.
    fn whiteout(&mut self, entry: &Entry, parents: &[&[u8]], hidden: &[u8]) -> Result<(), Error> {
        let parent = self.enter(entry, parents)?;
        match self.tree.find(parent, hidden) {
            // Whiteouts are about lower layers: what this layer brings stays, but nothing below it
            // shows through.
            Some(found) => {
                let inode = self.tree.inode_mut(found);
                inode.opaque |= inode.is(format::DIRECTORY);
            }
            None => {
                let inode = Inode {
                    mode: format::CHARACTER,
                    content: Content::Device(0),
                    time: Some(entry.mtime),
                    ..Inode::implied(0)
                };
                self.tree.add(parent, hidden, inode)?;
            }
        }
        Ok(())
    }
}

/// The attributes as they follow an inode; nothing when there are none.
fn encode_attributes(entry: &Entry) -> Result<Vec<u8>, Error> {
    let failed = |errno: Errno| {
        let source = errno.into();
        Err(Error::io("set extended attribute of", &entry.path, source))
    };
    let mut out = Vec::new();
    for (name, value) in unpack::attributes(entry)? {
        if out.is_empty() {
            out.resize(format::ATTRIBUTES_HEAD, 0);
        }
        format::attribute(name, &value, &mut out);
        // The last bytes are kept for the mark of an opaque directory.
        if out.len() > format::MAX_ATTRIBUTES - 64 {
            return failed(Errno::NOSPC);
        }
    }
    Ok(out)
}
