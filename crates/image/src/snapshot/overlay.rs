//! Snapshots as overlayfs mounts over directories: one directory per layer, shared by all, and an
//! upper and a work directory per snapshot.

use super::{Error, Snapshotter, Usage, check_key};
use crate::rows::{LayerRow, SnapshotRow};
use crate::store::Store;
use hull_spec::Digest;
use hull_spec::rootfs::RootFs;
use rustix::fs::{Gid, Mode, Uid};
use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The overlayfs snapshotter of a [`Store`].
#[derive(Clone, Debug)]
pub struct Overlay {
    store: Store,
}

impl Overlay {
    /// The snapshots of `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    fn dir(&self, key: &str) -> PathBuf {
        self.store.inner.root.join("snapshots").join(key)
    }

    fn row(&self, key: &str) -> Result<SnapshotRow, Error> {
        check_key(key)?;
        self.store
            .inner
            .rows
            .snapshot(key)
            .map_err(|source| record(key, source))?
            .ok_or_else(|| Error::Missing(key.to_owned()))
    }

    fn mount_of(&self, key: &str, layers: &[Digest]) -> RootFs {
        let upper = self.dir(key).join("upper");
        if layers.is_empty() {
            return RootFs::Directory { path: upper };
        }
        let mut seen = HashSet::new();
        // overlayfs refuses one directory twice. A layer that occurs again further up hides its
        // lower occurrence completely, so only the topmost one matters.
        let lower = layers
            .iter()
            .rev()
            .filter(|layer| seen.insert(*layer))
            .map(|layer| self.store.layer_path(layer))
            .collect();
        RootFs::Overlay {
            lower,
            upper: Some(upper),
            work: Some(self.dir(key).join("work")),
        }
    }

    fn make(&self, key: &str, rows: &[LayerRow]) -> Result<(), Error> {
        let failed = |operation| {
            move |source: io::Error| Error::Io {
                operation,
                key: key.to_owned(),
                source,
            }
        };
        let dir = self.dir(key);
        let trash = &self.store.inner.trash;
        // Without a row this can only be what a crash left.
        trash.discard(&dir).map_err(failed("clear directory"))?;
        let upper = dir.join("upper");
        fs_err::create_dir(&dir).map_err(failed("create directory"))?;
        fs_err::create_dir(&upper).map_err(failed("create upper directory"))?;
        fs_err::create_dir(dir.join("work")).map_err(failed("create work directory"))?;
        // The root of an overlay shows the upper directory's own attributes: they have to be those
        // of the topmost layer that states any.
        let root = rows.iter().rev().find_map(|row| row.root);
        let (mode, uid, gid) = root.map_or((0o755, 0, 0), |r| (r.mode, r.uid, r.gid));
        let attributes = || -> io::Result<()> {
            let owner = (Uid::from_raw(uid), Gid::from_raw(gid));
            if root.is_some() {
                rustix::fs::chown(&upper, Some(owner.0), Some(owner.1))?;
            }
            rustix::fs::chmod(&upper, Mode::from_raw_mode(mode))?;
            Ok(())
        };
        attributes().map_err(failed("set attributes of upper directory"))
    }
}

fn record(key: &str, source: crate::store::Error) -> Error {
    Error::Record {
        key: key.to_owned(),
        source: Box::new(source),
    }
}

impl Snapshotter for Overlay {
    fn prepare(&self, key: &str, layers: &[Digest]) -> Result<RootFs, Error> {
        check_key(key)?;
        let rows = &self.store.inner.rows;
        if rows
            .snapshot(key)
            .map_err(|source| record(key, source))?
            .is_some()
        {
            return Err(Error::Exists(key.to_owned()));
        }
        // Held until the row keeps them, so that no removal comes between.
        let mut holds = Vec::with_capacity(layers.len());
        let mut layer_rows = Vec::with_capacity(layers.len());
        for layer in layers {
            let hold = self.store.hold(layer);
            let row = rows.layer(layer).map_err(|source| record(key, source))?;
            layer_rows.push(row.ok_or_else(|| Error::Layer {
                key: key.to_owned(),
                layer: layer.clone(),
            })?);
            holds.push(hold);
        }
        self.make(key, &layer_rows)?;
        let row = SnapshotRow {
            layers: layers.to_vec(),
        };
        // A snapshot means nothing without its container, whose row the caller commits durably.
        rows.write_behind(|change| change.put_snapshot(key, &row))
            .map_err(|source| record(key, source))?;
        Ok(self.mount_of(key, layers))
    }

    fn root_fs(&self, key: &str) -> Result<RootFs, Error> {
        let row = self.row(key)?;
        Ok(self.mount_of(key, &row.layers))
    }

    fn usage(&self, key: &str) -> Result<Usage, Error> {
        self.row(key)?;
        let upper = self.dir(key).join("upper");
        measure(&upper).map_err(|source| Error::Io {
            operation: "measure files",
            key: key.to_owned(),
            source,
        })
    }

    fn remove(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        self.store
            .inner
            .rows
            .write_behind(|change| change.delete_snapshot(key))
            .map_err(|source| record(key, source))?;
        self.store
            .inner
            .trash
            .discard(&self.dir(key))
            .map_err(|source| Error::Io {
                operation: "discard directory",
                key: key.to_owned(),
                source,
            })
    }

    fn keys(&self) -> Result<Vec<String>, Error> {
        let rows = self.store.inner.rows.snapshots();
        let rows = rows.map_err(|source| record("*", source))?;
        Ok(rows.into_keys().collect())
    }
}

/// Counts what is below `dir`. A container may be running: files that vanish meanwhile are skipped.
pub(crate) fn measure(dir: &Path) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let mut seen = HashSet::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        let entries = match fs_err::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            usage.entries += 1;
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if metadata.nlink() == 1 || seen.insert((metadata.dev(), metadata.ino())) {
                usage.size += metadata.len();
            }
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::digest_of;
    use crate::ingest::tests::{add, archive, store};
    use crate::snapshot::suite::{Subject, check};

    #[test]
    fn the_suite_passes() {
        check(|dir| {
            let store = store(dir);
            let lower = archive(&[("a", b"1"), ("d/b", b"2")]);
            let mut upper = tar::Builder::new(archive(&[("a", b"3"), ("d/.wh.b", b"")]));
            let end = upper.get_ref().len() - 1024;
            upper.get_mut().truncate(end);
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o711);
            header.set_size(0);
            upper.append_data(&mut header, "./", [].as_slice()).unwrap();
            let upper = upper.into_inner().unwrap();
            add(&store, &lower);
            add(&store, &upper);
            Subject {
                snapshotter: Overlay::new(store),
                layers: [digest_of(&lower), digest_of(&upper)],
            }
        });
    }
}
