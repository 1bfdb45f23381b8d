//! Places that the runtime makes in a step's root to mount something there: they are not the step's doing, and
//! go again unless it has put something there.

use super::find::followed;
use super::tree::root_of;
use hull_build::graph::Exec;
use hull_build::world::{WorldError, WorldResult};
use hull_image::diff::View;
use hull_linux::path::Root;
use hull_spec::rootfs::RootFs;
use rustix::fs::{AtFlags, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// What was not there before a step, deep places first, with the times of what it is in.
pub(super) struct Stubs {
    upper: Option<PathBuf>,
    missing: Vec<PathBuf>,
    above: Vec<(PathBuf, Stat)>,
}

impl Stubs {
    /// Looks at the root before the step; `upper` is what the step's changes are in.
    pub(super) fn before(root: &RootFs, upper: Option<PathBuf>, exec: &Exec) -> WorldResult<Self> {
        let mut stubs = Self {
            upper,
            missing: Vec::new(),
            above: Vec::new(),
        };
        let directories = match root {
            RootFs::Directory { path } => vec![path.clone()],
            RootFs::Overlay { lower, .. } => lower.clone(),
        };
        let failed = |error| WorldError::caused("look at a step's root", error);
        let Some(view) = View::of(&directories).map_err(failed)? else {
            return Ok(stubs);
        };
        let view = root_of(&view).map_err(failed)?;
        let always = ["/etc/resolv.conf", "/etc/hosts"].map(str::to_owned);
        let mounts = exec.mounts.iter().filter(|mount| mount.dest != "/");
        let asked = mounts.map(|mount| mount.dest.clone());
        for path in always.into_iter().chain(asked) {
            // The runtime makes it where links lead, and there it is looked for in what the step has changed.
            let path = PathBuf::from(path);
            let path = followed(&view, &path).unwrap_or(path);
            stubs.look(&view, &path);
        }
        stubs
            .missing
            .sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        stubs.missing.dedup();
        Ok(stubs)
    }

    fn look(&mut self, view: &Root, path: &Path) {
        let mut path = path;
        while let Some(parent) = path.parent() {
            if view.open_at(path, OFlags::PATH).is_ok() {
                return;
            }
            self.missing.push(path.to_owned());
            if let Ok(there) = view.open_at(parent, OFlags::PATH)
                && let Ok(stat) = rustix::fs::fstat(&there)
            {
                self.above.push((parent.to_owned(), stat));
            }
            path = parent;
        }
    }

    /// Takes away what is still as the runtime made it.
    pub(super) fn remove(self) {
        let Some(upper) = &self.upper else {
            return;
        };
        let Ok(root) = Root::open(upper) else {
            return;
        };
        let mut removed = false;
        for path in &self.missing {
            removed |= remove_empty(&root, path).is_ok();
        }
        if !removed {
            return;
        }
        for (path, stat) in &self.above {
            let time = Timespec {
                tv_sec: stat.st_mtime,
                tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            if let Ok(there) = root.open_without_links(path, OFlags::RDONLY | OFlags::DIRECTORY) {
                let _ = rustix::fs::futimens(&there, &times);
                // A directory that overlayfs has only copied, and that has nothing left, says nothing.
                let same = rustix::fs::fstat(&there).is_ok_and(|now| {
                    (now.st_mode, now.st_uid, now.st_gid)
                        == (stat.st_mode, stat.st_uid, stat.st_gid)
                });
                let opaque = hull_linux::xattr::get(&there, b"trusted.overlay.opaque");
                if same && matches!(opaque, Ok(None)) {
                    let _ = remove_empty(&root, path);
                }
            }
        }
    }
}

/// Removes an empty file or directory; no link is followed.
fn remove_empty(root: &Root, path: &Path) -> std::io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    let parent = root.open_without_links(parent, OFlags::PATH | OFlags::DIRECTORY)?;
    let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    match kind {
        rustix::fs::FileType::Directory => {
            Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
        }
        rustix::fs::FileType::RegularFile if stat.st_size == 0 => {
            Ok(rustix::fs::unlinkat(&parent, name, AtFlags::empty())?)
        }
        _ => Err(Errno::EXIST.into()),
    }
}
