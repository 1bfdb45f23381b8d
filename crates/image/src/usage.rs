//! What the store takes on disk: allocated blocks, as `du` counts them, not what files would hold.
//!
//! ```text
//! total                  everything below layers/, blobs/ and ingest/
//! an image's size        its layers, their compressed blobs, its documents
//! an image's shared      the part of its size that other images have too
//! total − Σ unique       shared parts once, layers of no image, partial downloads, directories
//! ```

use crate::catalog::Catalog;
use crate::image::ImageId;
use crate::rows::LayerRow;
use crate::store::{Error, Store};
use hull_spec::Digest;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Hexadecimal digits of a SHA-256 digest: how the names of layers and blobs begin.
const HEX: usize = 64;

/// What the images take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes of everything that images, layers and partial downloads hold.
    pub total: u64,
    /// By image.
    pub images: BTreeMap<ImageId, ImageUsage>,
}

/// What one image takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageUsage {
    /// Bytes of all it consists of.
    pub size: u64,
    /// Those of them that another image has too.
    pub shared: u64,
}

/// Sizes of layers, which do not change: by inode and time of change of the layer's directory.
#[derive(Debug, Default)]
pub(crate) struct LayerSizes(Mutex<HashMap<(u64, i64, i64), u64>>);

impl LayerSizes {
    fn of(&self, path: &Path) -> io::Result<u64> {
        let found = fs_err::symlink_metadata(path)?;
        if !found.is_dir() {
            return Ok(found.blocks() * 512);
        }
        let key = (found.ino(), found.ctime(), found.ctime_nsec());
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(size) = lock().get(&key) {
            return Ok(*size);
        }
        let size = taken(path)?;
        lock().insert(key, size);
        Ok(size)
    }

    /// Forgets what is no longer there.
    fn keep(&self, present: &HashSet<u64>) {
        let mut sizes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.retain(|(inode, ..), _| present.contains(inode));
    }
}

/// The files of the store by what they belong to, with their bytes on disk.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Layers by the hexadecimal digits of their diffIDs.
    layers: BTreeMap<String, u64>,
    /// Blobs by the hexadecimal digits of their digests.
    blobs: BTreeMap<String, u64>,
    /// Partial downloads.
    pub(crate) downloads: u64,
    /// The directories themselves.
    directories: u64,
}

impl Files {
    /// Bytes of everything.
    pub(crate) fn total(&self) -> u64 {
        self.content() + self.downloads + self.directories
    }

    /// Bytes of layers and blobs.
    pub(crate) fn content(&self) -> u64 {
        self.layers.values().sum::<u64>() + self.blobs.values().sum::<u64>()
    }

    /// Bytes of some of it.
    pub(crate) fn of(&self, parts: &Parts) -> u64 {
        let sum = |sizes: &BTreeMap<String, u64>, names: &BTreeSet<String>| -> u64 {
            names.iter().filter_map(|name| sizes.get(name)).sum()
        };
        sum(&self.layers, &parts.layers) + sum(&self.blobs, &parts.blobs)
    }
}

/// What an image consists of, as file names.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    layers: BTreeSet<String>,
    blobs: BTreeSet<String>,
}

impl Parts {
    pub(crate) fn new(
        id: &ImageId,
        catalog: &Catalog,
        layers: &BTreeMap<String, LayerRow>,
    ) -> Self {
        let image = catalog.images.get(id);
        let of_image = image.map(|image| Self::of_layers(&image.layers, layers));
        let mut parts = of_image.unwrap_or_default();
        let documents = catalog.documents_of(id);
        parts
            .blobs
            .extend(documents.iter().map(|d| d.hex().to_owned()));
        parts
    }

    /// Layers with their blobs.
    pub(crate) fn of_layers(diff_ids: &[Digest], layers: &BTreeMap<String, LayerRow>) -> Self {
        let mut parts = Self::default();
        for layer in diff_ids {
            parts.layers.insert(layer.hex().to_owned());
            if let Some(row) = layers.get(layer.as_str()) {
                let blobs = row.owned_blobs(layer);
                parts.blobs.extend(blobs.iter().map(|b| b.hex().to_owned()));
            }
        }
        parts
    }
}

impl Parts {
    pub(crate) fn extend(&mut self, other: Self) {
        self.layers.extend(other.layers);
        self.blobs.extend(other.blobs);
    }
}

