//! A container's files as it sees them, for us: a tree of mounts that nobody else sees and that hangs
//! nowhere.
//!
//! ```text
//! running   the container's own mounts, copied out of its mount namespace: its root without what is
//!           mounted there, then only the mounts that were asked for, so no /proc and nothing of its own
//! else      its snapshot is mounted, and the mounts are made as a start would make them
//! ```
//!
//! Targets are found in the tree that is being put together, with the container's root as the root of
//! all: whatever links a container plants, a mount lands inside, and so does every later look-up.

use super::super::gone::has_ended;
use super::super::live::Container;
use super::super::{State, mounts, resources};
use super::is_directory;
use crate::container::shared::Shared;
use crate::{Engine, Error, ErrorKind, Result};
use hull_image::Snapshotter;
use hull_linux::cgroup::Cgroup;
use hull_linux::mount::{Attributes, apart, attach, clone_tree, set_attributes};
use hull_linux::path::Root;
use hull_spec::rootfs::RootFs;
use hull_spec::runtime::Mount;
use rustix::fs::{AtFlags, CWD, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use tokio::sync::MutexGuard;

/// What a view is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A container's files.
#[derive(Debug)]
pub(super) struct View<'c> {
    pub(super) root: Root,
    /// Keeps a container that does not run from being started while somebody else writes to its layer.
    _operation: Option<MutexGuard<'c, ()>>,
}

/// What a container's process shows.
enum Live {
    Root(OwnedFd),
    /// It has ended, which is not written down yet.
    Ended,
    /// There is none.
    No,
}

/// What is mounted in a container that does not run.
struct Resting<'r> {
    root: &'r RootFs,
    mounts: &'r [Mount],
    /// The root is read-only for the container.
    read_only: bool,
    /// Where the root is mounted for a moment, in our own namespace.
    scratch: &'r Path,
}

impl Engine {
    /// Puts a view together. Blocking.
    ///
    /// # Errors
    /// What mounting gives.
    pub(super) fn view<'c>(&self, container: &'c Container, access: Access) -> Result<View<'c>> {
        let failed = |error: io::Error| {
            Error::new(
                ErrorKind::Internal,
                "could not look at the container's files",
            )
            .caused_by(error)
        };
        let view = |root, operation| View {
            root: Root::from_directory(root),
            _operation: operation,
        };
        let exits = container.progress.borrow().exits;
        match self.live(container).map_err(failed)? {
            Live::Root(root) => return Ok(view(root, None)),
            // Its layer is still the shim's, until that has cleaned up.
            Live::Ended => container.wait_for_end(exits),
            Live::No => {}
        }
        let operation = container.operation.blocking_lock();
        // It may have been started while we waited.
        if let Live::Root(root) = self.live(container).map_err(failed)? {
            return Ok(view(root, None));
        }
        match access {
            Access::Read => Ok(view(
                self.resting(container, access)?.map_err(failed)?,
                None,
            )),
            Access::Write => {
                let root = self.resting(container, access)?.map_err(failed)?;
                Ok(view(root, Some(operation)))
            }
        }
    }

    /// The tree of a container that runs.
    fn live(&self, container: &Container) -> io::Result<Live> {
        let record = container.record();
        let (State::Running { pid, .. } | State::Paused { pid, .. }) = record.state else {
            return Ok(Live::No);
        };
        let process = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let Some(Ok(process)) = process else {
            return Ok(Live::Ended);
        };
        // The number may be another process's by now: one of the container's own group is none, and
        // what is alive after that was what the number meant when it was opened.
        let group = resources::cgroup(&record.config, &record.id);
        let own = Cgroup::new(self.cgroups.clone(), &group).and_then(|group| group.pids());
        let own = own.map_err(io::Error::other)?;
        let belongs = u32::try_from(pid).is_ok_and(|pid| own.contains(&pid));
        if has_ended(process.as_fd()) {
            return Ok(Live::Ended);
        }
        if !belongs {
            return Ok(Live::No);
        }
        let paths = self.paths(&record);
        let files = [
            (&paths.resolv_conf, "/etc/resolv.conf"),
            (&paths.hostname, "/etc/hostname"),
            (&paths.hosts, "/etc/hosts"),
        ];
        let files = files.iter().filter(|(file, _)| file.exists());
        let mut targets: Vec<&str> = files.map(|(_, target)| *target).collect();
        targets.extend(record.mounts.iter().map(|point| point.target.as_str()));
        targets.sort_by_key(|target| target.matches('/').count());
        targets.dedup();
        match copied(process.as_fd(), &targets) {
            // Its namespaces went with it, a moment before it can be seen that it has ended.
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
                Ok(Live::Ended)
            }
            Err(_) if has_ended(process.as_fd()) => Ok(Live::Ended),
            root => root.map(Live::Root),
        }
    }

    /// The tree of a container that does not run, whose operation lock is held.
    fn resting(&self, container: &Container, access: Access) -> Result<io::Result<OwnedFd>> {
        let record = container.record();
        let root = self.snapshots.root_fs(&record.id);
        let root = root.map_err(crate::image::snapshot_error)?;
        let rest = self.points_at_rest(&record, access == Access::Write)?;
        let mut mounts = mounts::list(
            &record,
            &rest.points,
            &self.paths(&record),
            &Shared::default(),
        );
        mounts.retain(|mount| mount.kind == "bind" && !mount.destination.starts_with("/dev/"));
        // Before its first start a container has no files of ours, and `-v` has not made its sources.
        let own = self.container_dir(&record.id);
        mounts.retain(|mount| {
            let needed = access == Access::Write && !Path::new(&mount.source).starts_with(&own);
            needed || Path::new(&mount.source).exists()
        });
        let scratch = self.config.exec_root.join("view");
        let resting = Resting {
            root: &root,
            mounts: &mounts,
            read_only: record.config.read_only,
            scratch: &scratch,
        };
        if access == Access::Write {
            return Ok(resting.mounted(true));
        }
        let read_only = match &root {
            RootFs::Overlay { lower, upper, .. } => RootFs::Overlay {
                lower: upper.iter().chain(lower).cloned().collect(),
                upper: None,
                work: None,
                volatile: false,
            },
            directory @ RootFs::Directory { .. } => directory.clone(),
        };
        let looking = Resting {
            root: &read_only,
            ..resting
        };
        Ok(match looking.mounted(false) {
            // A mount point that no start has made yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                resting.mounted(true).and_then(|_| looking.mounted(false))
            }
            mounted => mounted,
        })
    }
}

