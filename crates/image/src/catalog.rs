//! What the tables say about images, in memory: lists and look-ups read no row and no file.
//!
//! The catalogue is the committed state: a transaction changes a copy, which takes its place when
//! the transaction is durable. An image takes about a kilobyte, most of it digests.

use crate::image::{ImageId, Summary};
use crate::rows::{ImageRow, IndexRow};
use hull_spec::image::Descriptor;
use hull_spec::{Digest, Platform, Reference};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) reference: Reference,
    /// The image that a container of this name gets.
    pub(crate) image: ImageId,
    /// The document that the name points at; `None` for one without, which the image's manifest is.
    pub(crate) target: Option<Arc<Descriptor>>,
}

/// The tables' content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) images: BTreeMap<ImageId, Arc<ImageRow>>,
    pub(crate) names: BTreeMap<String, Name>,
    pub(crate) indexes: HashMap<Digest, Arc<IndexRow>>,
    /// diffID → bytes.
    pub(crate) sizes: HashMap<String, u64>,
}

impl Catalog {
    /// The ids whose hexadecimal digits begin with `prefix`, at most two of them.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Vec<ImageId> {
        let start = format!("sha256:{prefix}");
        self.images
            .keys()
            .filter(|id| id.as_str().starts_with(&start))
            .take(2)
            .cloned()
            .collect()
    }

    /// The images with a manifest whose digest begins like this.
    pub(crate) fn with_manifest(&self, start: &str) -> Vec<ImageId> {
        let of_rows = self.images.iter().filter_map(|(id, row)| {
            let manifest = row.manifest.as_ref()?;
            Some((&manifest.digest, id))
        });
        let members = self.indexes.values().flat_map(|row| &row.members);
        let of_indexes = members.map(|member| (&member.manifest.digest, &member.image));
        let found: BTreeSet<&ImageId> = of_rows
            .chain(of_indexes)
            .filter(|(digest, id)| {
                digest.as_str().starts_with(start) && self.images.contains_key(id)
            })
            .map(|(_, id)| id)
            .collect();
        found.into_iter().cloned().collect()
    }

    /// The images behind a name: all platforms of its index that are here, or the one image.
    pub(crate) fn members(&self, name: &Name) -> Vec<ImageId> {
        let mut members: Vec<ImageId> = self
            .index_of(name)
            .map(|index| index.members.iter().map(|m| m.image.clone()).collect())
            .unwrap_or_default();
        members.retain(|id| self.images.contains_key(id));
        if !members.contains(&name.image) {
            members.push(name.image.clone());
        }
        members
    }

    /// The names that stand for an image, or for several platforms of which it is one; sorted.
    pub(crate) fn names_of(&self, id: &ImageId) -> Vec<Reference> {
        let names = self.stands_for(id).into_iter();
        names.map(|name| name.reference.clone()).collect()
    }

    fn stands_for(&self, id: &ImageId) -> Vec<&Name> {
        let in_index = |name: &Name| {
            let members = self.index_of(name).map(|index| index.members.iter());
            members.is_some_and(|mut members| members.any(|m| m.image == *id))
        };
        let stands_for = |name: &&Name| name.image == *id || in_index(name);
        self.names.values().filter(stands_for).collect()
    }

    /// What lists say of all images, in the order of their ids.
    pub(crate) fn summaries(&self) -> Vec<Summary> {
        let mut names: HashMap<&ImageId, Vec<&Name>> = HashMap::new();
        let mut beside: HashSet<ImageId> = HashSet::new();
        for name in self.names.values() {
            names.entry(&name.image).or_default().push(name);
            if self.index_of(name).is_some() {
                beside.extend(self.members(name));
            }
        }
        let summary = |(id, row): (&ImageId, &Arc<ImageRow>)| {
            let beside = !names.contains_key(id) && beside.contains(id);
            let beside_names = beside.then(|| self.stands_for(id));
            let own = names.get(id).map(Vec::as_slice);
            let names = beside_names.as_deref().or(own).unwrap_or_default();
            let (digests, tags): (Vec<_>, Vec<_>) = names
                .iter()
                .map(|name| name.reference.clone())
                .partition(|name| name.digest().is_some());
            let target = names.iter().find_map(|name| name.target.clone());
            let own = || row.manifest.clone().map(Arc::new);
            Summary {
                id: id.clone(),
                tags,
                repo_digests: digests,
                beside,
                target: target.or_else(own),
                size: self.size(row),
                row: Arc::clone(row),
            }
        };
        self.images.iter().map(summary).collect()
    }

    /// Whether a layer is here.
    pub(crate) fn has_layer(&self, diff_id: &Digest) -> bool {
        self.sizes.contains_key(diff_id.as_str())
    }

    /// Bytes of each layer.
    pub(crate) fn layers(&self) -> &HashMap<String, u64> {
        &self.sizes
    }

    fn index_of(&self, name: &Name) -> Option<&IndexRow> {
        let target = name.target.as_ref()?;
        self.indexes.get(&target.digest).map(|row| &**row)
    }

    /// Bytes of an image's layers.
    pub(crate) fn size(&self, row: &ImageRow) -> u64 {
        let summed = || self.layer_sizes(&row.layers).iter().sum();
        row.size.unwrap_or_else(summed)
    }

    pub(crate) fn layer_sizes(&self, layers: &[Digest]) -> Vec<u64> {
        let size = |layer: &Digest| self.sizes.get(layer.as_str()).copied().unwrap_or(0);
        layers.iter().map(size).collect()
    }

    /// Every document that a row names, so that its blob has to stay.
    pub(crate) fn documents(&self) -> HashSet<&Digest> {
        let mut found = HashSet::new();
        for (id, row) in &self.images {
            found.insert(id.digest());
            found.extend(row.manifest.iter().map(|manifest| &manifest.digest));
        }
        for name in self.names.values() {
            found.extend(name.target.iter().map(|target| &target.digest));
        }
        for (digest, row) in &self.indexes {
            found.insert(digest);
            found.extend(row.members.iter().map(|m| &m.manifest.digest));
            found.extend(&row.beside);
        }
        found
    }

    /// The documents that belong to one image: its config, manifests and the indexes that have it.
    pub(crate) fn documents_of(&self, id: &ImageId) -> HashSet<&Digest> {
        let mut found = HashSet::new();
        if let Some((id, row)) = self.images.get_key_value(id) {
            found.insert(id.digest());
            found.extend(row.manifest.iter().map(|manifest| &manifest.digest));
        }
        let names = self.names.values().filter(|name| name.image == *id);
        found.extend(names.filter_map(|name| Some(&name.target.as_ref()?.digest)));
        for (digest, row) in &self.indexes {
            for member in row.members.iter().filter(|member| member.image == *id) {
                found.extend([digest, &member.manifest.digest]);
                found.extend(&row.beside);
            }
        }
        found
    }

    /// Among images, the one that serves `wanted` best.
    pub(crate) fn best(&self, images: &[ImageId], wanted: &Platform) -> Option<ImageId> {
        images
            .iter()
            .filter_map(|id| Some((self.platform(id)?.distance(wanted)?, id)))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, id)| id.clone())
    }

    pub(crate) fn platform(&self, id: &ImageId) -> Option<Platform> {
        Some(self.images.get(id)?.facts.as_ref()?.platform())
    }
}