impl Store {
    /// What images take. Directories of layers are walked once and remembered.
    ///
    /// # Errors
    /// Failures of the file system and of the database.
    pub fn disk_usage(&self) -> Result<DiskUsage, Error> {
        let files = self.files()?;
        let layers = self.inner.rows.layers()?;
        let catalog = self.inner.rows.catalog();
        let mut parts = BTreeMap::new();
        let mut users: [BTreeMap<String, u32>; 2] = Default::default();
        for id in catalog.images.keys() {
            let of = Parts::new(id, &catalog, &layers);
            for (count, names) in users.iter_mut().zip([&of.layers, &of.blobs]) {
                for name in names {
                    *count.entry(name.clone()).or_default() += 1;
                }
            }
            parts.insert(id, of);
        }
        let mut usage = DiskUsage {
            total: files.total(),
            images: BTreeMap::new(),
        };
        for (id, mut of) in parts {
            let size = files.of(&of);
            of.layers.retain(|name| users[0].get(name) > Some(&1));
            of.blobs.retain(|name| users[1].get(name) > Some(&1));
            let shared = files.of(&of);
            usage.images.insert(id.clone(), ImageUsage { size, shared });
        }
        Ok(usage)
    }

    /// What is there now, for [`Store::freed_since`].
    ///
    /// # Errors
    /// Failures of the file system.
    pub fn files(&self) -> Result<Files, Error> {
        let failed = |source| Error::io("measure image store", source);
        let root = &self.inner.root;
        let mut files = Files::default();
        let layers = root.join("layers");
        let mut inodes = HashSet::new();
        for (name, path) in entries(&layers).map_err(failed)? {
            let found = fs_err::symlink_metadata(&path);
            let size = found.and_then(|found| {
                inodes.insert(found.ino());
                self.inner.layer_sizes.of(&path)
            });
            *files.layers.entry(group(name)).or_default() += gone_is(0, size).map_err(failed)?;
        }
        self.inner.layer_sizes.keep(&inodes);
        for (name, path) in entries(self.inner.blobs.dir()).map_err(failed)? {
            let size = gone_is(0, blob_size(&layers, &name, &path)).map_err(failed)?;
            *files.blobs.entry(group(name)).or_default() += size;
        }
        let ingest = root.join("ingest");
        files.downloads = taken(&ingest).map_err(failed)?;
        for dir in [
            layers.as_path(),
            self.inner.blobs.dir(),
            &root.join("blobs"),
        ] {
            let dir = fs_err::symlink_metadata(dir).map_err(failed)?;
            files.directories += dir.blocks() * 512;
        }
        Ok(files)
    }

    /// The bytes of layers and blobs that were there `before` and are not any more.
    #[must_use]
    pub fn freed_since(&self, before: &Files) -> u64 {
        let layers = entries(&self.inner.root.join("layers")).unwrap_or_default();
        let layers: BTreeSet<String> = layers.into_iter().map(|(name, _)| group(name)).collect();
        let layer_bytes = before.layers.iter();
        let gone = layer_bytes.filter(|(name, _)| !layers.contains(*name));
        let blob = |name: &String| self.inner.blobs.dir().join(name).exists();
        let blobs = before.blobs.iter().filter(|(name, _)| !blob(name));
        gone.chain(blobs).map(|(_, size)| size).sum()
    }

    /// The bytes on disk of what a container wrote, by the key of its snapshot.
    ///
    /// # Errors
    /// Failures of the file system.
    pub fn snapshot_taken(&self, key: &str) -> Result<u64, Error> {
        let dir = self.inner.root.join("snapshots").join(key);
        gone_is(0, taken(&dir)).map_err(|source| Error::io("measure snapshot", source))
    }
}

/// A blob that is a layer's own archive is counted there.
fn blob_size(layers: &Path, name: &str, path: &Path) -> io::Result<u64> {
    let found = fs_err::symlink_metadata(path)?;
    let twin = || fs_err::symlink_metadata(layers.join(name).join("tar")).ok();
    let counted = found.nlink() > 1 && twin().is_some_and(|twin| twin.ino() == found.ino());
    Ok(if counted { 0 } else { found.blocks() * 512 })
}

/// What begins with a digest belongs to that layer, whatever files its format keeps.
fn group(mut name: String) -> String {
    let end = name
        .char_indices()
        .nth(HEX)
        .map_or(name.len(), |(at, _)| at);
    name.truncate(end);
    name
}

fn entries(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.path()));
    }
    Ok(found)
}

fn gone_is<T>(value: T, result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(value),
        other => other,
    }
}

/// The bytes that a file or tree takes on its file system: allocated blocks, hard links once, other
/// file systems not at all. What vanishes meanwhile does not count.
///
/// # Errors
/// Failures of the file system.
pub fn taken(path: &Path) -> io::Result<u64> {
    let top = fs_err::symlink_metadata(path)?;
    let mut size = top.blocks() * 512;
    let mut seen = HashSet::new();
    let mut pending = Vec::new();
    if top.is_dir() {
        pending.push(path.to_owned());
    }
    while let Some(dir) = pending.pop() {
        for (_, path) in gone_is(Vec::new(), entries(&dir))? {
            let Ok(found) = fs_err::symlink_metadata(&path) else {
                continue;
            };
            if found.dev() != top.dev() {
                continue;
            }
            if found.is_dir() {
                pending.push(path);
            } else if found.nlink() > 1 && !seen.insert(found.ino()) {
                continue;
            }
            size += found.blocks() * 512;
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests;
