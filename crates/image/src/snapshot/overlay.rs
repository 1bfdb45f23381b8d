//! Snapshots as overlayfs mounts: below, one directory per layer, shared by all, which holds the layer's
//! files or is where the layer is mounted; above, an upper and a work directory per snapshot.

use super::mounts::View;
use super::{Error, Snapshotter, Usage, check_key};
use crate::format::Format;
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

    /// Gives a snapshot its row again, where only its files are there: the row is written with the container's, which
    /// may be known from elsewhere after the end of a daemon. One that has its row stays as it is.
    ///
    /// # Errors
    /// [`Error::Key`] and failures of the database.
    pub fn adopt(&self, key: &str, layers: &[Digest]) -> Result<(), Error> {
        check_key(key)?;
        let inner = &self.store.inner;
        let known = inner.rows.snapshot(key);
        if known.map_err(|source| record(key, source))?.is_some() || !self.dir(key).is_dir() {
            return Ok(());
        }
        self.write_row(key, layers)
    }

    fn write_row(&self, key: &str, layers: &[Digest]) -> Result<(), Error> {
        let row = SnapshotRow {
            layers: layers.to_vec(),
        };
        let inner = &self.store.inner;
        let written = inner.mounts.with(&inner.rows, |view| {
            // A snapshot means nothing without its container, whose row the caller commits.
            inner
                .rows
                .write_behind(|change| change.put_snapshot(key, &row))?;
            view.add(layers);
            Ok(())
        });
        written.flatten().map_err(|source| record(key, source))
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

    /// The directories of the layers, the topmost first. overlayfs refuses one directory twice: a layer
    /// that occurs again further up hides its lower occurrence completely, so only the topmost one
    /// matters. Those that are not mounted are mounted if `mount` says so.
    fn lower(
        &self,
        key: &str,
        layers: &[Digest],
        view: &mut View<'_>,
        mount: bool,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut seen = HashSet::new();
        let unique: Vec<Digest> = layers
            .iter()
            .rev()
            .filter(|layer| seen.insert(*layer))
            .cloned()
            .collect();
        let rows = self.store.inner.rows.layers_of(&unique);
        let rows = rows.map_err(|source| record(key, source))?;
        let mut lower = Vec::with_capacity(unique.len());
        for (layer, row) in unique.iter().zip(rows) {
            let row = row.ok_or_else(|| Error::Layer {
                key: key.to_owned(),
                layer: layer.clone(),
            })?;
            if row.format == Format::Erofs && mount && !view.has(layer) {
                let mounted = view.mount(layer, &self.store.layer_path(layer));
                mounted.map_err(|source| Error::Mount {
                    layer: layer.clone(),
                    source,
                })?;
            }
            lower.push(self.store.layer_place(layer, row.format));
        }
        Ok(lower)
    }

    fn root(&self, key: &str, mount: bool) -> Result<RootFs, Error> {
        let layers = self.row(key)?.layers;
        let upper = self.dir(key).join("upper");
        if layers.is_empty() {
            return Ok(RootFs::Directory { path: upper });
        }
        let inner = &self.store.inner;
        let lower = inner
            .mounts
            .with(&inner.rows, |view| self.lower(key, &layers, view, mount))
            .map_err(|source| record(key, source))??;
        Ok(RootFs::Overlay {
            lower,
            upper: Some(upper),
            work: Some(self.dir(key).join("work")),
            volatile: false,
        })
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
    fn prepare(&self, key: &str, layers: &[Digest]) -> Result<(), Error> {
        check_key(key)?;
        let inner = &self.store.inner;
        let known = inner.rows.snapshot(key);
        if known.map_err(|source| record(key, source))?.is_some() {
            return Err(Error::Exists(key.to_owned()));
        }
        // Held until the row keeps them, so that no removal comes between.
        let _holds: Vec<_> = layers.iter().map(|layer| self.store.hold(layer)).collect();
        let rows = inner.rows.layers_of(layers);
        let rows = rows.map_err(|source| record(key, source))?;
        let rows: Vec<LayerRow> = std::iter::zip(layers, rows)
            .map(|(layer, row)| {
                row.ok_or_else(|| Error::Layer {
                    key: key.to_owned(),
                    layer: layer.clone(),
                })
            })
            .collect::<Result<_, _>>()?;
        self.make(key, &rows)?;
        self.write_row(key, layers)
    }

    fn root_fs(&self, key: &str) -> Result<RootFs, Error> {
        self.root(key, true)
    }

    fn describe(&self, key: &str) -> Result<RootFs, Error> {
        self.root(key, false)
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
        let inner = &self.store.inner;
        inner
            .mounts
            .with(&inner.rows, |view| {
                let row = inner.rows.snapshot(key)?;
                inner
                    .rows
                    .write_behind(|change| change.delete_snapshot(key))?;
                if let Some(row) = row {
                    view.remove(&row.layers);
                }
                Ok(())
            })
            .flatten()
            .map_err(|source| record(key, source))?;
        inner
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
    use crate::format::FormatChoice;
    use crate::ingest::tests::{add, archive, mounting, store_with};
    use crate::snapshot::suite::{Subject, check};
    use crate::store::Options;

    /// The suite on layers of these formats, the lower one first.
    fn suite(formats: [Format; 2]) {
        check(|dir| {
            let layers = layers();
            for (format, layer) in formats.iter().zip(&layers) {
                let format = FormatChoice::Only(*format);
                let options = Options {
                    format,
                    ..mounting(dir)
                };
                add(&store_with(dir, options), layer);
            }
            Subject {
                snapshotter: Overlay::new(store_with(dir, mounting(dir))),
                layers: layers.map(|layer| digest_of(&layer)),
            }
        });
    }

    fn layers() -> [Vec<u8>; 2] {
        let lower = archive(&[("a", b"1"), ("d/b", b"2")]);
        let mut upper = tar::Builder::new(archive(&[("a", b"3"), ("d/.wh.b", b"")]));
        let end = upper.get_ref().len() - 1024;
        upper.get_mut().truncate(end);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o711);
        header.set_size(0);
        upper.append_data(&mut header, "./", [].as_slice()).unwrap();
        [lower, upper.into_inner().unwrap()]
    }

    #[test]
    fn the_suite_passes_on_directories() {
        suite([Format::Directory; 2]);
    }

    #[test]
    fn the_suite_passes_on_erofs() {
        if crate::ingest::tests::can_mount_erofs() {
            suite([Format::Erofs; 2]);
        }
    }

    #[test]
    fn the_suite_passes_on_both_mixed() {
        if crate::ingest::tests::can_mount_erofs() {
            suite([Format::Erofs, Format::Directory]);
            suite([Format::Directory, Format::Erofs]);
        }
    }
}
