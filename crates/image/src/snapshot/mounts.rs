//! The layers that are mounted: each once, at `<exec-root>/layers/<hex>`, for all snapshots.
//!
//! A layer is mounted when the first snapshot above it is about to be used. When the last snapshot
//! goes it stays for a while, because the next container of the same image is likely; it goes when the
//! layer goes, when too many rest, and, unless a process has it, with an orderly end of the daemon. After another end the next
//! daemon takes over what it finds: what is mounted under a layer's digest is that layer.
//!
//! The directory is a private mount of its own, so that no other mount namespace hears of layers, and
//! one call takes all of them out of a copy of this namespace.

use crate::rows::Rows;
use crate::store::Error;
use hull_linux::mount as kernel;
use hull_spec::Digest;
use rustix::fd::AsFd as _;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many layers stay mounted without a snapshot above them. Each costs a start about a microsecond,
/// when the container's mount namespace is made.
const IDLE: usize = 128;

/// The mounts; nothing is looked at before somebody asks.
#[derive(Debug)]
pub(crate) struct Mounts {
    dir: Option<PathBuf>,
    known: Mutex<Option<Known>>,
}

/// What is known once it was looked at.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// How many snapshots each layer has above it.
    users: HashMap<Digest, usize>,
    mounted: HashSet<Digest>,
    /// Mounted without users, the longest first.
    idle: VecDeque<Digest>,
    /// Whether the directory is a mount of its own.
    prepared: bool,
}

impl Mounts {
    /// Layers are mounted in `dir`; without one they cannot be.
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self {
            dir,
            known: Mutex::default(),
        }
    }

    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    fn locked(&self) -> MutexGuard<'_, Option<Known>> {
        // What is in it is corrected step by step, together with the kernel's state.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the mounts and the rows that they follow, alone.
    pub(super) fn with<T>(
        &self,
        rows: &Rows,
        work: impl FnOnce(&mut View<'_>) -> T,
    ) -> Result<T, Error> {
        let mut known = self.locked();
        let dir = self.dir.as_deref();
        let known = match &mut *known {
            Some(known) => known,
            empty => empty.insert(look(dir, rows)?),
        };
        Ok(work(&mut View { dir, known }))
    }

    /// Unmounts a layer that leaves the store.
    pub(crate) fn forget(&self, layer: &Digest) {
        let Some(dir) = &self.dir else { return };
        let mut known = self.locked();
        let known = known.as_mut();
        // Before anybody looked, it may be mounted all the same.
        if known.is_none_or(|known| known.take(layer)) {
            take_away(&dir.join(layer.hex()));
        }
    }

    /// Unmounts what no snapshot in use is above of, and the directory when nothing is left in it.
    pub(crate) fn close(&self, rows: &Rows, in_use: &[String]) -> Result<(), Error> {
        let mut needed = HashSet::new();
        for (key, snapshot) in rows.snapshots()? {
            if in_use.contains(&key) {
                needed.extend(snapshot.layers);
            }
        }
        self.with(rows, |view| {
            let Some(dir) = view.dir else { return };
            let known = &mut *view.known;
            known.idle.retain(|layer| needed.contains(layer));
            known.mounted.retain(|layer| {
                let needed = needed.contains(layer);
                if !needed {
                    take_away(&dir.join(layer.hex()));
                }
                needed
            });
            if known.mounted.is_empty() && kernel::is_mounted(dir).unwrap_or(false) {
                known.prepared = false;
                take_away(dir);
            }
        })
    }
}

impl Known {
    /// Takes a layer off the lists; tells whether it was mounted.
    fn take(&mut self, layer: &Digest) -> bool {
        self.idle.retain(|idle| idle != layer);
        self.mounted.remove(layer)
    }
}