impl Resting<'_> {
    /// Mounts all; `make` makes mount points that are missing.
    fn mounted(&self, make: bool) -> io::Result<OwnedFd> {
        apart(None, || {
            match std::fs::create_dir(self.scratch) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            hull_shim::mount_root(self.root, self.scratch)?;
            let top = Root::open(self.scratch)?;
            for mount in self.mounts {
                self.mount(mount, &top, make)?;
            }
            if self.read_only {
                set_attributes(top.as_fd(), false, &read_only())?;
            }
            clone_tree(top.as_fd(), Path::new(""), true)
        })
    }

    fn mount(&self, mount: &Mount, top: &Root, make: bool) -> io::Result<()> {
        let has = |option: &str| mount.options.iter().any(|known| known == option);
        let target = Path::new(&mount.destination);
        let source = clone_tree(CWD, Path::new(&mount.source), has("rbind"))
            .map_err(|error| told(error, "mount", &mount.source))?;
        if has("ro") || has("rro") {
            set_attributes(source.as_fd(), has("rbind"), &read_only())?;
        }
        let place = if !make {
            top.open_at(target, OFlags::PATH)?
        } else if is_directory(rustix::fs::fstat(&source)?.st_mode) {
            top.ensure_directory(target, 0o755)?
        } else {
            top.ensure_file(target)?
        };
        attach(source.as_fd(), place.as_fd())
            .map_err(|error| told(error, "mount at", &mount.destination))
    }
}

/// Copies the root of a process, and of its mounts those at `targets`, shallow ones first.
fn copied(process: BorrowedFd<'_>, targets: &[&str]) -> io::Result<OwnedFd> {
    apart(Some(process), || {
        let old = Root::open(Path::new("/"))?;
        let top = clone_tree(old.as_fd(), Path::new(""), false)?;
        // Only what hangs somewhere can be mounted on.
        attach(top.as_fd(), old.as_fd())?;
        let top = Root::from_directory(top);
        for target in targets {
            let target = Path::new(target);
            // The container may have taken it away, if it is allowed to.
            let Ok(found) = old.open_at(target, OFlags::PATH) else {
                continue;
            };
            if !is_mount(found.as_fd())? {
                continue;
            }
            let mount = clone_tree(found.as_fd(), Path::new(""), true)?;
            if let Ok(place) = top.open_at(target, OFlags::PATH) {
                attach(mount.as_fd(), place.as_fd())?;
            }
        }
        clone_tree(top.as_fd(), Path::new(""), true)
    })
}

/// Whether a descriptor is the root of a mount.
fn is_mount(of: BorrowedFd<'_>) -> io::Result<bool> {
    let about = rustix::fs::statx(of, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(about.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn read_only() -> Attributes {
    Attributes {
        set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()),
        ..Attributes::default()
    }
}

/// The same kind of error, with what was being done to what.
fn told(error: io::Error, operation: &str, path: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{operation} {path}: {error}"))
}
