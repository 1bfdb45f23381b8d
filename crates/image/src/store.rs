//! The store: opening, layers and their holds, documents, names and images.
//!
//! On disk, below the data root (format version 2, kept in table `image.meta`):
//!
//! ```text
//! hull.db                 tables image.*: which of the files below count. No row, no file:
//!                         what no row owns is removed when the store is opened.
//! blobs/sha256/<hex>      configs, manifests, indexes and compressed layers, exactly as they came or as
//!                         they were made for a push; a directory's archive that came without
//! layers/<hex>/           a layer, named by its diffID; never changed again. Either (format `erofs`)
//!     tar                 its uncompressed archive, exactly as it was hashed, and
//!     erofs               an index that the kernel mounts: names, attributes, places in the archive
//!                         or (format `directory`) its files, unpacked. In both, whiteouts are
//!                         overlayfs's: character device 0/0, trusted.overlay.opaque.
//! ingest/<hex>            a compressed layer that is still arriving; what is there of one that was
//!                         interrupted is continued within a day
//! ingest/layer-<n>/       what was made of it so far; useless after a crash, as all else there:
//!                         `document-`, `load-`, `push-`, `check-<n>`
//! snapshots/<key>/upper   what a container wrote
//! snapshots/<key>/work    overlayfs's scratch space
//! trash/<n>               on its way out
//! ```
//!
//! A layer becomes part of the store in this order: files complete and verified → renamed into
//! place → row committed. Directories are brought to the disk before the row by one `syncfs`; archives
//! after it, see `ingest::settle`. An image: its layers' rows → its documents → its row.
//! Removal goes the other way round: rows first, then files.

use crate::blob::Blobs;
use crate::budget::Budget;
use crate::catalog::Catalog;
use crate::database::Database;
pub use crate::error::Error;
use crate::format::{Format, FormatChoice};
use crate::image::{Image, ImageId, Summary};
use crate::ingest::Ingest;
use crate::ingest::settle::Settler;
use crate::register::parse;
use crate::rows::Rows;
use crate::snapshot::Mounts;
use crate::trash::Trash;
use crate::unpack::Limits;
use crate::usage::LayerSizes;
use hull_spec::{Digest, Reference};
use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// How a store behaves.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What a layer may unpack to.
    pub limits: Limits,
    /// The format of new layers.
    pub format: FormatChoice,
    /// Where layers are mounted: a directory that is emptied by a restart of the host. Without one
    /// all layers are directories.
    pub mounts: Option<PathBuf>,
    /// Whether a layer's compressed form goes once the layer is complete. Directories cannot do
    /// without it.
    pub drop_compressed: bool,
    /// Bytes that images and partial downloads may take; see `budget`.
    pub budget: Option<u64>,
}

/// The image store. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) rows: Rows,
    pub(crate) blobs: Blobs,
    pub(crate) trash: Trash,
    pub(crate) ingest: Ingest,
    pub(crate) options: Options,
    pub(crate) layer_sizes: LayerSizes,
    pub(crate) budget: Budget,
    pub(crate) mounts: Mounts,
    /// What new layers get, once the kernel was asked.
    pub(crate) format: OnceLock<Format>,
    pub(crate) settler: Settler,
    /// How many [`Hold`]s each layer has, and each image that is pinned. Locked from looking at a
    /// layer's users until its row is gone, so that whoever holds a layer and sees its row keeps it.
    holds: Mutex<HashMap<Digest, usize>>,
    /// Held while documents are written whose row comes after them, and while documents that lost
    /// their row are discarded: the same document may be both. Locked before `holds`.
    documents: Mutex<()>,
}

/// Keeps a layer in the store while no row does yet: for the time between its arrival and
/// [`Store::register`]. Dropping it removes nothing; a later removal may.
#[derive(Debug)]
pub struct Hold {
    store: Store,
    diff_id: Digest,
}

impl Hold {
    /// The layer's diffID; of a pin the image's id.
    #[must_use]
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.store.inner.holds();
        if let Some(count) = holds.get_mut(&self.diff_id) {
            *count -= 1;
            if *count == 0 {
                holds.remove(&self.diff_id);
            }
        }
    }
}