/// Finds what an earlier daemon left, and counts the users.
fn look(dir: Option<&Path>, rows: &Rows) -> Result<Known, Error> {
    let mut known = Known::default();
    for snapshot in rows.snapshots()?.into_values() {
        for layer in snapshot.layers.into_iter().collect::<BTreeSet<_>>() {
            *known.users.entry(layer).or_default() += 1;
        }
    }
    let Some(dir) = dir else { return Ok(known) };
    for entry in fs_err::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(layer) = name.to_str().and_then(|name| Digest::from_hex(name).ok()) else {
            continue;
        };
        if !kernel::is_mounted(&entry.path()).unwrap_or(false) {
            // A daemon ended between making it and mounting on it.
            let _ = fs_err::remove_dir(entry.path());
        } else if rows.layer(&layer)?.is_none() {
            take_away(&entry.path());
        } else {
            if !known.users.contains_key(&layer) {
                known.idle.push_back(layer.clone());
            }
            known.mounted.insert(layer);
        }
    }
    Ok(known)
}

/// Unmounts, also while a container that was forgotten still uses it, and removes the directory.
fn take_away(path: &Path) {
    // To free what the kernel has read of a layer takes a while: not the caller's.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let last = rustix::fs::open(path, flags, Mode::empty()).ok();
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(error) => tracing::warn!(%error, path = %path.display(), "a layer was not unmounted"),
    }
    // What is still mounted stays, and is found by the next daemon.
    let _ = fs_err::remove_dir(path);
    // Without a thread it is dropped here.
    let _ = std::thread::Builder::new()
        .name("unmount".to_owned())
        .spawn(move || drop(last));
}

/// The mounts, locked.
pub(super) struct View<'a> {
    dir: Option<&'a Path>,
    known: &'a mut Known,
}

impl View<'_> {
    /// Whether a layer is mounted.
    pub(super) fn has(&self, layer: &Digest) -> bool {
        self.known.mounted.contains(layer)
    }

    /// A snapshot above these layers has got its row.
    pub(super) fn add(&mut self, layers: &[Digest]) {
        for layer in layers.iter().collect::<BTreeSet<_>>() {
            let users = self.known.users.entry(layer.clone()).or_default();
            *users += 1;
            if *users == 1 {
                self.known.idle.retain(|idle| idle != layer);
            }
        }
    }

    /// A snapshot above these layers has lost its row.
    pub(super) fn remove(&mut self, layers: &[Digest]) {
        for layer in layers.iter().collect::<BTreeSet<_>>() {
            let Some(users) = self.known.users.get_mut(layer) else {
                continue;
            };
            *users -= 1;
            if *users == 0 {
                self.known.users.remove(layer);
                if self.has(layer) {
                    self.known.idle.push_back(layer.clone());
                }
            }
        }
        while self.known.idle.len() > IDLE {
            self.drop_idle();
        }
    }

    fn drop_idle(&mut self) {
        let layer = self.known.idle.pop_front();
        if let (Some(dir), Some(layer)) = (self.dir, layer) {
            self.known.mounted.remove(&layer);
            take_away(&dir.join(layer.hex()));
        }
    }

    /// Mounts a layer that is not mounted, from the files in `files`.
    pub(super) fn mount(&mut self, layer: &Digest, files: &Path) -> io::Result<()> {
        let Some(dir) = self.dir else {
            let text = "there is no directory to mount layers in";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        };
        if !self.known.prepared {
            prepare(dir)?;
            self.known.prepared = true;
        }
        let target = dir.join(layer.hex());
        match fs_err::create_dir(&target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mount = kernel::erofs(&files.join("erofs"), &files.join("tar"))?;
        kernel::attach_at(mount.as_fd(), &target)?;
        self.known.mounted.insert(layer.clone());
        Ok(())
    }
}

