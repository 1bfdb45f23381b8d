//! The store's tables in the metadata database. Values are JSON: a row can be read by hand, and a
//! field added later has a default.

mod change;

pub(crate) use change::Change;

use crate::catalog::{Catalog, Name};
use crate::database::Database;
use crate::format::Format;
use crate::image::{Facts, ImageId};
use crate::store::{Error, stored_id};
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use redb::{Durability, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

type Text = TableDefinition<'static, &'static str, &'static [u8]>;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("image.meta");
/// Config digest → [`ImageRow`].
const IMAGES: Text = TableDefinition::new("image.images");
/// Full reference → id of the image, as text.
const NAMES: TableDefinition<'static, &'static str, &'static str> =
    TableDefinition::new("image.names");
/// Full reference → [`TargetRow`], for names that point at a document.
const TARGETS: Text = TableDefinition::new("image.targets");
/// Digest of an index → [`IndexRow`].
const INDEXES: Text = TableDefinition::new("image.indexes");
/// diffID → [`LayerRow`].
const LAYERS: Text = TableDefinition::new("image.layers");
/// Image id → when a container was last made of it, nanoseconds since 1970.
const USED: TableDefinition<'static, &'static str, i64> = TableDefinition::new("image.used");
/// Snapshot key → [`SnapshotRow`].
const SNAPSHOTS: Text = TableDefinition::new("image.snapshots");

const SCHEMA: &str = "schema";
/// Raised when rows change so that older programs would misread them. Version 2: a layer has several
/// blobs and a format. Rows of version 1 are read as they are.
const SCHEMA_VERSION: u64 = 2;

/// One image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ImageRow {
    pub(crate) manifest: Option<Descriptor>,
    pub(crate) layers: Vec<Digest>,
    #[serde(default)]
    pub(crate) tagged_at: i64,
    /// What lists show of the config; missing in rows of the first version.
    #[serde(default)]
    pub(crate) facts: Option<Facts>,
    /// Bytes of all layers; likewise.
    #[serde(default)]
    pub(crate) size: Option<u64>,
}

/// What a name points at. Rows of the first version had no such row: the image's manifest it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TargetRow {
    /// The image that the name stood for when this was written: a program that does not know this
    /// table may have changed the name since.
    pub(crate) image: ImageId,
    pub(crate) target: Descriptor,
}

/// An index that names point at, and what of it is here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct IndexRow {
    pub(crate) members: Vec<Member>,
    /// Documents that belong to it and are no images: attestations, with all that they name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) beside: Vec<Digest>,
}

/// One platform of an index that is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Member {
    /// As the index describes it.
    pub(crate) manifest: Descriptor,
    pub(crate) image: ImageId,
}

/// Owner and permissions that a layer's archive states for the root directory itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootAttributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// One layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LayerRow {
    /// The blobs kept for it, each a form of the same archive. Until version 2 there was one.
    #[serde(alias = "blob", deserialize_with = "one_or_many")]
    pub(crate) blobs: Vec<Descriptor>,
    /// Bytes that its files hold.
    pub(crate) size: u64,
    /// When it was unpacked, seconds since 1970.
    pub(crate) unpacked_at: i64,
    #[serde(default)]
    pub(crate) root: Option<RootAttributes>,
    #[serde(default)]
    pub(crate) format: Format,
    /// Bytes of its tar archive, where known.
    #[serde(default)]
    pub(crate) tar_size: Option<u64>,
    /// Whether a directory's archive is kept too, as the blob that has the diffID: it came without
    /// a blob that it could be made from again.
    #[serde(default)]
    pub(crate) keeps_tar: bool,
    /// The boot during which it was written, until its files are known to be on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsettled: Option<String>,
}

impl LayerRow {
    /// The files below `blobs/` that this row owns.
    pub(crate) fn owned_blobs(&self, diff_id: &Digest) -> Vec<Digest> {
        let mut owned: Vec<Digest> = self.blobs.iter().map(|blob| blob.digest.clone()).collect();
        if self.keeps_tar && !owned.contains(diff_id) {
            owned.push(diff_id.clone());
        }
        owned
    }
}

/// The directories below `layers/` that these rows own.
pub(crate) fn layer_names(layers: &BTreeMap<String, LayerRow>) -> BTreeSet<String> {
    let hex = |key: &String| key.trim_start_matches("sha256:").to_owned();
    layers.keys().map(hex).collect()
}

