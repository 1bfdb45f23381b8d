//! One thing of a tree as an archive.

use super::Error;
use super::layer::Archive;
use super::walk::{Found, Step, Walk};
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, FileType};
use std::io::Write;

/// What is archived: by the descriptor that it was found with, so that no path is walked twice.
#[derive(Clone, Copy, Debug)]
pub enum Part<'f> {
    /// An open directory, with what is below it.
    Directory(BorrowedFd<'f>),
    /// What has a name in an open directory, a link itself; not a directory.
    Entry(BorrowedFd<'f>, &'f [u8]),
}

/// Writes a part of a tree, under the name `shown`; `/` for a tree that has no name, whose entries'
/// paths then begin with a slash, as dockerd writes them. Sockets are left out.
///
/// # Errors
/// See [`Error`]; the archive is incomplete then.
pub fn part(part: Part<'_>, shown: &[u8], out: &mut dyn Write) -> Result<(), Error> {
    let failed = |errno| Error::io("look at", shown, errno);
    let archive = match part {
        Part::Entry(parent, name) => {
            let mut archive = Archive::with_prefix(out, b"");
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let stat = rustix::fs::statat(parent, name, flags).map_err(failed)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            archive.add(&Found {
                path: shown,
                name: name.to_vec(),
                parent,
                stat,
                kind,
            })?;
            archive
        }
        Part::Directory(directory) => {
            let prefix = match shown {
                b"/" => b"/".to_vec(),
                shown => [shown, b"/"].concat(),
            };
            let mut archive = Archive::with_prefix(out, &prefix);
            archive.add(&Found {
                path: b"",
                name: b".".to_vec(),
                parent: directory,
                stat: rustix::fs::fstat(directory).map_err(failed)?,
                kind: FileType::Directory,
            })?;
            let mut walk = Walk::new(directory)?;
            while let Some(step) = walk.next()? {
                let Step::Entry(found) = step else {
                    continue;
                };
                archive.add(&found)?;
                if found.is_directory() {
                    let name = found.name;
                    walk.enter(&name)?;
                }
            }
            archive
        }
    };
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use std::os::fd::AsFd as _;

    fn listed(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match entry.link_name_bytes() {
                Some(link) => format!("{name} -> {}", String::from_utf8_lossy(&link)),
                None => name,
            }
        });
        entries.collect()
    }

    /// The names are those that dockerd 28.5 gives.
    #[test]
    fn paths_begin_with_the_name_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("d/e")).unwrap();
        fs_err::write(dir.path().join("d/f"), "x").unwrap();
        fs_err::hard_link(dir.path().join("d/f"), dir.path().join("d/g")).unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("d/s")).unwrap();
        let root = rustix::fs::open(dir.path().join("d"), OFlags::DIRECTORY, Mode::empty());
        let root = root.unwrap();
        let directory = |shown: &[u8]| {
            let mut out = Vec::new();
            part(Part::Directory(root.as_fd()), shown, &mut out).unwrap();
            listed(&out)
        };
        let expected = ["n/", "n/e/", "n/f", "n/g -> n/f", "n/s -> f"];
        assert_eq!(directory(b"n"), expected);
        assert_eq!(
            directory(b"."),
            ["./", "./e/", "./f", "./g -> ./f", "./s -> f"]
        );
        assert_eq!(directory(b"/"), ["/", "/e/", "/f", "/g -> /f", "/s -> f"]);
        let mut out = Vec::new();
        part(Part::Entry(root.as_fd(), b"s"), b"s", &mut out).unwrap();
        assert_eq!(listed(&out), ["s -> f"]);
    }
}
