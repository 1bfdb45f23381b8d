//! Directories by path, below one root, never through a symbolic link.

use super::Error;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many directories stay open at once. Archives go through trees in depth, so this saves nearly
/// every opening; several layers unpack at once, and a process may have only 1024 files open.
const OPEN: usize = 32;

/// The way to the directory that was used last: entries of one directory, and of its neighbours,
/// cost no walk from the root.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    steps: Vec<(Vec<u8>, OwnedFd)>,
    /// The last directory, where it is too deep for `steps`.
    end: Option<OwnedFd>,
}

/// What to do about a directory on the way that cannot be opened.
pub(crate) type Mend<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &[u8], Errno) -> Result<(), Error>;

impl Trail {
    /// Opens the directory `path`. `mend` is asked once for each part that cannot be opened as a
    /// directory; when it succeeds the part is opened again.
    pub(crate) fn enter<'s>(
        &'s mut self,
        root: &'s OwnedFd,
        path: &[&[u8]],
        mend: Mend<'_>,
    ) -> Result<BorrowedFd<'s>, Error> {
        let known = self.steps.iter().zip(path);
        let common = known.take_while(|(step, part)| step.0 == **part).count();
        self.steps.truncate(common);
        self.end = None;
        for part in &path[common..] {
            let here = self.here(root);
            let next = match open(here, part) {
                Ok(next) => next,
                Err(error) => {
                    mend(here, part, error)?;
                    open(here, part).map_err(|error| Error::path("open directory", path, error))?
                }
            };
            if self.steps.len() < OPEN {
                self.steps.push((part.to_vec(), next));
            } else {
                self.end = Some(next);
            }
        }
        Ok(self.here(root))
    }

    fn here<'s>(&'s self, root: &'s OwnedFd) -> BorrowedFd<'s> {
        let last = self.steps.last().map(|(_, step)| step);
        self.end.as_ref().or(last).unwrap_or(root).as_fd()
    }

    /// Forgets all, because directories on the way may have been removed.
    pub(crate) fn forget(&mut self) {
        self.steps.clear();
        self.end = None;
    }
}

fn open(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}