impl Inner {
    pub(crate) fn holds(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        // Nothing panics while it is locked; the map is whole in any case.
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn documents(&self) -> MutexGuard<'_, ()> {
        // What it guards is on disk, and swept when the store is opened.
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Opens the store below `root`, whose metadata is in `db`, and removes what no row owns.
    ///
    /// # Errors
    /// Failures of the file system and of the database, and [`Error::Schema`].
    pub fn open(root: impl Into<PathBuf>, db: Arc<Database>) -> Result<Self, Error> {
        Self::open_with(root, db, Options::default())
    }

    /// As [`Store::open`], with options.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        root: impl Into<PathBuf>,
        db: Arc<Database>,
        options: Options,
    ) -> Result<Self, Error> {
        let root = root.into();
        let rows = Rows::open(db)?;
        let failed = |source| Error::io("open image store", source);
        for dir in ["layers", "snapshots", "ingest"] {
            fs_err::create_dir_all(root.join(dir)).map_err(failed)?;
            // Layers hold set-id programs: users of the host must not reach them.
            let private = fs_err::set_permissions(root.join(dir), Permissions::from_mode(0o700));
            private.map_err(failed)?;
        }
        let blobs = Blobs::open(&root).map_err(failed)?;
        let trash = Trash::open(root.join("trash")).map_err(failed)?;
        let store = Self {
            inner: Arc::new(Inner {
                ingest: Ingest::new(root.join("ingest")),
                root,
                rows,
                blobs,
                trash,
                mounts: Mounts::new(options.mounts.clone()),
                options,
                layer_sizes: LayerSizes::default(),
                budget: Budget::default(),
                format: OnceLock::new(),
                settler: Settler::default(),
                holds: Mutex::default(),
                documents: Mutex::default(),
            }),
        };
        store.sweep()?;
        store.complete_rows()?;
        store.resume_settling()?;
        Ok(store)
    }

