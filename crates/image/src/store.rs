//! The store: opening, layers and their holds, documents, names and images.
//!
//! On disk, below the data root (format version 1, kept in table `image.meta`):
//!
//! ```text
//! hull.db                 tables image.*: which of the files below count. No row, no file:
//!                         what no row owns is removed when the store is opened.
//! blobs/sha256/<hex>      configs, manifests and compressed layers, exactly as the registry sent them
//! layers/<hex>/           a layer's files, unpacked, named by its diffID; never changed again.
//!                         Whiteouts are overlayfs's: character device 0/0, trusted.overlay.opaque.
//! ingest/<hex>            a compressed layer that is still arriving; what is there of one that was
//!                         interrupted is continued within a day
//! ingest/<hex>.tree-<n>/  its files so far; useless after a crash
//! snapshots/<key>/upper   what a container wrote
//! snapshots/<key>/work    overlayfs's scratch space
//! trash/<n>               on its way out
//! ```
//!
//! A layer becomes part of the store in this order: files complete and verified → renamed into
//! place → one `syncfs` → row committed. An image: its layers' rows → its documents → its row.
//! Removal goes the other way round: rows first, then files.

use crate::blob::Blobs;
pub use crate::error::Error;
use crate::image::{Image, ImageId, Registration};
use crate::ingest::Ingest;
use crate::rows::{ImageRow, Rows};
use crate::trash::Trash;
use crate::unpack::Limits;
use crate::usage::LayerSizes;
use hull_spec::image::{ImageConfig, Manifest};
use hull_spec::{Digest, Reference};
use redb::Database;
use std::collections::{BTreeMap, HashMap};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a store behaves.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What a layer may unpack to.
    pub limits: Limits,
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
    /// How many [`Hold`]s each layer has. Locked from looking at a layer's users until its row is
    /// gone, so that whoever holds a layer and sees its row keeps it.
    holds: Mutex<HashMap<Digest, usize>>,
}

/// Keeps a layer in the store while no row does yet: for the time between its arrival and
/// [`Store::register`]. Dropping it removes nothing; a later removal may.
#[derive(Debug)]
pub struct Hold {
    store: Store,
    diff_id: Digest,
}

