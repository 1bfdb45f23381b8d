//! Copies of files between trees, as BuildKit's Dockerfiles have them: owners, modes, times, hard links and
//! extended attributes come along. Both trees are the roots of all look-ups in them, and below the place where
//! a copy begins no link is followed.

use super::find::{Found, names, times, write_all};
use hull_build::graph::Mode as Wanted;
use hull_build::world::{Cancel, WorldError, WorldResult};
use hull_image::delete::remove_tree_at;
use hull_linux::xattr;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// So many names of files with several are kept to be found again.
const MAX_LINKS: usize = 4096;
/// No tree is deeper: each directory on the way is open.
pub(super) const MAX_DEPTH: usize = 1000;

/// What copied files become.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Whose; `None`: as it was.
    pub(super) owner: Option<(u32, u32)>,
    /// `None`: as it was.
    pub(super) mode: Option<Wanted>,
    /// Nanoseconds since 1970; `None`: as it was.
    pub(super) time: Option<i64>,
}

/// Which files come along.
pub(super) trait Sieve {
    /// What becomes of an entry, by its path below where the copy began.
    fn keeps(&self, path: &Path, directory: bool) -> Keep;
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// It is copied.
    Yes,
    /// It is not, and nothing below it.
    No,
    /// A directory that is made when something below it is copied.
    IfNeeded,
}

/// Everything.
pub(super) struct All;

impl Sieve for All {
    fn keeps(&self, _: &Path, _: bool) -> Keep {
        Keep::Yes
    }
}

/// Copies.
pub(super) struct Copier<'a> {
    pub(super) look: &'a Look,
    pub(super) sieve: &'a dyn Sieve,
    pub(super) cancel: &'a Cancel,
    /// Whether what is in the way of another kind goes.
    pub(super) replace: bool,
    /// Files with several names, by what they are in the source, and where below `top` the first of them is now.
    links: HashMap<(u64, u64), PathBuf>,
    /// Where the copy goes.
    top: Option<Rc<OwnedFd>>,
    /// The name that it has there; none if only what is in a directory is copied.
    prefix: PathBuf,
    buffer: Vec<u8>,
    path: PathBuf,
    depth: usize,
}

/// A directory of the destination, made when something comes into it.
struct Place<'p> {
    directory: std::cell::OnceCell<(Rc<OwnedFd>, bool)>,
    parent: Option<&'p Place<'p>>,
    name: &'p OsStr,
    stat: &'p Stat,
}

impl<'a> Copier<'a> {
    pub(super) fn new(look: &'a Look, sieve: &'a dyn Sieve, cancel: &'a Cancel) -> Self {
        Self {
            look,
            sieve,
            cancel,
            replace: false,
            links: HashMap::new(),
            top: None,
            prefix: PathBuf::new(),
            buffer: Vec::new(),
            path: PathBuf::new(),
            depth: 0,
        }
    }

    /// Copies one thing to a name in a directory. A directory that is there already keeps what it is, and gets
    /// what is in the source's.
    pub(super) fn copy(
        &mut self,
        found: &Found,
        directory: OwnedFd,
        name: &OsStr,
    ) -> WorldResult<()> {
        let place = self.begin(directory, name, &found.stat);
        if found.is_directory() {
            let source = found.open().map_err(|error| self.failed("open", error))?;
            return self.directory(&source, &found.stat, (&place, name), true);
        }
        self.other(found.entry.as_fd(), None, &found.stat, (&place, name))
    }

    /// Copies what is in a directory into one that is open.
    pub(super) fn contents(&mut self, found: &Found, directory: OwnedFd) -> WorldResult<()> {
        let place = self.begin(directory, OsStr::new(""), &found.stat);
        let source = found.open().map_err(|error| self.failed("open", error))?;
        self.entries(&source, &place)
    }