    /// Lets go of the mounts of layers that no snapshot in use, by its key, needs: for an orderly end. Another use
    /// mounts them again.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn close(&self, in_use: &[String]) -> Result<(), Error> {
        self.inner.mounts.close(&self.inner.rows, in_use)
    }

    /// The directory that layers are mounted in, for those who copy our mount namespace and must not
    /// keep layers from being unmounted.
    #[must_use]
    pub fn mounts_dir(&self) -> Option<&Path> {
        self.inner.mounts.dir()
    }

    /// The directory with a layer's files, or with its archive and index. Read-only for everyone but
    /// the store.
    pub(crate) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.inner.root.join("layers").join(diff_id.hex())
    }

    /// Where a layer's files are for who uses them: of one that is a file system itself, where it is
    /// mounted meanwhile.
    pub(crate) fn layer_place(&self, diff_id: &Digest, format: Format) -> PathBuf {
        match (format, self.mounts_dir()) {
            (Format::Erofs, Some(mounts)) => mounts.join(diff_id.hex()),
            _ => self.layer_path(diff_id),
        }
    }

    /// The file with a blob's bytes, whether it exists or not.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.inner.blobs.path(digest)
    }

    /// The store's root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Makes a directory or file disappear at once and deletes it in the background. One that does not exist is fine.
    ///
    /// # Errors
    /// `EXDEV` when it is not on the file system of the store.
    pub fn discard_path(&self, path: &Path) -> std::io::Result<()> {
        self.inner.trash.discard(path)
    }

    pub(crate) fn hold(&self, diff_id: &Digest) -> Hold {
        self.hold_in(&mut self.inner.holds(), diff_id)
    }

    fn hold_in(&self, holds: &mut HashMap<Digest, usize>, diff_id: &Digest) -> Hold {
        *holds.entry(diff_id.clone()).or_default() += 1;
        Hold {
            store: self.clone(),
            diff_id: diff_id.clone(),
        }
    }

    /// Holds a layer, if it is here.
    #[must_use]
    pub fn hold_layer(&self, diff_id: &Digest) -> Option<Hold> {
        // The hold comes before the look: see `Inner::holds`.
        let hold = self.hold(diff_id);
        self.has_layer(diff_id).then_some(hold)
    }

    /// Holds all layers of an image: they stay, and the image is not evicted; it may be removed.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`].
    pub fn hold_image(&self, id: &ImageId) -> Result<Vec<Hold>, Error> {
        let mut holds = self.inner.holds();
        // Nobody removes it between the look and the holds.
        let catalog = self.inner.rows.catalog();
        let row = catalog.images.get(id);
        let row = row.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
        let layers = row.layers.iter();
        Ok(layers
            .map(|layer| self.hold_in(&mut holds, layer))
            .collect())
    }

    /// As [`Store::hold_image`], and only force removes the image: for whoever makes a container of
    /// it, until that is among the keeper's users.
    ///
    /// # Errors
    /// As [`Store::hold_image`].
    pub fn pin_image(&self, id: &ImageId) -> Result<Vec<Hold>, Error> {
        // Should the image go in between, the look at it comes after the pin.
        let pin = self.hold(id.digest());
        let mut holds = self.hold_image(id)?;
        holds.push(pin);
        Ok(holds)
    }

    /// Reads a document and verifies its digest.
    ///
    /// # Errors
    /// [`Error::NoSuchDocument`], [`Error::DamagedDocument`] and failures of the file system.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.inner.blobs.read(digest)
    }

    /// Everything about one image.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] and failures of the file system.
    pub fn image(&self, id: &ImageId) -> Result<Image, Error> {
        self.assemble(&self.inner.rows.catalog(), id)
    }

    /// Whether an image is here with its config and all its layers: one that lost any is pulled again.
    #[must_use]
    pub fn has_whole(&self, id: &ImageId) -> bool {
        let catalog = self.inner.rows.catalog();
        let image = self.assemble(&catalog, id);
        image.is_ok_and(|image| image.layers.iter().all(|layer| catalog.has_layer(layer)))
    }

    /// Whether a layer is here.
    #[must_use]
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        self.inner.rows.catalog().has_layer(diff_id)
    }

    /// What lists say of all images, in the order of their ids; from memory.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        self.inner.rows.catalog().summaries()
    }

    /// The sum of an image's layers; from memory.
    #[must_use]
    pub fn image_size(&self, id: &ImageId) -> Option<u64> {
        let catalog = self.inner.rows.catalog();
        catalog.images.get(id).map(|row| catalog.size(row))
    }

    /// Bytes of a layer's files, by diffID; of all layers there are.
    #[must_use]
    pub fn layer_sizes(&self) -> HashMap<String, u64> {
        self.inner.rows.catalog().layers().clone()
    }

    fn assemble(&self, catalog: &Catalog, id: &ImageId) -> Result<Image, Error> {
        let row = catalog.images.get(id);
        let row = row.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
        let config_bytes = self.read_document(id.digest())?;
        let config = parse("image config", &config_bytes)?;
        let (repo_digests, tags) = catalog
            .names_of(id)
            .into_iter()
            .partition(|name| name.digest().is_some());
        let layer_sizes = catalog.layer_sizes(&row.layers);
        Ok(Image {
            id: id.clone(),
            config,
            config_bytes,
            manifest: row.manifest.clone(),
            tags,
            repo_digests,
            layers: row.layers.clone(),
            size: layer_sizes.iter().sum(),
            layer_sizes,
            tagged_at: row.tagged_at,
        })
    }
}

/// The key of a name's row: a digest outweighs a tag, and neither means `latest`.
pub(crate) fn name_key(name: &Reference) -> String {
    match name.digest() {
        Some(digest) => name.with_digest(digest).to_string(),
        None => name.clone().with_default_tag().to_string(),
    }
}

pub(crate) fn stored_id(table: &'static str, text: &str) -> Result<ImageId, Error> {
    text.parse().map_err(|_| Error::Row {
        table,
        key: text.to_owned(),
        source: serde::de::Error::custom("not an image id"),
    })
}

pub(crate) fn now_nanoseconds() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
