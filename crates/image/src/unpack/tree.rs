//! Entries become files. Every operation is relative to the open directory that holds the entry,
//! and none follows a symbolic link: an archive reaches nothing outside its own tree.
//!
//! A directory gets its attributes last, when nothing will be put into it any more.

use super::archive::{Archive, Entry, Kind};
use super::attributes::{set_attributes, set_attributes_at, set_times_at};
use super::copy::{copy, copy_sparse};
use super::place::{self, ABOVE, EXHAUSTED, Effort, Meaning, split};
use super::trail::Trail;
use super::{Error, IMPLIED_MODE, OPAQUE_ATTRIBUTE, Summary};
use crate::rows::RootAttributes;
use hull_linux::xattr;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A directory being filled.
pub(super) struct Tree<'a> {
    path: &'a Path,
    root: OwnedFd,
    owner: (u32, u32),
    here: Trail,
    /// The directories of hard links' targets.
    there: Trail,
    directories: BTreeMap<Vec<u8>, Entry>,
    summary: Summary,
    effort: Effort,
    /// A tree was replaced: the size has to be counted anew at the end.
    recount: bool,
}

/// Where an entry goes: its parts, the last of which is its name.
pub(super) struct Place<'e> {
    pub(super) entry: &'e Entry,
    parents: Vec<&'e [u8]>,
    name: &'e [u8],
}

impl Place<'_> {
    pub(super) fn failed(&self, operation: &'static str) -> impl Fn(Errno) -> Error + use<'_> {
        move |errno| Error::io(operation, &self.entry.path, errno.into())
    }

    /// The path as the key of [`Tree::directories`].
    fn key(&self) -> Vec<u8> {
        let mut key = self.parents.join(&b'/');
        if !key.is_empty() {
            key.push(b'/');
        }
        key.extend_from_slice(self.name);
        key
    }
}