/// Makes the directory, for root alone (layers hold set-id programs), and a private mount of itself.
fn prepare(dir: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir)?;
    if !kernel::is_mounted(dir)? {
        mount_bind(dir, dir)?;
    }
    // Below a shared mount it has become shared itself.
    Ok(mount_change(dir, MountPropagationFlags::PRIVATE)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::digest_of;
    use crate::format::Format;
    use crate::ingest::tests::{add, archive, can_mount_erofs, options, store_with};
    use crate::snapshot::{Overlay, Snapshotter as _};
    use crate::store::Store;
    use std::os::unix::fs::MetadataExt as _;

    struct Place {
        dir: tempfile::TempDir,
        layer: Digest,
    }

    impl Place {
        /// `None` where layers cannot be mounted.
        fn new() -> Option<(Self, Store)> {
            if !can_mount_erofs() {
                return None;
            }
            let dir = tempfile::tempdir().unwrap();
            let tar = archive(&[("a", b"1")]);
            let layer = digest_of(&tar);
            let place = Self { dir, layer };
            let store = place.open();
            add(&store, &tar);
            Some((place, store))
        }

        fn open(&self) -> Store {
            store_with(self.dir.path(), options(self.dir.path(), Format::Erofs))
        }

        fn mounts(&self) -> PathBuf {
            self.dir.path().join("mounts")
        }

        fn at(&self) -> PathBuf {
            self.mounts().join(self.layer.hex())
        }

        fn is_mounted(&self) -> bool {
            kernel::is_mounted(&self.at()).unwrap_or(false)
        }

        fn device(&self) -> u64 {
            fs_err::metadata(self.at()).unwrap().dev()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = unmount(self.mounts(), UnmountFlags::DETACH);
        }
    }

    #[test]
    fn a_layer_is_mounted_once_and_for_a_while() {
        let Some((place, store)) = Place::new() else {
            return;
        };
        let snapshots = Overlay::new(store.clone());
        let layers = [place.layer.clone()];
        snapshots.prepare("one", &layers).unwrap();
        assert!(!place.is_mounted(), "nobody wants to use it yet");
        snapshots.describe("one").unwrap();
        assert!(!place.is_mounted());
        snapshots.root_fs("one").unwrap();
        let device = place.device();
        snapshots.prepare("two", &layers).unwrap();
        snapshots.root_fs("two").unwrap();
        assert_eq!(place.device(), device);
        snapshots.remove("one").unwrap();
        snapshots.remove("two").unwrap();
        assert!(place.is_mounted(), "the next container is likely");
        snapshots.prepare("three", &layers).unwrap();
        snapshots.root_fs("three").unwrap();
        store.close(&["three".to_owned()]).unwrap();
        assert!(place.is_mounted(), "a process has it");
        store.close(&[]).unwrap();
        assert!(!place.is_mounted(), "no process has it");
        snapshots.root_fs("three").unwrap();
        assert!(place.is_mounted());
        snapshots.remove("three").unwrap();
        store.close(&[]).unwrap();
        assert!(!place.mounts().exists(), "nothing is left");
        snapshots.prepare("four", &layers).unwrap();
        snapshots.root_fs("four").unwrap();
        assert!(place.is_mounted(), "closing is no end");
    }

    #[test]
    fn the_next_daemon_takes_over_what_it_finds() {
        let Some((place, store)) = Place::new() else {
            return;
        };
        let layers = [place.layer.clone()];
        let snapshots = Overlay::new(store);
        snapshots.prepare("one", &layers).unwrap();
        snapshots.root_fs("one").unwrap();
        let device = place.device();
        drop(snapshots);
        // It ended at the worst moment: a directory was made and nothing mounted on it, and something
        // is mounted that is no layer of this store any more.
        let (half, stranger) = (Digest::from_sha256(&[1; 32]), Digest::from_sha256(&[2; 32]));
        for digest in [&half, &stranger] {
            fs_err::create_dir(place.mounts().join(digest.hex())).unwrap();
        }
        mount_bind(place.at(), place.mounts().join(stranger.hex())).unwrap();

        let store = place.open();
        let snapshots = Overlay::new(store.clone());
        snapshots.root_fs("one").unwrap();
        assert_eq!(place.device(), device, "it is not mounted anew");
        for digest in [&half, &stranger] {
            assert!(!place.mounts().join(digest.hex()).exists());
        }
        snapshots.remove("one").unwrap();
        store.prune_layers().unwrap();
        assert!(
            !place.at().exists(),
            "the layer is gone, and so is its mount"
        );
    }

    #[test]
    fn a_layer_that_nobody_looked_at_goes_with_its_mount() {
        let Some((place, store)) = Place::new() else {
            return;
        };
        let snapshots = Overlay::new(store.clone());
        let layers = [place.layer.clone()];
        snapshots.prepare("one", &layers).unwrap();
        snapshots.root_fs("one").unwrap();
        snapshots.remove("one").unwrap();
        drop((snapshots, store));
        let store = place.open();
        store.prune_layers().unwrap();
        assert!(!place.at().exists());
    }
}
