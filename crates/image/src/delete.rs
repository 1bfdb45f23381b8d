//! Directories removed with all that is in them, however deep it is: who made the tree may have made it to break this.
//!
//! One descriptor for each level would run out of them, and a call for each level out of stack; a path cannot be longer
//! than 4096 bytes. So what lies deep is moved up to the top first.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Levels that are open at the same time.
const MAX_LEVELS: usize = 32;
/// As many where nothing can be moved up: overlayfs moves no directory that is below it (`EXDEV`).
const MAX_UNMOVED: usize = 1000;
/// How often a directory is read again that others still write to.
const MAX_TURNS: usize = 16;

/// Removes a directory and what it holds. No link is followed, and no other file system is entered: a mount below it is
/// an error.
///
/// # Errors
/// `ENOTDIR`, `EBUSY` for a mount, `ENOTEMPTY` where others write faster than it is removed, and those of openat2(2),
/// unlinkat(2) and renameat2(2); `EXDEV` for what is deeper than a thousand levels on overlayfs, which does not move it.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    by_path(path).map_err(|error| {
        let text = format!("could not remove {}: {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

fn by_path(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    let parent = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
    remove_tree_at(parent.as_fd(), name)
}

/// As [`remove_tree`], of what an open directory has.
///
/// # Errors
/// As [`remove_tree`].
pub fn remove_tree_at(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
    let top = open(parent, &name)?;
    let mut lifted = 0;
    for _ in 0..MAX_TURNS {
        // What is moved up while the top is read may be seen, or not.
        while empty(&top, &mut lifted)? {}
        match rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            done => return Ok(done?),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What is mounted there is not the tree's.
    let within = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(parent, name, flags, Mode::empty(), within) {
        Err(Errno::XDEV) => Err(Errno::BUSY),
        opened => opened,
    }
}

/// A directory on the way down.
struct Level {
    entries: Dir,
    /// What it is in the level above.
    name: CString,
    turns: usize,
}

impl Level {
    fn new(directory: OwnedFd, name: CString) -> io::Result<Self> {
        Ok(Self {
            entries: Dir::new(directory)?,
            name,
            turns: 0,
        })
    }
}

/// Removes what a directory has; whether something was moved up into it, which may still be there.
fn empty(top: &OwnedFd, lifted: &mut u64) -> io::Result<bool> {
    let before = *lifted;
    // Read anew each time.
    let here = open(top.as_fd(), c".")?;
    let mut levels = vec![Level::new(here, CString::default())?];
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else {
            return Ok(*lifted != before);
        };
        let Some(entry) = level.entries.read() else {
            if let Some(done) = levels.pop() {
                leave(&mut levels, done)?;
            }
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let here = level.entries.fd()?;
        if entry.file_type() != FileType::Directory && unlink(here, name)? {
            continue;
        }
        if depth >= MAX_LEVELS {
            match lift(here, name, top, lifted) {
                Err(Errno::XDEV) if depth < MAX_UNMOVED => {}
                lifted => {
                    lifted?;
                    continue;
                }
            }
        }
        match open(here, name) {
            Ok(below) => {
                let below = Level::new(below, name.to_owned())?;
                levels.push(below);
            }
            Err(Errno::NOENT) => {}
            // It is another by now.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                unlink(here, name)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes a file; `false`: it is a directory.
fn unlink(directory: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A directory is done: it goes, or is read again if something is in it that was not there.
fn leave(levels: &mut Vec<Level>, mut done: Level) -> io::Result<()> {
    let Some(above) = levels.last() else {
        return Ok(());
    };
    match rustix::fs::unlinkat(above.entries.fd()?, &done.name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) if done.turns < MAX_TURNS => {
            done.turns += 1;
            done.entries.rewind();
            levels.push(done);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Moves a directory up to the top, where it is no deeper than its name.
fn lift(from: BorrowedFd<'_>, name: &CStr, top: &OwnedFd, lifted: &mut u64) -> Result<(), Errno> {
    loop {
        let new = CString::new(format!(".deep-{lifted}")).map_err(|_| Errno::INVAL)?;
        *lifted += 1;
        let moved = match rustix::fs::renameat_with(from, name, top, &new, RenameFlags::NOREPLACE) {
            // A file system without that flag; only an empty directory is replaced then.
            Err(Errno::INVAL) => rustix::fs::renameat(from, name, top, &new),
            moved => moved,
        };
        match moved {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // The tree has such a name itself.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories in one another, as deep as asked for, with a file in each.
    fn deep(top: &Path, levels: usize) {
        fs_err::create_dir(top).unwrap();
        let mut at = rustix::fs::open(top, OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            let flags = OFlags::CREATE | OFlags::WRONLY;
            drop(rustix::fs::openat(&at, "f", flags, Mode::RUSR).unwrap());
            at = rustix::fs::openat(&at, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn what_is_mounted_in_the_tree_is_not_the_trees() {
        let dir = tempfile::tempdir().unwrap();
        let (top, other) = (dir.path().join("top"), dir.path().join("other"));
        fs_err::create_dir_all(top.join("m")).unwrap();
        fs_err::create_dir(&other).unwrap();
        fs_err::write(other.join("file"), "kept").unwrap();
        let mut mount = std::process::Command::new("mount");
        let mount = mount.arg("--bind").arg(&other).arg(top.join("m"));
        if !mount.status().is_ok_and(|status| status.success()) {
            println!("skipped: nothing may be mounted here");
            return;
        }
        let removed = remove_tree(&top);
        let mut unmount = std::process::Command::new("umount");
        let unmounted = unmount.arg(top.join("m")).status();
        assert!(unmounted.unwrap().success());
        assert!(removed.is_err());
        let kept = fs_err::read_to_string(other.join("file"));
        assert_eq!(kept.unwrap(), "kept");
        remove_tree(&top).unwrap();
    }

    #[test]
    fn what_is_too_deep_for_a_path_goes() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        deep(&top, 2500);
        // As names of ours, and in their place.
        fs_err::write(top.join(".deep-0"), "").unwrap();
        fs_err::create_dir_all(top.join(".deep-1/d/d")).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn many_go_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (top, other) = (dir.path().join("top"), dir.path().join("other"));
        fs_err::create_dir_all(other.join("kept")).unwrap();
        fs_err::create_dir_all(top.join("a/b/c")).unwrap();
        for number in 0..3000 {
            fs_err::write(top.join(format!("a/b/{number}")), "").unwrap();
        }
        std::os::unix::fs::symlink("../other", top.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", top.join("a/dangling")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(top.join("a/socket")).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists() && other.join("kept").exists());
    }

    #[test]
    fn what_is_no_directory_or_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("link")).unwrap();
        let kind = |name: &str| remove_tree(&dir.path().join(name)).unwrap_err().kind();
        assert_eq!(kind("nothing"), io::ErrorKind::NotFound);
        assert_eq!(kind("file"), io::ErrorKind::NotADirectory);
        assert_eq!(kind("link"), io::ErrorKind::NotADirectory);
        assert!(dir.path().join("file").exists() && dir.path().join("link").is_symlink());
        assert!(remove_tree(Path::new("/")).is_err());
    }
}