/// The files below `blobs/` that these rows and the catalogue's own.
pub(crate) fn blob_names(
    layers: &BTreeMap<String, LayerRow>,
    catalog: &Catalog,
) -> BTreeSet<String> {
    let of_layer = |(key, row): (&String, &LayerRow)| Some(row.owned_blobs(&key.parse().ok()?));
    let of_layers: Vec<Digest> = layers.iter().filter_map(of_layer).flatten().collect();
    let all = of_layers.iter().chain(catalog.documents());
    all.map(|digest| digest.hex().to_owned()).collect()
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Descriptor>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Blobs {
        Many(Vec<Descriptor>),
        One(Box<Descriptor>),
    }
    Ok(match Blobs::deserialize(from)? {
        Blobs::Many(blobs) => blobs,
        Blobs::One(blob) => vec![*blob],
    })
}

/// One snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotRow {
    /// diffIDs, the base first.
    pub(crate) layers: Vec<Digest>,
}

/// The tables.
#[derive(Debug)]
pub(crate) struct Rows {
    db: Arc<Database>,
    /// What is committed.
    catalog: RwLock<Arc<Catalog>>,
    /// Held from the beginning of a transaction until the catalogue is that of its end.
    writer: Mutex<()>,
}

/// Names the operation that the database refused.
fn failed<E: Into<redb::Error>>(operation: &'static str) -> impl FnOnce(E) -> Error {
    move |source| Error::Database {
        operation,
        source: Box::new(source.into()),
    }
}

fn decode<T: DeserializeOwned>(table: &'static str, key: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Row {
        table,
        key: key.to_owned(),
        source,
    })
}

fn encode<T: Serialize>(table: &'static str, key: &str, row: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(row).map_err(|source| Error::Row {
        table,
        key: key.to_owned(),
        source,
    })
}