impl Hold {
    /// The layer's diffID.
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
                options,
                layer_sizes: LayerSizes::default(),
                holds: Mutex::default(),
            }),
        };
        store.sweep()?;
        Ok(store)
    }

    /// The directory with a layer's files. Read-only for everyone but the store.
    #[must_use]
    pub fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.inner.root.join("layers").join(diff_id.hex())
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

    pub(crate) fn hold(&self, diff_id: &Digest) -> Hold {
        *self.inner.holds().entry(diff_id.clone()).or_default() += 1;
        Hold {
            store: self.clone(),
            diff_id: diff_id.clone(),
        }
    }

    /// Stores a manifest, index or config. One that no image's row names is removed when the store
    /// is opened next.
    ///
    /// # Errors
    /// [`Error::DocumentTooLarge`] and failures of the file system.
    pub fn put_document(&self, bytes: &[u8]) -> Result<Digest, Error> {
        self.inner.blobs.put(bytes)
    }

    /// Reads a document and verifies its digest.
    ///
    /// # Errors
    /// [`Error::NoSuchDocument`], [`Error::DamagedDocument`] and failures of the file system.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.inner.blobs.read(digest)
    }

    /// Makes an image of layers that are already in the store, and gives it names: the commit point
    /// of a pull. Registering the same image again only adds names.
    ///
    /// # Errors
    /// [`Error::MissingLayer`], [`Error::WrongManifest`], [`Error::LayerCount`], [`Error::Parse`]
    /// and failures of the file system and of the database; then nothing is registered.
    pub fn register(&self, image: &Registration<'_>) -> Result<ImageId, Error> {
        let config: ImageConfig =
            serde_json::from_slice(image.config).map_err(|source| Error::Parse {
                what: "image config",
                source,
            })?;
        let layers = config.rootfs.diff_ids;
        if let Some((descriptor, bytes)) = image.manifest {
            let manifest: Manifest =
                serde_json::from_slice(bytes).map_err(|source| Error::Parse {
                    what: "image manifest",
                    source,
                })?;
            if manifest.layers.len() != layers.len() {
                return Err(Error::LayerCount {
                    manifest: manifest.layers.len(),
                    config: layers.len(),
                });
            }
            if self.put_document(bytes)? != descriptor.digest
                || u64::try_from(bytes.len()) != Ok(descriptor.size)
            {
                return Err(Error::WrongManifest(descriptor.digest.clone()));
            }
        }
        let id = ImageId::new(self.put_document(image.config)?);
        self.inner.rows.write(|change| {
            for layer in &layers {
                if !change.has_layer(layer)? {
                    return Err(Error::MissingLayer {
                        image: id.clone(),
                        layer: layer.clone(),
                    });
                }
            }
            let old = change.image(&id)?;
            let manifest = image.manifest.map(|(descriptor, _)| descriptor.clone());
            let row = ImageRow {
                manifest: manifest.or_else(|| old.as_ref().and_then(|o| o.manifest.clone())),
                layers: layers.clone(),
                tagged_at: if image.names.is_empty() {
                    old.map_or(0, |o| o.tagged_at)
                } else {
                    now_nanoseconds()
                },
            };
            change.put_image(&id, &row)?;
            for name in image.names {
                change.put_name(&name_key(name), &id)?;
            }
            Ok(id.clone())
        })
    }

    /// Gives an image another name, taking it from the image that had it. Without tag and digest
    /// the tag is `latest`.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] and failures of the database.
    pub fn tag(&self, name: &Reference, id: &ImageId) -> Result<(), Error> {
        self.inner.rows.write(|change| {
            let row = change.image(id)?;
            let mut row = row.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
            row.tagged_at = now_nanoseconds();
            change.put_image(id, &row)?;
            change.put_name(&name_key(name), id)
        })
    }

    /// Takes a name away; the image stays. `false` when nothing had that name.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn untag(&self, name: &Reference) -> Result<bool, Error> {
        self.inner
            .rows
            .write(|change| change.delete_name(&name_key(name)))
    }

    /// Finds an image as dockerd does: a full id, then a name, then a unique prefix of an id.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] (also for a prefix of several ids, as dockerd says it),
    /// [`Error::InvalidReference`] and failures of the database.
    pub fn resolve(&self, text: &str) -> Result<ImageId, Error> {
        let rows = &self.inner.rows;
        let digest = text
            .parse::<Digest>()
            .or_else(|_| Digest::from_hex(text))
            .ok();
        if let Some(digest) = digest {
            let id = ImageId::new(digest);
            return match rows.image(&id)? {
                Some(_) => Ok(id),
                None => Err(Error::NoSuchImage(id.to_string())),
            };
        }
        let name: Reference = text.parse()?;
        if let Some(id) = rows.name(&name_key(&name))? {
            return stored_id("names", &id);
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        if !prefix.is_empty()
            && prefix.bytes().all(|b| b.is_ascii_hexdigit())
            && let [only] = rows.images_with_prefix(prefix)?.as_slice()
        {
            return stored_id("images", only);
        }
        Err(Error::NoSuchImage(name.with_default_tag().familiar()))
    }

    /// Everything about one image.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] and failures of the file system and of the database.
    pub fn image(&self, id: &ImageId) -> Result<Image, Error> {
        let row = self.inner.rows.image(id)?;
        let row = row.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
        let mut layers = BTreeMap::new();
        for layer in &row.layers {
            if let Some(found) = self.inner.rows.layer(layer)? {
                layers.insert(layer.as_str().to_owned(), found.size);
            }
        }
        self.assemble(id, row, &self.inner.rows.names()?, &layers)
    }

    /// All images, in the order of their ids. One whose config is damaged is skipped with a warning.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let names = self.inner.rows.names()?;
        let layers = self.inner.rows.layers()?;
        let sizes = layers.into_iter().map(|(id, row)| (id, row.size)).collect();
        let mut images = Vec::new();
        for (id, row) in self.inner.rows.images()? {
            let id = stored_id("images", &id)?;
            match self.assemble(&id, row, &names, &sizes) {
                Ok(image) => images.push(image),
                Err(error) => tracing::warn!(%id, %error, "image cannot be read"),
            }
        }
        Ok(images)
    }

    fn assemble(
        &self,
        id: &ImageId,
        row: ImageRow,
        names: &BTreeMap<String, String>,
        sizes: &BTreeMap<String, u64>,
    ) -> Result<Image, Error> {
        let config_bytes = self.read_document(id.digest())?;
        let config = serde_json::from_slice(&config_bytes).map_err(|source| Error::Parse {
            what: "image config",
            source,
        })?;
        let (repo_digests, tags) = names_of(id, names)
            .into_iter()
            .partition(|name| name.digest().is_some());
        let size = |layer: &Digest| sizes.get(layer.as_str()).copied().unwrap_or(0);
        let layer_sizes: Vec<u64> = row.layers.iter().map(size).collect();
        Ok(Image {
            id: id.clone(),
            config,
            config_bytes,
            manifest: row.manifest,
            tags,
            repo_digests,
            layers: row.layers,
            size: layer_sizes.iter().sum(),
            layer_sizes,
            tagged_at: row.tagged_at,
        })
    }
}

/// The names of an image, sorted.
pub(crate) fn names_of(id: &ImageId, names: &BTreeMap<String, String>) -> Vec<Reference> {
    names
        .iter()
        .filter(|(_, of)| of.as_str() == id.as_str())
        .filter_map(|(name, _)| name.parse().ok())
        .collect()
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

fn now_nanoseconds() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
