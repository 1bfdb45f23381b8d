//! Paths that somebody else controls, opened once relative to a root and used by descriptor.

use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// As many links in one path as the kernel follows (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// A directory that is the root of every path given here: links, absolute ones included, and `..` end
/// inside it. openat2(2), kernel 5.6.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Takes a directory as root. The path is resolved as usual, once.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Takes a directory that is open already as root.
    pub fn from_directory(directory: OwnedFd) -> Self {
        Self(directory)
    }

    /// Opens what is there. Magic links of procfs are not followed.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn open_at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.resolve(path, flags, ResolveFlags::empty())
    }

    /// As [`Root::open_at`], and no part of the path may be a symbolic link.
    ///
    /// # Errors
    /// `ELOOP` for a link, and those of openat2(2).
    pub fn open_without_links(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.resolve(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    fn resolve(&self, path: &Path, flags: OFlags, more: ResolveFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        let path = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        // EAGAIN: a rename or mount elsewhere raced with "..", which the kernel could not rule out.
        for _ in 0..128 {
            match openat2(
                &self.0,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Opens a regular file to read. Nothing else is opened: with some devices that is an act of its own (open(2)).
    ///
    /// # Errors
    /// Those of openat2(2), and `EINVAL` for what is no regular file.
    pub fn open_file(&self, path: &Path) -> io::Result<OwnedFd> {
        regular(self.open_at(path, OFlags::PATH)?, OFlags::RDONLY)
    }

    /// Opens a directory (`O_PATH`), making it and its parents where they are missing. Links that lead
    /// to what is missing are followed too: their target is made, inside the root.
    ///
    /// # Errors
    /// `ENOTDIR` when a file is in the way, `ELOOP` for too many links, and those of mkdir(2).
    pub fn ensure_directory(&self, path: &Path, mode: u32) -> io::Result<OwnedFd> {
        self.ensure(path, mode, MAX_LINKS)
    }

    fn ensure(&self, path: &Path, mode: u32, links: u32) -> io::Result<OwnedFd> {
        match self.open_at(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut done = PathBuf::from("/");
        let mut directory = self.open_at(&done, OFlags::PATH | OFlags::DIRECTORY)?;
        let names = names(path)?;
        for (index, name) in names.iter().enumerate() {
            let here = done.join(name);
            directory = match self.open_at(&here, OFlags::PATH | OFlags::DIRECTORY) {
                Ok(next) => next,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(target) = link_target(&directory, name)? {
                        let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
                        let rest: PathBuf = names[index + 1..].iter().collect();
                        return self.ensure(&done.join(target).join(rest), mode, links);
                    }
                    match rustix::fs::mkdirat(&directory, *name, Mode::from_raw_mode(mode)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    let flags =
                        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    rustix::fs::openat(&directory, *name, flags, Mode::empty())?
                }
                Err(error) => return Err(error),
            };
            done = here;
        }
        Ok(directory)
    }

    /// Opens a file of any kind to be mounted on, making an empty one and its directory where they are
    /// missing. Links that lead to what is missing are followed too, inside the root.
    ///
    /// What is there is opened with `O_PATH`; what is made here is the very file that is given, whatever
    /// takes its name meanwhile.
    ///
    /// # Errors
    /// Those of [`Root::ensure_directory`] and open(2).
    pub fn ensure_file(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            match self.open_at(&path, OFlags::PATH) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
            let (directory, name) = self.ensure_parent(&path)?;
            if let Some(target) = link_target(&directory, &name)? {
                path.set_file_name("");
                path.push(target);
                continue;
            }
            let flags =
                OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
            match rustix::fs::openat(&directory, &name, flags, Mode::from_raw_mode(0o644)) {
                // Somebody was faster: what that is, is seen anew.
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Opens the directory of a path, making it where it is missing, and tells the last name.
    ///
    /// # Errors
    /// Those of [`Root::ensure_directory`]; `EINVAL` for the root itself.
    pub fn ensure_parent(&self, path: &Path) -> io::Result<(OwnedFd, std::ffi::OsString)> {
        let names = names(path)?;
        let (last, parents) = names.split_last().ok_or(Errno::INVAL)?;
        let parent: PathBuf = parents.iter().collect();
        Ok((self.ensure_directory(&parent, 0o755)?, (*last).to_owned()))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens what is open as a place only (`O_PATH`), if it is a regular file.
///
/// # Errors
/// `EINVAL` for anything else, and those of open(2).
pub fn regular(place: impl AsFd, flags: OFlags) -> io::Result<OwnedFd> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let path = format!("/proc/self/fd/{}", place.as_fd().as_raw_fd());
    Ok(rustix::fs::open(
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Where a name leads if it is a link.
fn link_target(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<PathBuf>> {
    match rustix::fs::readlinkat(directory, name, Vec::new()) {
        Ok(target) => Ok(Some(PathBuf::from(OsStr::from_bytes(target.as_bytes())))),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names of a path, `..` taken out as text, as the runtime specification's reader expects.
fn names(path: &Path) -> io::Result<Vec<&OsStr>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => {
                names.pop();
            }
            Component::RootDir | Component::CurDir => {}
            Component::Prefix(_) => return Err(Errno::INVAL.into()),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_are_opened_as_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "text").unwrap();
        symlink("file", dir.path().join("link")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        let at = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &at, fifo, Mode::RUSR, 0).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(root.open_file(Path::new("/file")).is_ok());
        assert!(root.open_file(Path::new("/link")).is_ok());
        for other in ["/fifo", "/"] {
            let error = root.open_file(Path::new(other)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn links_end_inside_the_root() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("etc")).expect("made");
        symlink("/etc", dir.path().join("link")).expect("made");
        symlink("../../../../etc", dir.path().join("up")).expect("made");
        let root = Root::open(dir.path()).expect("opened");
        for path in ["/link/new", "/up/other"] {
            root.ensure_directory(Path::new(path), 0o755).expect("made");
        }
        assert!(dir.path().join("etc/new").is_dir() && dir.path().join("etc/other").is_dir());
        let error = root
            .open_without_links(Path::new("/link"), OFlags::PATH)
            .expect_err("a link");
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn a_dangling_link_is_followed_but_not_out_of_the_root() {
        let dir = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        let inside = |path: &Path| dir.path().join(path.strip_prefix("/").expect("absolute"));
        let victim = outside.path().join("victim");
        symlink(&victim, dir.path().join("file")).expect("made");
        symlink("../run/below", dir.path().join("relative")).expect("made");
        symlink("loop", dir.path().join("loop")).expect("made");
        let root = Root::open(dir.path()).expect("opened");
        root.ensure_file(Path::new("/file")).expect("made inside");
        assert!(!victim.exists() && inside(&victim).is_file());
        root.ensure_directory(Path::new("/relative/deeper"), 0o755)
            .expect("made");
        assert!(dir.path().join("run/below/deeper").is_dir());
        assert!(root.ensure_directory(Path::new("/loop/x"), 0o755).is_err());
        assert!(root.ensure_file(Path::new("/loop")).is_err());
    }
}