impl<'a> Tree<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .and_then(|root| {
                rustix::fs::fchmod(&root, Mode::from_raw_mode(IMPLIED_MODE.into())).map(|()| root)
            })
            .map_err(|errno| Error::io("open directory", b"/", errno.into()))?;
        let owner = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Ok(Self {
            path,
            root,
            owner,
            here: Trail::default(),
            there: Trail::default(),
            directories: BTreeMap::new(),
            summary: Summary::default(),
            effort: Effort::default(),
            recount: false,
        })
    }

    /// Puts one entry into the tree; its data is read from `archive`.
    pub(super) fn add(&mut self, entry: Entry, archive: &mut Archive<'_>) -> Result<(), Error> {
        let found = place::place(&entry)?;
        let straight = self.straight(&entry, &found)?;
        let place = Place {
            entry: &entry,
            parents: match &straight {
                Some(parents) => parents.iter().map(Vec::as_slice).collect(),
                None => found.parents,
            },
            name: match found.meaning {
                Meaning::Entry(name) | Meaning::Whiteout(name) => name,
                _ => b"",
            },
        };
        match found.meaning {
            Meaning::Nothing => return Ok(()),
            Meaning::Root => return self.add_root(entry),
            Meaning::Opaque => return self.opaque(&place),
            Meaning::Whiteout(_) => return self.whiteout(&place),
            Meaning::Entry(_) => {}
        }
        match entry.kind {
            Kind::File => self.file(&place, archive),
            Kind::HardLink => self.hard_link(&place),
            Kind::Symlink => self.symlink(&place),
            Kind::Character | Kind::Block | Kind::Fifo => self.node(&place),
            Kind::Directory => {
                let key = self.directory(&place)?;
                self.directories.insert(key, entry);
                Ok(())
            }
        }
    }

    /// The directories on the way to an entry where some of them are symbolic links of this layer.
    fn straight(
        &mut self,
        entry: &Entry,
        found: &place::Place<'_>,
    ) -> Result<Option<Vec<Vec<u8>>>, Error> {
        if matches!(found.meaning, Meaning::Nothing | Meaning::Root) {
            return Ok(None);
        }
        let blocked = self
            .here
            .enter(&self.root, &found.parents, &mut |_, _, errno| {
                Err(Error::io("open directory above", &entry.path, errno.into()))
            });
        match blocked {
            Err(Error::Io { source, .. }) if is_blocked(&source) => {}
            _ => return Ok(None),
        }
        self.follow(&found.parents)
            .map(Some)
            .map_err(|reason| Error::Entry {
                entry: super::shown(&entry.path),
                reason,
            })
    }

    fn follow(&mut self, path: &[&[u8]]) -> Result<Vec<Vec<u8>>, &'static str> {
        place::follow(path, &mut self.effort, &mut |place, name| {
            let place: Vec<&[u8]> = place.iter().map(Vec::as_slice).collect();
            let missing = &mut |_: BorrowedFd<'_>, _: &[u8], errno: Errno| {
                Err(Error::path("open directory", &place, errno))
            };
            let directory = self.there.enter(&self.root, &place, missing).ok()?;
            let target = rustix::fs::readlinkat(directory, name, Vec::new()).ok()?;
            Some(target.into_bytes())
        })
    }

    /// Gives the directories their attributes.
    pub(super) fn finish(mut self) -> Result<Summary, Error> {
        // In reverse, so that what a directory holds comes before it.
        for (key, entry) in std::mem::take(&mut self.directories).into_iter().rev() {
            let parts = split(&key).unwrap_or_default();
            let path = &entry.path;
            let directory = self.here.enter(&self.root, &parts, &mut |_, _, errno| {
                Err(Error::io("open directory", path, errno.into()))
            })?;
            set_attributes(directory, &entry, None)?;
        }
        if self.recount {
            self.summary.size = crate::snapshot::measure(self.path)
                .map_err(|source| Error::io("measure", b"/", source))?
                .size;
        }
        Ok(self.summary)
    }

    fn add_root(&mut self, entry: Entry) -> Result<(), Error> {
        if entry.kind != Kind::Directory {
            return Err(Error::Entry {
                entry: super::shown(&entry.path),
                reason: "the root can only be a directory",
            });
        }
        self.summary.root = Some(RootAttributes {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
        });
        self.directories.insert(Vec::new(), entry);
        Ok(())
    }

    /// The directory that holds an entry; what is missing of its path is made.
    fn parent<'s>(
        here: &'s mut Trail,
        root: &'s OwnedFd,
        place: &Place<'_>,
    ) -> Result<BorrowedFd<'s>, Error> {
        here.enter(root, &place.parents, &mut |parent, part, errno| {
            let entry = &place.entry.path;
            match errno {
                Errno::NOENT => {}
                // A whiteout, and then something new in its place.
                Errno::NOTDIR if is_whiteout(parent, part) => {
                    rustix::fs::unlinkat(parent, part, AtFlags::empty()).map_err(|errno| {
                        Error::io("replace whiteout above", entry, errno.into())
                    })?;
                    make_implied(parent, part)
                        .and_then(|()| set_opaque(parent, part))
                        .map_err(|errno| {
                            Error::io("create directory above", entry, errno.into())
                        })?;
                    return Ok(());
                }
                Errno::NOTDIR | Errno::LOOP => {
                    return Err(Error::Entry {
                        entry: super::shown(entry),
                        reason: ABOVE,
                    });
                }
                errno => return Err(Error::io("open directory above", entry, errno.into())),
            }
            make_implied(parent, part)
                .map_err(|errno| Error::io("create directory above", entry, errno.into()))
        })
    }

    /// Calls `make` with the entry's directory; when something is in the way it is removed first:
    /// of several entries with one name the last one counts.
    fn make<T>(
        &mut self,
        place: &Place<'_>,
        operation: &'static str,
        mut make: impl FnMut(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        let parent = Self::parent(&mut self.here, &self.root, place)?;
        match make(parent) {
            Err(Errno::EXIST) => {}
            result => return result.map_err(place.failed(operation)),
        }
        self.clear(place)?;
        let parent = Self::parent(&mut self.here, &self.root, place)?;
        make(parent).map_err(place.failed(operation))
    }

    /// Removes what has an entry's name.
    fn clear(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let parent = Self::parent(&mut self.here, &self.root, place)?;
        let failed = place.failed("replace");
        let stat =
            rustix::fs::statat(parent, place.name, AtFlags::SYMLINK_NOFOLLOW).map_err(&failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if stat.st_nlink == 1 {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.summary.size = self.summary.size.saturating_sub(size);
            }
            return rustix::fs::unlinkat(parent, place.name, AtFlags::empty()).map_err(failed);
        }
        remove_tree(parent, place.name)
            .map_err(|source| Error::io("replace", &place.entry.path, source))?;
        self.recount = true;
        self.there.forget();
        let key = place.key();
        self.directories.remove(&key);
        let (mut first, mut end) = (key.clone(), key);
        first.push(b'/');
        // The byte that follows the slash: the end of all paths below.
        end.push(b'/' + 1);
        let below: Vec<Vec<u8>> = self
            .directories
            .range(first..end)
            .map(|(k, _)| k.clone())
            .collect();
        for key in below {
            self.directories.remove(&key);
        }
        Ok(())
    }

    fn file(&mut self, place: &Place<'_>, archive: &mut Archive<'_>) -> Result<(), Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = self.make(place, "create file", |parent| {
            rustix::fs::openat(parent, place.name, flags, mode)
        })?;
        let entry = place.entry;
        match &entry.sparse {
            None => copy(archive, entry, &mut |bytes| rustix::io::write(&file, bytes))?,
            Some(segments) => copy_sparse(archive, entry, &file, segments)?,
        }
        self.summary.size = self.summary.size.saturating_add(entry.size);
        set_attributes(file.as_fd(), entry, Some(self.owner))
    }

    fn directory(&mut self, place: &Place<'_>) -> Result<Vec<u8>, Error> {
        let parent = Self::parent(&mut self.here, &self.root, place)?;
        match make_directory(parent, place.name) {
            Ok(()) => return Ok(place.key()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(place.failed("create directory")(errno)),
        }
        let stat = rustix::fs::statat(parent, place.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(place.failed("look at"))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(place.key());
        }
        let hidden = is_whiteout(parent, place.name);
        self.clear(place)?;
        let parent = Self::parent(&mut self.here, &self.root, place)?;
        make_directory(parent, place.name)
            .and_then(|()| {
                if hidden {
                    set_opaque(parent, place.name)
                } else {
                    Ok(())
                }
            })
            .map_err(place.failed("create directory"))?;
        Ok(place.key())
    }

    fn symlink(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let entry = place.entry;
        let target = entry.link.as_slice();
        self.make(place, "create symbolic link", |parent| {
            rustix::fs::symlinkat(target, parent, place.name)
        })?;
        self.summary.size += target.len() as u64;
        self.set_attributes_of(place)
    }

    fn node(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let entry = place.entry;
        let kind = match entry.kind {
            Kind::Character => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let mode = Mode::from_raw_mode(entry.mode);
        self.make(place, "create device", |parent| {
            rustix::fs::mknodat(parent, place.name, kind, mode, device)
        })?;
        self.set_attributes_of(place)
    }

    fn set_attributes_of(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let parent = Self::parent(&mut self.here, &self.root, place)?;
        set_attributes_at(parent, place.name, place.entry)
    }

    /// Links to a file of this layer. One that exists only in a lower layer cannot be linked to:
    /// no engine stores such layers, because overlayfs copies a file up before it links it.
    fn hard_link(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let entry = place.entry;
        let bad = |reason| Error::Link {
            entry: super::shown(&entry.path),
            target: super::shown(&entry.link),
            reason,
        };
        let outside = || bad("its target is outside of the layer");
        let mut parents = split(&entry.link).ok_or_else(outside)?;
        let name = parents.pop().ok_or_else(outside)?;
        let blocked = self.there.enter(&self.root, &parents, &mut |_, _, errno| {
            Err(Error::io("open target of link", &entry.path, errno.into()))
        });
        let straight = match blocked {
            Err(Error::Io { source, .. }) if is_blocked(&source) => {
                self.follow(&parents).map_err(|reason| match reason {
                    EXHAUSTED => bad(reason),
                    _ => outside(),
                })?
            }
            _ => parents.iter().map(|part| part.to_vec()).collect(),
        };
        let parents: Vec<&[u8]> = straight.iter().map(Vec::as_slice).collect();
        let itself = parents == place.parents && name == place.name;
        for attempt in 0..2 {
            let there = self.there.enter(&self.root, &parents, &mut |_, _, errno| {
                Err(match errno {
                    // Nothing has a name that is too long.
                    Errno::NOENT | Errno::NAMETOOLONG => bad("its target is not in this layer"),
                    Errno::NOTDIR | Errno::LOOP => bad("its target is below a file"),
                    errno => Error::io("open target of link", &entry.path, errno.into()),
                })
            })?;
            if itself && let Ok(stat) = rustix::fs::statat(there, name, AtFlags::SYMLINK_NOFOLLOW) {
                return match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => Err(bad("its target is a directory")),
                    _ => Ok(()),
                };
            }
            let parent = Self::parent(&mut self.here, &self.root, place)?;
            match rustix::fs::linkat(there, name, parent, place.name, AtFlags::empty()) {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT | Errno::NAMETOOLONG) => {
                    return Err(bad("its target is not in this layer"));
                }
                Err(Errno::PERM) => return Err(bad("its target is a directory")),
                Err(Errno::EXIST) if attempt == 0 => {}
                Err(errno) => return Err(place.failed("create hard link")(errno)),
            }
            self.clear(place)?;
        }
        Ok(())
    }

    /// Hides what lower layers have under a name: for overlayfs a character device 0/0.
    fn whiteout(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let hidden = place.name;
        let parent = Self::parent(&mut self.here, &self.root, place)?;
        let kind = FileType::CharacterDevice;
        match rustix::fs::mknodat(parent, hidden, kind, Mode::empty(), 0) {
            // Whoever makes an archive of it again shall get the same one.
            Ok(()) => set_times_at(parent, hidden, place.entry).map_err(place.failed("hide")),
            // Whiteouts are about lower layers: what this layer brings stays, but nothing below it
            // shows through.
            Err(Errno::EXIST) => match set_opaque(parent, hidden) {
                Ok(()) | Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(errno) => Err(place.failed("hide")(errno)),
            },
            Err(errno) => Err(place.failed("create whiteout")(errno)),
        }
    }

    /// Hides everything that lower layers have in a directory.
    fn opaque(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let parent = Self::parent(&mut self.here, &self.root, place)?;
        xattr::set(parent, OPAQUE_ATTRIBUTE, b"y")
            .map_err(place.failed("make directory opaque for"))
    }
}

/// Whether a directory cannot be opened because it is something else.
pub(crate) fn is_blocked(error: &io::Error) -> bool {
    let blocked = [Errno::NOTDIR, Errno::LOOP].map(Errno::raw_os_error);
    error
        .raw_os_error()
        .is_some_and(|errno| blocked.contains(&errno))
}

/// Makes a directory that the archive may not list, so that nothing else sets its permissions.
pub(crate) fn make_implied(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    make_directory(parent, name)?;
    // Whatever the process's umask is.
    let mode = Mode::from_raw_mode(IMPLIED_MODE.into());
    rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
}

fn make_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(IMPLIED_MODE.into()))
}

fn set_opaque(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    xattr::set(&directory, OPAQUE_ATTRIBUTE, b"y")
}

fn is_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
    })
}

/// Removes a directory and what it holds.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    crate::delete::remove_tree_at(parent, std::ffi::OsStr::from_bytes(name))
}
