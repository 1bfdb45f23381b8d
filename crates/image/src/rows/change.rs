//! Changes of rows, inside of one transaction.

use super::{
    IMAGES, INDEXES, ImageRow, IndexRow, LAYERS, LayerRow, NAMES, SNAPSHOTS, SnapshotRow, TARGETS,
    TargetRow, Text, USED, all, decode, encode, failed,
};
use crate::catalog::{Catalog, Name};
use crate::image::ImageId;
use crate::store::Error;
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use redb::{ReadableTable, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One transaction that changes rows.
pub(crate) struct Change {
    pub(super) write: WriteTransaction,
    /// The catalogue with this transaction's changes; a copy once there are any.
    pub(super) catalog: RefCell<Arc<Catalog>>,
}

impl Change {
    fn edit(&self, edit: impl FnOnce(&mut Catalog)) {
        edit(Arc::make_mut(&mut self.catalog.borrow_mut()));
    }

    /// The catalogue as this transaction sees it.
    pub(crate) fn catalog(&self) -> Ref<'_, Catalog> {
        Ref::map(self.catalog.borrow(), |catalog| &**catalog)
    }

    fn put<T: Serialize>(
        &self,
        table: &'static str,
        definition: Text,
        key: &str,
        row: &T,
    ) -> Result<(), Error> {
        let bytes = encode(table, key, row)?;
        let mut rows = self.write.open_table(definition).map_err(failed("write"))?;
        rows.insert(key, bytes.as_slice())
            .map_err(failed("write"))?;
        Ok(())
    }

    fn delete(&self, definition: Text, key: &str) -> Result<bool, Error> {
        let mut rows = self.write.open_table(definition).map_err(failed("write"))?;
        let old = rows.remove(key).map_err(failed("write"))?;
        Ok(old.is_some())
    }

    fn all<T: DeserializeOwned>(
        &self,
        table: &'static str,
        definition: Text,
    ) -> Result<BTreeMap<String, T>, Error> {
        let rows = self.write.open_table(definition).map_err(failed("read"))?;
        all(table, &rows)
    }

    pub(crate) fn layers(&self) -> Result<BTreeMap<String, LayerRow>, Error> {
        self.all("layers", LAYERS)
    }

    pub(crate) fn snapshots(&self) -> Result<BTreeMap<String, SnapshotRow>, Error> {
        self.all("snapshots", SNAPSHOTS)
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> Result<Option<LayerRow>, Error> {
        let rows = self.write.open_table(LAYERS).map_err(failed("read"))?;
        let value = rows.get(diff_id.as_str()).map_err(failed("read"))?;
        value
            .map(|v| decode("layers", diff_id.as_str(), v.value()))
            .transpose()
    }

    pub(crate) fn put_image(&self, id: &ImageId, row: &ImageRow) -> Result<(), Error> {
        self.edit(|c| {
            c.images.insert(id.clone(), Arc::new(row.clone()));
        });
        self.put("images", IMAGES, id.as_str(), row)
    }

    pub(crate) fn put_used(&self, id: &ImageId, at: i64) -> Result<(), Error> {
        let mut rows = self.write.open_table(USED).map_err(failed("write"))?;
        rows.insert(id.as_str(), at).map_err(failed("write"))?;
        Ok(())
    }

    pub(crate) fn delete_image(&self, id: &ImageId) -> Result<bool, Error> {
        self.edit(|c| {
            c.images.remove(id);
        });
        let mut used = self.write.open_table(USED).map_err(failed("write"))?;
        used.remove(id.as_str()).map_err(failed("write"))?;
        drop(used);
        self.delete(IMAGES, id.as_str())
    }

    pub(crate) fn put_layer(&self, diff_id: &Digest, row: &LayerRow) -> Result<(), Error> {
        // Other changes of a row are not worth a copy of the catalogue.
        let known = self.catalog().sizes.get(diff_id.as_str()) == Some(&row.size);
        if !known {
            self.edit(|c| {
                c.sizes.insert(diff_id.to_string(), row.size);
            });
        }
        self.put("layers", LAYERS, diff_id.as_str(), row)
    }

    pub(crate) fn delete_layer(&self, diff_id: &str) -> Result<bool, Error> {
        self.edit(|c| {
            c.sizes.remove(diff_id);
        });
        self.delete(LAYERS, diff_id)
    }

    pub(crate) fn put_snapshot(&self, key: &str, row: &SnapshotRow) -> Result<(), Error> {
        self.put("snapshots", SNAPSHOTS, key, row)
    }

    pub(crate) fn delete_snapshot(&self, key: &str) -> Result<bool, Error> {
        self.delete(SNAPSHOTS, key)
    }

    pub(crate) fn put_name(&self, key: &str, name: &Name) -> Result<(), Error> {
        let mut rows = self.write.open_table(NAMES).map_err(failed("write"))?;
        rows.insert(key, name.image.as_str())
            .map_err(failed("write"))?;
        match &name.target {
            Some(target) => {
                let row = TargetRow {
                    image: name.image.clone(),
                    target: Descriptor::clone(target),
                };
                self.put("targets", TARGETS, key, &row)?;
            }
            None => {
                self.delete(TARGETS, key)?;
            }
        }
        self.edit(|c| {
            c.names.insert(key.to_owned(), name.clone());
        });
        Ok(())
    }

    pub(crate) fn delete_name(&self, key: &str) -> Result<bool, Error> {
        let mut rows = self.write.open_table(NAMES).map_err(failed("write"))?;
        let old = rows.remove(key).map_err(failed("write"))?.is_some();
        self.delete(TARGETS, key)?;
        self.edit(|c| {
            c.names.remove(key);
        });
        Ok(old)
    }

    pub(crate) fn put_index(&self, digest: &Digest, row: &IndexRow) -> Result<(), Error> {
        self.edit(|c| {
            c.indexes.insert(digest.clone(), Arc::new(row.clone()));
        });
        self.put("indexes", INDEXES, digest.as_str(), row)
    }

    pub(crate) fn delete_index(&self, digest: &Digest) -> Result<bool, Error> {
        self.edit(|c| {
            c.indexes.remove(digest);
        });
        self.delete(INDEXES, digest.as_str())
    }

    /// The layers that an image or a snapshot uses.
    pub(crate) fn used_layers(&self) -> Result<BTreeSet<Digest>, Error> {
        let snapshots = self.snapshots()?.into_values().flat_map(|row| row.layers);
        let mut used: BTreeSet<Digest> = snapshots.collect();
        for row in self.catalog().images.values() {
            used.extend(row.layers.iter().cloned());
        }
        Ok(used)
    }
}