    fn begin<'p>(&mut self, directory: OwnedFd, name: &'p OsStr, stat: &'p Stat) -> Place<'p> {
        let directory = Rc::new(directory);
        self.top = Some(Rc::clone(&directory));
        self.prefix = PathBuf::from(name);
        self.path = PathBuf::new();
        Place {
            directory: std::cell::OnceCell::from((directory, false)),
            parent: None,
            name,
            stat,
        }
    }

    /// Where what is copied now is, below the top.
    fn whole_path(&self) -> PathBuf {
        match self.path.as_os_str().is_empty() {
            true => self.prefix.clone(),
            false => self.prefix.join(&self.path),
        }
    }

    /// Gives a directory what another has besides its content.
    pub(super) fn like(&self, found: &Found, directory: OwnedFd) -> WorldResult<()> {
        let source = found.open().map_err(|error| self.failed("open", error))?;
        self.finish(directory.as_fd(), source.as_fd(), &found.stat)
    }

    /// Gives a directory the time of another.
    pub(super) fn date(&self, found: &Found, directory: OwnedFd) -> WorldResult<()> {
        let dated = rustix::fs::futimens(directory, &self.times(&found.stat));
        dated.map_err(|error| self.failed("set the time of", error))
    }

    fn failed(&self, what: &str, error: impl Into<io::Error>) -> WorldError {
        WorldError::caused(
            format!("copy: {what} {:?}", self.path.display().to_string()),
            error.into(),
        )
    }

