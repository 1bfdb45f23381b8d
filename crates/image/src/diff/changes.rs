//! `docker diff`: what a container added, changed and deleted.

use super::walk::{Found, Step, Walk, directory_at, sorted_names, stat_at};
use super::{Error, stubs};
use hull_linux::xattr;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Stat;
use rustix::io::Errno;
use std::collections::BTreeSet;

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Something about it, or in it, is different.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// One line of `docker diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absolute, as bytes: names need not be UTF-8.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: ChangeKind,
}

/// Compares an upper directory of overlayfs with the merged tree below it by dockerd's rules: of a
/// directory kind, owner and mode count, of other things time and size too, and capabilities; above
/// every change each directory is listed as changed, unless it was added itself; of a deleted
/// directory only its name. Directories come before what is in them; in a directory what is there
/// comes before what is gone, both in the order of their names.
///
/// # Errors
/// See [`Error`].
pub fn changes(upper: BorrowedFd<'_>, lower: Option<BorrowedFd<'_>>) -> Result<Vec<Change>, Error> {
    let lower_root = lower
        .map(|lower| directory_at(lower, b"."))
        .transpose()
        .map_err(|errno| Error::io("open", b"/", errno))?
        .flatten();
    let mut listing = Listing {
        changes: Vec::new(),
        levels: vec![Level::new(lower_root, true)],
    };
    let mut walk = Walk::new(upper)?;
    loop {
        match walk.next()? {
            None => break,
            Some(Step::Leave) => {
                // The path of the directory that was left is the last level's own.
                listing.leave()?;
            }
            Some(Step::Entry(found)) => {
                if stubs::is_stub(&found) {
                    continue;
                }
                listing.entry(&found)?;
                if found.is_directory() {
                    let level = listing.level_of(&found)?;
                    let name = found.name;
                    if walk.enter(&name)? {
                        listing.levels.push(Level {
                            path: walk.path().to_vec(),
                            ..level
                        });
                    }
                }
            }
        }
    }
    listing.leave()?;
    Ok(listing.changes)
}

/// A directory being compared.
struct Level {
    path: Vec<u8>,
    /// Its counterpart below.
    lower: Option<OwnedFd>,
    /// Whether the list has it already; the root never gets in.
    listed: bool,
    deleted: BTreeSet<Vec<u8>>,
}

impl Level {
    fn new(lower: Option<OwnedFd>, listed: bool) -> Self {
        Self {
            path: Vec::new(),
            lower,
            listed,
            deleted: BTreeSet::new(),
        }
    }
}

struct Listing {
    changes: Vec<Change>,
    levels: Vec<Level>,
}

impl Listing {
    /// Adds a line, after the directories above it.
    fn tell(&mut self, path: &[u8], kind: ChangeKind) {
        for level in &mut self.levels {
            if !std::mem::replace(&mut level.listed, true) {
                self.changes.push(change(&level.path, ChangeKind::Modified));
            }
        }
        self.changes.push(change(path, kind));
    }

    fn lower(&self) -> Option<BorrowedFd<'_>> {
        self.levels.last()?.lower.as_ref().map(AsFd::as_fd)
    }

    fn below(&self, found: &Found<'_>) -> Result<Option<Stat>, Error> {
        let Some(lower) = self.lower() else {
            return Ok(None);
        };
        stat_at(lower, &found.name).map_err(found.failed("look below at"))
    }

    fn entry(&mut self, found: &Found<'_>) -> Result<(), Error> {
        let below = self.below(found)?;
        if found.is_whiteout() {
            if below.is_some()
                && let Some(level) = self.levels.last_mut()
            {
                level.deleted.insert(found.name.clone());
            }
            return Ok(());
        }
        match below {
            None => {
                if !stubs::holds_only_stubs(found, None) {
                    self.tell(found.path, ChangeKind::Added);
                }
            }
            Some(below) if differs(&below, &found.stat) || self.capability_differs(found)? => {
                self.tell(found.path, ChangeKind::Modified);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// How a directory's own entries are to be compared.
    fn level_of(&self, found: &Found<'_>) -> Result<Level, Error> {
        let failed = found.failed("open below");
        let counterpart = match self.lower() {
            Some(lower) => directory_at(lower, &found.name).map_err(failed)?,
            None => None,
        };
        let listed = self
            .changes
            .last()
            .is_some_and(|last| last.path[1..] == *found.path && last.kind != ChangeKind::Deleted);
        // A new directory with nothing but mount points is not listed, nor is it because of them.
        let hidden = counterpart.is_none() && stubs::holds_only_stubs(found, None);
        let mut level = Level::new(counterpart, listed || hidden);
        if is_opaque(found)?
            && let Some(lower) = &level.lower
        {
            // Everything below is hidden; what is here again is told as changed.
            let names = sorted_names(lower.as_fd()).map_err(found.failed("list below"))?;
            let here = directory_at(found.parent, &found.name)
                .map_err(found.failed("open"))?
                .map(|directory| sorted_names(directory.as_fd()))
                .transpose()
                .map_err(found.failed("list"))?
                .unwrap_or_default();
            let here: BTreeSet<Vec<u8>> = here.into_iter().collect();
            level.deleted = names
                .into_iter()
                .filter(|name| !here.contains(name))
                .collect();
        }
        Ok(level)
    }

    /// Tells what is gone from the innermost directory, which has no more entries.
    fn leave(&mut self) -> Result<(), Error> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        let deleted = std::mem::take(&mut level.deleted);
        let directory = level.path.clone();
        for name in deleted {
            let mut path = directory.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend(name);
            self.tell(&path, ChangeKind::Deleted);
        }
        self.levels.pop();
        Ok(())
    }

    fn capability_differs(&self, found: &Found<'_>) -> Result<bool, Error> {
        let Some(lower) = self.lower() else {
            return Ok(false);
        };
        let capability = |directory: BorrowedFd<'_>| match xattr::get_at(
            directory,
            &found.name,
            b"security.capability",
        ) {
            Err(Errno::OPNOTSUPP | Errno::NOENT) => Ok(None),
            value => value.map_err(found.failed("read extended attribute of")),
        };
        Ok(capability(lower)? != capability(found.parent)?)
    }
}

fn change(path: &[u8], kind: ChangeKind) -> Change {
    Change {
        path: [b"/", path].concat(),
        kind,
    }
}

fn is_opaque(found: &Found<'_>) -> Result<bool, Error> {
    let attribute = xattr::get_at(found.parent, &found.name, b"trusted.overlay.opaque");
    match attribute {
        Err(Errno::OPNOTSUPP | Errno::NOENT) => Ok(false),
        value => Ok(value
            .map_err(found.failed("read extended attribute of"))?
            .as_deref()
            == Some(b"y")),
    }
}

/// dockerd's rule.
fn differs(old: &Stat, new: &Stat) -> bool {
    let is_directory = |stat: &Stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
    old.st_mode != new.st_mode
        || old.st_uid != new.st_uid
        || old.st_gid != new.st_gid
        || old.st_rdev != new.st_rdev
        || (!(is_directory(old) && is_directory(new))
            && (!same_time(old, new) || old.st_size != new.st_size))
}

/// Whether two times are equal as far as both know: an archive has whole seconds.
fn same_time(old: &Stat, new: &Stat) -> bool {
    old.st_mtime == new.st_mtime
        && (old.st_mtime_nsec == new.st_mtime_nsec
            || old.st_mtime_nsec == 0
            || new.st_mtime_nsec == 0)
}
