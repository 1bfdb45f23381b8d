//! Sources of bind mounts that are not simply there: made in this mount namespace, and taken away again
//! when the container, which has its own copies, is made.

use super::{Error, rootfs, step};
use crate::{Launch, Source, SourceKind, files};
use hull_linux::mount;
use hull_linux::path::Root;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags};
use rustix::mount::{MountPropagationFlags, mount_change};
use std::io;
use std::path::{Path, PathBuf};

/// Copies of the trees whose mounts are shared with the host. A copy made later, of a slave, would tell
/// the host nothing.
pub(super) fn take_shared(sources: &[Source]) -> Result<Vec<Option<OwnedFd>>, Error> {
    let take = |source: &Source| match &source.kind {
        SourceKind::Shared { path, recursive } => {
            let tree = mount::clone_tree(CWD, path, *recursive);
            let tree = tree.map_err(|source| Error::Part {
                path: path.clone(),
                source,
            });
            tree.map(Some)
        }
        _ => Ok(None),
    };
    sources.iter().map(take).collect()
}

/// Puts everything at its place.
pub(super) fn put(launch: &Launch, shared: Vec<Option<OwnedFd>>) -> Result<(), Error> {
    if launch.sources.is_empty() {
        return Ok(());
    }
    let directory = launch.bundle.join(files::SOURCES);
    fs_err::create_dir_all(&directory).map_err(step("make a place for mounts"))?;
    for (number, (source, shared)) in launch.sources.iter().zip(shared).enumerate() {
        let at = directory.join(number.to_string());
        match (&source.kind, shared) {
            (_, Some(tree)) => attach(&tree, &at).map_err(step("put a shared mount"))?,
            (SourceKind::Root(root), None) => {
                let whole = directory.join(format!("{number}.root"));
                rootfs::mount(root, &whole).map_err(step("mount an image"))?;
                part(&whole, source, &at)?;
            }
            (SourceKind::Directory(path) | SourceKind::Shared { path, .. }, None) => {
                part(path, source, &at)?;
            }
        }
    }
    Ok(())
}

/// Puts a part of a tree: what the path leads to inside of it, also while somebody moves links about.
fn part(whole: &Path, source: &Source, at: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::Part {
        path: whole.join(&source.subpath),
        source: error,
    };
    let root = Root::open(whole).map_err(failed)?;
    let found = root
        .open_at(&source.subpath, OFlags::PATH)
        .map_err(failed)?;
    let tree = mount::clone_tree(found.as_fd(), Path::new(""), true).map_err(failed)?;
    attach(&tree, at).map_err(failed)
}

fn attach(tree: &OwnedFd, at: &Path) -> io::Result<()> {
    let stat = rustix::fs::fstat(tree)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        fs_err::create_dir(at)?;
    } else {
        fs_err::write(at, "")?;
    }
    mount::attach_at(tree.as_fd(), at)
}

/// Takes away what was put, and mounts that are no business of this namespace any more.
pub(super) fn take_away(launch: &Launch) {
    let directory = launch.bundle.join(files::SOURCES);
    for number in 0..launch.sources.len() {
        let paths: [PathBuf; 2] = [
            directory.join(number.to_string()),
            directory.join(format!("{number}.root")),
        ];
        for path in paths {
            // What is unmounted in a shared mount is unmounted on the host as well.
            let alone = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            if mount_change(&path, alone).is_ok() {
                let _ = rootfs::unmount(&path);
            }
        }
    }
    if let Some(foreign) = &launch.foreign_sources {
        let _ = rootfs::unmount(foreign);
    }
}