/// All rows of a table; a row that cannot be read is an error that names it.
fn all<T: DeserializeOwned>(
    table: &'static str,
    rows: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<BTreeMap<String, T>, Error> {
    let mut found = BTreeMap::new();
    for entry in rows.iter().map_err(failed("list"))? {
        let (key, value) = entry.map_err(failed("list"))?;
        let key = key.value().to_owned();
        let row = decode(table, &key, value.value())?;
        found.insert(key, row);
    }
    Ok(found)
}

impl Rows {
    /// Opens the tables, making those that are missing.
    pub(crate) fn open(db: Arc<Database>) -> Result<Self, Error> {
        let write = db.begin_write().map_err(failed("open"))?;
        {
            let mut meta = write.open_table(META).map_err(failed("open"))?;
            let found = meta
                .get(SCHEMA)
                .map_err(failed("open"))?
                .map(|value| value.value());
            match found {
                Some(SCHEMA_VERSION) => {}
                None | Some(1) => {
                    meta.insert(SCHEMA, SCHEMA_VERSION)
                        .map_err(failed("open"))?;
                }
                Some(found) => {
                    return Err(Error::Schema {
                        found,
                        known: SCHEMA_VERSION,
                    });
                }
            }
            for table in [IMAGES, LAYERS, SNAPSHOTS, TARGETS, INDEXES] {
                write.open_table(table).map_err(failed("open"))?;
            }
            write.open_table(NAMES).map_err(failed("open"))?;
            write.open_table(USED).map_err(failed("open"))?;
        }
        write.commit().map_err(failed("open"))?;
        let rows = Self {
            db,
            catalog: RwLock::default(),
            writer: Mutex::default(),
        };
        let catalog = rows.load()?;
        *rows.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        Ok(rows)
    }

    /// Reads the tables whole.
    fn load(&self) -> Result<Catalog, Error> {
        let mut catalog = Catalog::default();
        for (id, row) in self.rows::<ImageRow>("images", IMAGES)? {
            catalog
                .images
                .insert(stored_id("images", &id)?, Arc::new(row));
        }
        for (digest, row) in self.rows::<IndexRow>("indexes", INDEXES)? {
            let digest = stored_id("indexes", &digest)?.digest().clone();
            catalog.indexes.insert(digest, Arc::new(row));
        }
        for (diff_id, row) in self.rows::<LayerRow>("layers", LAYERS)? {
            catalog.sizes.insert(diff_id, row.size);
        }
        let mut targets = self.rows::<TargetRow>("targets", TARGETS)?;
        for (key, id) in self.stored_names()? {
            let image = stored_id("names", &id)?;
            let Ok(reference) = key.parse() else {
                tracing::warn!(name = key, "a name in the store is no reference");
                continue;
            };
            let target = targets.remove(&key).filter(|row| row.image == image);
            let target = target.map(|row| Arc::new(row.target));
            let name = Name {
                reference,
                image,
                target,
            };
            catalog.names.insert(key, name);
        }
        Ok(catalog)
    }

    /// What is committed now.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        let catalog = self.catalog.read();
        // It is replaced as a whole: nothing panics while it is locked.
        Arc::clone(&catalog.unwrap_or_else(PoisonError::into_inner))
    }

    fn row<T: DeserializeOwned>(
        &self,
        table: &'static str,
        definition: Text,
        key: &str,
    ) -> Result<Option<T>, Error> {
        let read = self.db.begin_read().map_err(failed("read"))?;
        let rows = read.open_table(definition).map_err(failed("read"))?;
        let value = rows.get(key).map_err(failed("read"))?;
        value.map(|v| decode(table, key, v.value())).transpose()
    }

    fn rows<T: DeserializeOwned>(
        &self,
        table: &'static str,
        definition: Text,
    ) -> Result<BTreeMap<String, T>, Error> {
        let read = self.db.begin_read().map_err(failed("read"))?;
        let rows = read.open_table(definition).map_err(failed("read"))?;
        all(table, &rows)
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> Result<Option<LayerRow>, Error> {
        self.row("layers", LAYERS, diff_id.as_str())
    }

    /// Several layers at once, in their order.
    pub(crate) fn layers_of(&self, diff_ids: &[Digest]) -> Result<Vec<Option<LayerRow>>, Error> {
        let read = self.db.begin_read().map_err(failed("read"))?;
        let rows = read.open_table(LAYERS).map_err(failed("read"))?;
        let row = |diff_id: &Digest| {
            let value = rows.get(diff_id.as_str()).map_err(failed("read"))?;
            value
                .map(|v| decode("layers", diff_id.as_str(), v.value()))
                .transpose()
        };
        diff_ids.iter().map(row).collect()
    }

    pub(crate) fn layers(&self) -> Result<BTreeMap<String, LayerRow>, Error> {
        self.rows("layers", LAYERS)
    }

    pub(crate) fn snapshot(&self, key: &str) -> Result<Option<SnapshotRow>, Error> {
        self.row("snapshots", SNAPSHOTS, key)
    }

    pub(crate) fn snapshots(&self) -> Result<BTreeMap<String, SnapshotRow>, Error> {
        self.rows("snapshots", SNAPSHOTS)
    }

    /// All names with the images they stand for, as the table has them.
    fn stored_names(&self) -> Result<BTreeMap<String, String>, Error> {
        let read = self.db.begin_read().map_err(failed("read"))?;
        let rows = read.open_table(NAMES).map_err(failed("read"))?;
        collect_names(&rows)
    }

    /// When a container was last made of each image, nanoseconds since 1970.
    pub(crate) fn used(&self) -> Result<BTreeMap<String, i64>, Error> {
        let read = self.db.begin_read().map_err(failed("read"))?;
        let rows = read.open_table(USED).map_err(failed("read"))?;
        let mut found = BTreeMap::new();
        for entry in rows.iter().map_err(failed("list"))? {
            let (id, at) = entry.map_err(failed("list"))?;
            found.insert(id.value().to_owned(), at.value());
        }
        Ok(found)
    }

    /// Changes rows in one durable transaction: when `change` fails, nothing happened.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&Change) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.change(Durability::Immediate, change)
    }

    /// As [`Rows::write`], but durable only with the next durable transaction on the same database.
    /// For rows that mean nothing without a row which their caller commits right after them.
    pub(crate) fn write_behind<T>(
        &self,
        change: impl FnOnce(&Change) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.change(Durability::None, change)
    }

    /// As [`Rows::write`], durable as it says.
    pub(crate) fn change<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&Change) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = self.db.begin_write().map_err(failed("write"))?;
        write.set_durability(durability).map_err(failed("write"))?;
        let change_of = Change {
            write,
            catalog: RefCell::new(self.catalog()),
        };
        let result = change(&change_of)?;
        change_of.write.commit().map_err(failed("commit"))?;
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) =
            change_of.catalog.into_inner();
        Ok(result)
    }
}

fn collect_names(
    rows: &impl ReadableTable<&'static str, &'static str>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut found = BTreeMap::new();
    for entry in rows.iter().map_err(failed("list"))? {
        let (name, id) = entry.map_err(failed("list"))?;
        found.insert(name.value().to_owned(), id.value().to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_of_version_1_is_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let old = serde_json::json!({
            "blob": { "mediaType": "x", "digest": digest, "size": 7 }, "size": 5, "unpacked_at": 3,
        });
        let row: LayerRow = serde_json::from_value(old).unwrap();
        assert_eq!(row.blobs[0].size, 7);
        assert_eq!((row.format, row.tar_size), (Format::Directory, None));
        let again: LayerRow = serde_json::from_value(serde_json::to_value(&row).unwrap()).unwrap();
        assert_eq!(again.blobs, row.blobs);
    }
}