    fn entries(&mut self, source: &OwnedFd, place: &Place<'_>) -> WorldResult<()> {
        self.cancel.check()?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(WorldError::Invalid("copy: the tree is too deep".to_owned()));
        }
        for name in names(source).map_err(|error| self.failed("list", error))? {
            self.path.push(&name);
            self.entry(source.as_fd(), &name, place)?;
            self.path.pop();
        }
        self.depth -= 1;
        Ok(())
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        name: &OsStr,
        place: &Place<'_>,
    ) -> WorldResult<()> {
        let stat = match rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => return Err(self.failed("look at", error)),
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        match self.sieve.keeps(&self.path, is_directory) {
            Keep::No => Ok(()),
            keep if is_directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(source, name, flags, Mode::empty())
                    .map_err(|error| self.failed("open", error))?;
                self.directory(&opened, &stat, (place, name), keep == Keep::Yes)
            }
            Keep::IfNeeded => Ok(()),
            Keep::Yes => self.other(source, Some(name), &stat, (place, name)),
        }
    }

    fn directory(
        &mut self,
        source: &OwnedFd,
        stat: &Stat,
        (parent, name): (&Place<'_>, &OsStr),
        now: bool,
    ) -> WorldResult<()> {
        let place = Place {
            directory: std::cell::OnceCell::new(),
            parent: Some(parent),
            name,
            stat,
        };
        if now {
            self.open(&place)?;
        }
        let top = self.depth == 0;
        self.entries(source, &place)?;
        let Some((made, new)) = place.directory.get() else {
            return Ok(());
        };
        // What was there where the copy begins keeps what it is, but for its time; what was made for something in
        // it has the time of that.
        match (*new || !top, now) {
            (true, true) => self.finish(made.as_fd(), source.as_fd(), stat),
            (true, false) if *new => self.resemble(made.as_fd(), source.as_fd(), stat),
            (false, true) => rustix::fs::futimens(made.as_fd(), &self.times(stat))
                .map_err(|error| self.failed("set the time of", error)),
            _ => Ok(()),
        }
    }

    /// The open directory of a place, made where it is missing.
    fn open(&self, place: &Place<'_>) -> WorldResult<Rc<OwnedFd>> {
        if let Some((directory, _)) = place.directory.get() {
            return Ok(Rc::clone(directory));
        }
        let Some(parent) = place.parent else {
            return Err(WorldError::other("copy: a place without a directory"));
        };
        let parent = self.open(parent)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&parent, place.name, flags, Mode::empty());
        let failed = |error| self.failed("make directory", error);
        let (directory, new) = match open() {
            Ok(there) => (there, false),
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&parent, place.name, Mode::RWXU).map_err(failed)?;
                (open().map_err(failed)?, true)
            }
            Err(Errno::NOTDIR | Errno::LOOP) if self.replace => {
                rustix::fs::unlinkat(&parent, place.name, AtFlags::empty()).map_err(failed)?;
                rustix::fs::mkdirat(&parent, place.name, Mode::RWXU).map_err(failed)?;
                (open().map_err(failed)?, true)
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let name = place.name.to_string_lossy();
                let text = format!("cannot copy to non-directory: {name}");
                return Err(WorldError::Invalid(text));
            }
            Err(error) => return Err(failed(error)),
        };
        if new && place.parent.is_some() {
            // Should nothing come into it that is to be kept, it is finished as all others.
            let mode = Mode::from_raw_mode(place.stat.st_mode & 0o7777);
            rustix::fs::fchmod(&directory, mode).map_err(failed)?;
        }
        let directory = Rc::new(directory);
        let _ = place.directory.set((Rc::clone(&directory), new));
        Ok(directory)
    }

    /// Anything but a directory: `name` in `source`, or `source` itself.
    fn other(
        &mut self,
        source: BorrowedFd<'_>,
        name: Option<&OsStr>,
        stat: &Stat,
        (place, to): (&Place<'_>, &OsStr),
    ) -> WorldResult<()> {
        let directory = self.open(place)?;
        self.clear(directory.as_fd(), to)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                if self.link(&directory, to, stat)? {
                    return Ok(());
                }
                self.file((source, name), stat, (directory.as_fd(), to))?;
                if stat.st_nlink > 1 && self.links.len() < MAX_LINKS {
                    let first = self.whole_path();
                    self.links.insert((stat.st_dev, stat.st_ino), first);
                }
                Ok(())
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(source, name.unwrap_or_default(), Vec::new());
                let target = target.map_err(|error| self.failed("read link", error))?;
                rustix::fs::symlinkat(&target, &directory, to)
                    .map_err(|error| self.failed("make link", error))?;
                self.finish_at(directory.as_fd(), to, stat)
            }
            FileType::Socket => Ok(()),
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(&directory, to, kind, mode, stat.st_rdev)
                    .map_err(|error| self.failed("make device", error))?;
                self.finish_at(directory.as_fd(), to, stat)
            }
        }
    }

    /// Takes away what has the name.
    fn clear(&self, directory: BorrowedFd<'_>, name: &OsStr) -> WorldResult<()> {
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) if self.replace => {
                remove_tree_at(directory, name).map_err(|error| self.failed("replace", error))
            }
            Err(Errno::ISDIR) => Err(WorldError::Invalid(format!(
                "cannot replace to directory {} with file",
                name.to_string_lossy()
            ))),
            Err(error) => Err(self.failed("replace", error)),
        }
    }

    /// Makes another name of a file that was copied under one; `false` for a new one.
    fn link(&self, directory: &OwnedFd, name: &OsStr, stat: &Stat) -> WorldResult<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let first = self.links.get(&(stat.st_dev, stat.st_ino));
        let (Some(first), Some(top)) = (first, &self.top) else {
            return Ok(false);
        };
        let above = first.parent().filter(|path| !path.as_os_str().is_empty());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let above = above.unwrap_or_else(|| Path::new("."));
        rustix::fs::openat2(top, above, flags, Mode::empty(), resolve)
            .and_then(|there| {
                let first = first.file_name().unwrap_or_default();
                rustix::fs::linkat(&there, first, directory, name, AtFlags::empty())
            })
            .map_err(|error| self.failed("make hard link", error))?;
        Ok(true)
    }

    fn file(
        &mut self,
        (source, name): (BorrowedFd<'_>, Option<&OsStr>),
        stat: &Stat,
        (directory, to): (BorrowedFd<'_>, &OsStr),
    ) -> WorldResult<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = match name {
            Some(name) => rustix::fs::openat(source, name, flags, Mode::empty()),
            None => {
                let path = format!("/proc/self/fd/{}", source.as_raw_fd());
                rustix::fs::open(path, flags.difference(OFlags::NOFOLLOW), Mode::empty())
            }
        };
        let from = from.map_err(|error| self.failed("open", error))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let into = rustix::fs::openat(directory, to, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| self.failed("make", error))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.bytes(&from, &into, size)?;
        self.finish(into.as_fd(), from.as_fd(), stat)
    }

    fn bytes(&mut self, from: &OwnedFd, into: &OwnedFd, size: u64) -> WorldResult<()> {
        if size == 0 {
            return Ok(());
        }
        if size > (1 << 16) {
            // The kernel copies, or shares blocks, where both are of one file system.
            let whole = usize::try_from(size).unwrap_or(usize::MAX);
            let mut left = whole;
            while left > 0 {
                match rustix::fs::copy_file_range(from, None, into, None, left) {
                    Ok(0) => return Ok(()),
                    Ok(count) => left = left.saturating_sub(count),
                    Err(_) if left == whole => break,
                    Err(error) => return Err(self.failed("write", error)),
                }
                self.cancel.check()?;
            }
            if left == 0 {
                return Ok(());
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(256 << 10, 0);
        loop {
            let count = match rustix::io::read(from, &mut buffer[..]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(self.failed("read", error)),
            };
            write_all(into, &buffer[..count]).map_err(|error| self.failed("write", error))?;
            self.cancel.check()?;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// What a file or directory has besides its content.
    fn finish(&self, made: BorrowedFd<'_>, source: BorrowedFd<'_>, stat: &Stat) -> WorldResult<()> {
        self.resemble(made, source, stat)?;
        rustix::fs::futimens(made, &self.times(stat))
            .map_err(|error| self.failed("set attributes of", error))
    }

    /// The same without the time.
    fn resemble(
        &self,
        made: BorrowedFd<'_>,
        source: BorrowedFd<'_>,
        stat: &Stat,
    ) -> WorldResult<()> {
        let (user, group) = self.look.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let failed = |error| self.failed("set attributes of", error);
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        rustix::fs::fchown(made, Some(user), Some(group)).map_err(failed)?;
        self.attributes(made, source)?;
        rustix::fs::fchmod(made, self.mode(stat)?).map_err(failed)
    }

    fn attributes(&self, made: BorrowedFd<'_>, source: BorrowedFd<'_>) -> WorldResult<()> {
        // What cannot be read or written is left out, as BuildKit does.
        for name in xattr::list(source).unwrap_or_default() {
            if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
                continue;
            }
            if let Ok(Some(value)) = xattr::get(source, &name)
                && let Err(error) = xattr::set(made, &name, &value)
            {
                tracing::debug!(%error, "an extended attribute was not copied");
            }
        }
        Ok(())
    }

    /// What a link or device has.
    fn finish_at(&self, directory: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> WorldResult<()> {
        let (user, group) = self.look.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let done = rustix::fs::chownat(directory, name, Some(user), Some(group), nofollow)
            .and_then(|()| match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => Ok(()),
                _ => {
                    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                    rustix::fs::chmodat(directory, name, mode, AtFlags::empty())
                }
            })
            .and_then(|()| rustix::fs::utimensat(directory, name, &self.times(stat), nofollow));
        done.map_err(|error| self.failed("set attributes of", error))
    }

    fn mode(&self, stat: &Stat) -> WorldResult<Mode> {
        let own = stat.st_mode & 0o7777;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mode = match &self.look.mode {
            None => own,
            Some(Wanted::Bits(bits)) => *bits & 0o7777,
            Some(Wanted::Words(words)) => super::chmod::chmod(words, own, directory)?,
        };
        Ok(Mode::from_raw_mode(mode))
    }

    fn times(&self, stat: &Stat) -> Timestamps {
        let own = Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        };
        self.look.time.map_or(
            Timestamps {
                last_access: own,
                last_modification: own,
            },
            times,
        )
    }
}
