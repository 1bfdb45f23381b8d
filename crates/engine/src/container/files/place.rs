//! Paths that clients name, found in a container that may change under us.

use super::{PathStat, is_directory, readable};
use hull_linux::path::Root;
use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// As many links as Go follows on one way.
const MAX_LINKS: usize = 255;

/// A path as dockerd reads it: `..` taken out as text, and whether it insists on a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Absolute and clean.
    path: PathBuf,
    /// `/.`, `/` or nothing.
    ending: &'static str,
}

/// What a path leads to, held open: what somebody does to the path afterwards changes nothing.
#[derive(Debug)]
pub(super) enum Found {
    Directory(OwnedFd),
    /// Anything else: its directory and its name there.
    Entry(OwnedFd, Vec<u8>),
}

impl Place {
    pub(super) fn of(text: &str) -> Self {
        let mut path = PathBuf::from("/");
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    path.pop();
                }
                part => path.push(part),
            }
        }
        let is_root = path == Path::new("/");
        let ending = match text.rsplit('/').next() {
            Some(".") if is_root => ".",
            Some(".") => "/.",
            Some("") if !is_root => "/",
            _ => "",
        };
        Self { path, ending }
    }

    /// Without the ending.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn shown(&self) -> String {
        format!("{}{}", self.path.display(), self.ending)
    }

    /// What an archive and a stat call it.
    fn name(&self) -> String {
        match self.path.file_name() {
            _ if self.ending.ends_with('.') => ".".to_owned(),
            Some(name) => name.to_string_lossy().into_owned(),
            None => "/".to_owned(),
        }
    }

    /// Finds it. A link at its end is what is found, unless the path insists on a directory.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub(super) fn find(&self, root: &Root) -> io::Result<(Found, PathStat)> {
        let (parent, name) = match (self.path.parent(), self.path.file_name()) {
            (Some(parent), Some(name)) if self.ending.is_empty() => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                (root.open_at(parent, flags)?, name.as_bytes())
            }
            _ => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                let directory = readable(root.open_at(&self.path, flags)?)?;
                let stat = rustix::fs::fstat(&directory)?;
                return Ok((Found::Directory(directory), self.stat(&stat, String::new())));
            }
        };
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if is_directory(stat.st_mode) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
            return Ok((Found::Directory(directory), self.stat(&stat, String::new())));
        }
        let target = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => followed(root, &self.path)?.to_string_lossy().into_owned(),
            _ => String::new(),
        };
        Ok((
            Found::Entry(parent, name.to_vec()),
            self.stat(&stat, target),
        ))
    }

    /// The directory that it leads to, all links followed; `None` for something else.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub(super) fn directory(&self, root: &Root) -> io::Result<Option<OwnedFd>> {
        let found = root.open_at(&self.path, OFlags::PATH)?;
        if is_directory(rustix::fs::fstat(&found)?.st_mode) {
            return readable(found).map(Some);
        }
        Ok(None)
    }

    fn stat(&self, stat: &Stat, link_target: String) -> PathStat {
        let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        PathStat {
            name: self.name(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode,
            // A file system may hold times that no calendar has.
            mtime: Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH),
            link_target,
        }
    }
}

/// Where a path leads when every link on it is followed; what is missing is taken as it is written.
fn followed(root: &Root, path: &Path) -> io::Result<PathBuf> {
    let parts = |path: &Path| -> Vec<OsString> {
        let parts = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
        parts
            .rev()
            .map(|part| OsString::from_vec(part.to_vec()))
            .collect()
    };
    let mut pending = parts(path);
    let mut place = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = pending.pop() {
        match part.as_bytes() {
            b"" | b"." => continue,
            b".." => {
                place.pop();
                continue;
            }
            _ => place.push(&part),
        }
        let target = root
            .open_at(&place, OFlags::PATH | OFlags::NOFOLLOW)
            .and_then(|link| Ok(rustix::fs::readlinkat(link, "", Vec::new())?));
        let Ok(target) = target else {
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        place = match target.is_absolute() {
            true => PathBuf::from("/"),
            false => place.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        pending.extend(parts(&target));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_are_read_as_dockerd_reads_them() {
        for (text, shown, name) in [
            ("/etc/hosts", "/etc/hosts", "hosts"),
            ("d/f", "/d/f", "f"),
            ("/d/../d/f", "/d/f", "f"),
            ("/d/", "/d/", "d"),
            ("/d/.", "/d/.", "."),
            ("/", "/", "/"),
            ("../..", "/", "/"),
            (".", "/.", "."),
        ] {
            let place = Place::of(text);
            assert_eq!(
                (place.shown().as_str(), place.name().as_str()),
                (shown, name),
                "{text}"
            );
        }
    }

    /// The targets are those that dockerd 28.5 tells.
    #[test]
    fn links_are_told_with_where_they_lead() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("etc/below")).unwrap();
        fs_err::write(dir.path().join("etc/hosts"), "").unwrap();
        for (name, target) in [
            ("l", "/etc/hosts"),
            ("ld", "etc"),
            ("dangling", "nope"),
            ("dots", "/x/../y/z"),
            ("up", "../../../etc/below/../hosts"),
            ("two", "ld/below"),
            ("loop", "loop"),
        ] {
            symlink(target, dir.path().join(name)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let found = |path: &str| Place::of(path).find(&root);
        for (path, target) in [
            ("/l", "/etc/hosts"),
            ("/ld", "/etc"),
            ("/dangling", "/nope"),
            ("/dots", "/y/z"),
            ("/up", "/etc/hosts"),
            ("/two", "/etc/below"),
        ] {
            assert_eq!(found(path).unwrap().1.link_target, target, "{path}");
        }
        assert!(found("/loop").is_err());
        let (directory, stat) = found("/ld/").unwrap();
        assert!(matches!(directory, Found::Directory(_)));
        assert_eq!((stat.name.as_str(), stat.link_target.as_str()), ("ld", ""));
        let kind = |path: &str| found(path).unwrap_err().kind();
        assert_eq!(kind("/nope"), io::ErrorKind::NotFound);
        assert_eq!(kind("/etc/hosts/"), io::ErrorKind::NotADirectory);
        assert_eq!(kind("/etc/hosts/x"), io::ErrorKind::NotADirectory);
        assert!(Place::of("/l").directory(&root).unwrap().is_none());
        assert!(Place::of("/two").directory(&root).unwrap().is_some());
    }
}
