//! Registration of images, and the names that point at them.

use crate::blob::digest_of;
use crate::catalog::{Catalog, Name};
use crate::image::{Facts, ImageId, Registration};
use crate::remove::Leftovers;
use crate::rows::{Change, ImageRow, IndexRow, Member};
use crate::store::{Error, Store, name_key, now_nanoseconds};
use hull_spec::image::{Descriptor, ImageConfig, Index, Manifest};
use hull_spec::{Digest, Platform, Reference};
use redb::Durability;
use serde::de::DeserializeOwned;
use std::sync::Arc;

impl Store {
    /// Makes an image of layers that are already in the store, and gives it names: the commit point
    /// of a pull. Registering the same image again only adds names. With an index the names point
    /// at that, and other platforms of it that are here stay behind the same names.
    ///
    /// # Errors
    /// [`Error::MissingLayer`], [`Error::WrongManifest`], [`Error::LayerCount`], [`Error::Parse`]
    /// and failures of the file system and of the database; then nothing is registered.
    pub fn register(&self, image: &Registration<'_>) -> Result<ImageId, Error> {
        let mut ids = self.register_all_of(std::slice::from_ref(image))?;
        // As many as there are images.
        Ok(ids.remove(0))
    }

    /// As [`Store::register`], of several images at once: all of them or none.
    ///
    /// # Errors
    /// As [`Store::register`].
    pub fn register_all_of(&self, images: &[Registration<'_>]) -> Result<Vec<ImageId>, Error> {
        let mut checked = Vec::with_capacity(images.len());
        for image in images {
            let config: ImageConfig = parse("image config", image.config)?;
            let member = member_of(image, config.rootfs.diff_ids.len())?;
            checked.push((image, config, member));
        }
        let known = self.inner.rows.catalog();
        let is_known = |image: &Registration<'_>| {
            known
                .images
                .contains_key(&ImageId::new(digest_of(image.config)))
        };
        // What is here takes no more of the disk with another name.
        if !images.iter().all(is_known) {
            self.fit()?;
        }
        // Locked until the rows are there: a removal must not discard what is written here.
        let _documents = self.inner.documents();
        let before = self.inner.rows.catalog();
        let mut written = Vec::new();
        let ids = self.register_checked(checked, &mut written);
        if ids.is_err() {
            let now = self.inner.rows.catalog();
            let kept = now.documents();
            written.retain(|digest| !kept.contains(digest));
            self.discard(Leftovers {
                blobs: written,
                layers: Vec::new(),
            });
        }
        let ids = ids?;
        self.discard_documents(&before);
        Ok(ids)
    }

    fn register_checked(
        &self,
        images: Vec<(&Registration<'_>, ImageConfig, Option<Descriptor>)>,
        written: &mut Vec<Digest>,
    ) -> Result<Vec<ImageId>, Error> {
        let blobs = &self.inner.blobs;
        let mut ids = Vec::with_capacity(images.len());
        for (image, ..) in &images {
            for (descriptor, bytes) in image.index.iter().chain(&image.manifest) {
                let digest = blobs.put(bytes)?;
                let is_described = digest == descriptor.digest
                    && u64::try_from(bytes.len()) == Ok(descriptor.size);
                written.push(digest);
                if !is_described {
                    return Err(Error::WrongManifest(descriptor.digest.clone()));
                }
            }
            for bytes in image.beside {
                written.push(blobs.put(bytes)?);
            }
            let config = blobs.put(image.config)?;
            written.push(config.clone());
            ids.push(ImageId::new(config));
        }
        blobs.sync()?;
        let catalog = self.inner.rows.catalog();
        let mut all = images.iter().zip(&ids);
        // Who gives an image the names that it has needs no disk.
        let durability = match all.all(|((image, ..), id)| is_there(&catalog, image, id)) {
            true => Durability::None,
            false => Durability::Immediate,
        };
        self.inner.rows.change(durability, |change| {
            for ((image, config, member), id) in images.into_iter().zip(&ids) {
                put_image(change, id, &config, image)?;
                change.put_used(id, now_nanoseconds())?;
                if let (Some((index, _)), Some(manifest)) = (image.index, member) {
                    let of = id.clone();
                    let member = Member {
                        manifest,
                        image: of,
                    };
                    add_member(change, &index.digest, member, image.beside)?;
                }
                let target = image.index.or(image.manifest);
                let target = target.map(|(descriptor, _)| Arc::new(descriptor.clone()));
                for name in image.names {
                    point(change, name, id, target.clone())?;
                }
            }
            drop_unnamed_indexes(change)
        })?;
        Ok(ids)
    }

    /// Gives an image another name, taking it from the image that had it. Without tag and digest
    /// the tag is `latest`. The name points at the image's own manifest.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] and failures of the database.
    pub fn tag(&self, name: &Reference, id: &ImageId) -> Result<(), Error> {
        self.tag_with(name, |_| Ok((id.clone(), None)))
    }

    /// As [`Store::tag`], of what `source` names: when that is an index, the new name points at it
    /// too, with all its platforms. Gives the image.
    ///
    /// # Errors
    /// As [`Store::resolve`] and [`Store::tag`].
    pub fn tag_as(&self, name: &Reference, source: &str) -> Result<ImageId, Error> {
        let mut image = None;
        self.tag_with(name, |catalog| {
            let found = catalog.find(source)?;
            image = Some(found.image.clone());
            Ok((found.image, found.name.and_then(|name| name.target)))
        })?;
        image.ok_or_else(|| Error::NoSuchImage(source.to_owned()))
    }

    fn tag_with(
        &self,
        name: &Reference,
        of: impl FnOnce(&Catalog) -> Result<(ImageId, Option<Arc<Descriptor>>), Error>,
    ) -> Result<(), Error> {
        let _documents = self.inner.documents();
        let before = self.inner.rows.catalog();
        self.inner.rows.write(|change| {
            let (id, target) = of(&change.catalog())?;
            let row = change.catalog().images.get(&id).cloned();
            let row = row.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
            let mut row = ImageRow::clone(&row);
            row.tagged_at = now_nanoseconds();
            change.put_image(&id, &row)?;
            point(change, name, &id, target)?;
            drop_unnamed_indexes(change)
        })?;
        self.discard_documents(&before);
        Ok(())
    }

    /// Takes a name away; the image stays. `false` when nothing had that name.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn untag(&self, name: &Reference) -> Result<bool, Error> {
        let _documents = self.inner.documents();
        let before = self.inner.rows.catalog();
        let known = self.inner.rows.write(|change| {
            let known = change.delete_name(&name_key(name))?;
            drop_unnamed_indexes(change)?;
            Ok(known)
        })?;
        self.discard_documents(&before);
        Ok(known)
    }

    /// Completes rows that an earlier version wrote, from the configs.
    pub(crate) fn complete_rows(&self) -> Result<(), Error> {
        let catalog = self.inner.rows.catalog();
        let mut completed = Vec::new();
        for (id, row) in &catalog.images {
            if row.facts.is_some() && row.size.is_some() {
                continue;
            }
            let config = self
                .read_document(id.digest())
                .and_then(|bytes| parse::<ImageConfig>("image config", &bytes));
            match config {
                Ok(config) => {
                    let mut row = ImageRow::clone(row);
                    row.facts = Some(Facts::of(&config));
                    row.size = Some(catalog.layer_sizes(&row.layers).iter().sum());
                    completed.push((id, row));
                }
                Err(error) => tracing::warn!(%id, %error, "image cannot be read"),
            }
        }
        if completed.is_empty() {
            return Ok(());
        }
        self.inner.rows.write(|change| {
            completed
                .iter()
                .try_for_each(|(id, row)| change.put_image(id, row))
        })
    }
}

pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Parse { what, source })
}

/// Checks the documents against each other; gives the manifest as the index describes it.
fn member_of(image: &Registration<'_>, layers: usize) -> Result<Option<Descriptor>, Error> {
    let Some((descriptor, bytes)) = image.manifest else {
        return Ok(None);
    };
    let manifest: Manifest = parse("image manifest", bytes)?;
    if manifest.layers.len() != layers {
        return Err(Error::LayerCount {
            manifest: manifest.layers.len(),
            config: layers,
        });
    }
    let Some((_, bytes)) = image.index else {
        return Ok(None);
    };
    let index: Index = parse("image index", bytes)?;
    let mut entries = index.manifests.into_iter();
    match entries.find(|entry| entry.digest == descriptor.digest) {
        Some(entry) => Ok(Some(entry)),
        None => Err(Error::WrongManifest(descriptor.digest.clone())),
    }
}

/// Whether an image without a manifest has its row and its names already: nothing is written but when it was tagged.
fn is_there(catalog: &Catalog, image: &Registration<'_>, id: &ImageId) -> bool {
    let named = |name: &Reference| {
        let known = catalog.names.get(&name_key(&complete(name)));
        known.is_some_and(|known| known.image == *id && known.target.is_none())
    };
    image.manifest.is_none()
        && image.index.is_none()
        && image.beside.is_empty()
        && catalog.images.contains_key(id)
        && image.names.iter().all(named)
}

fn put_image(
    change: &Change,
    id: &ImageId,
    config: &ImageConfig,
    image: &Registration<'_>,
) -> Result<(), Error> {
    for layer in &config.rootfs.diff_ids {
        if !change.catalog().has_layer(layer) {
            return Err(Error::MissingLayer {
                image: id.clone(),
                layer: layer.clone(),
            });
        }
    }
    let old = change.catalog().images.get(id).cloned();
    let manifest = image.manifest.map(|(descriptor, _)| descriptor.clone());
    let row = ImageRow {
        manifest: manifest.or_else(|| old.as_ref().and_then(|o| o.manifest.clone())),
        layers: config.rootfs.diff_ids.clone(),
        // As in dockerd, a name that came with a pull is no tagging.
        tagged_at: if image.names.is_empty() || image.manifest.is_some() {
            old.map_or(0, |o| o.tagged_at)
        } else {
            now_nanoseconds()
        },
        facts: Some(Facts::of(config)),
        size: Some(
            change
                .catalog()
                .layer_sizes(&config.rootfs.diff_ids)
                .iter()
                .sum(),
        ),
    };
    change.put_image(id, &row)
}

/// Records that a platform of an index is here, and lets the index's names stand for the platform
/// of this host once that is the one.
fn add_member(
    change: &Change,
    index: &Digest,
    member: Member,
    beside: &[Vec<u8>],
) -> Result<(), Error> {
    let row = change.catalog().indexes.get(index).cloned();
    let mut row = row.map_or_else(IndexRow::default, |row| IndexRow::clone(&row));
    row.members
        .retain(|old| old.manifest.digest != member.manifest.digest);
    row.members.push(member);
    for digest in beside.iter().map(|bytes| digest_of(bytes)) {
        if !row.beside.contains(&digest) {
            row.beside.push(digest);
        }
    }
    change.put_index(index, &row)?;
    choose_again(change, index)
}

/// For every name of an index, the image that serves this host best; as it was when none does.
pub(crate) fn choose_again(change: &Change, index: &Digest) -> Result<(), Error> {
    let of_index = |name: &Name| {
        let target = name.target.as_ref();
        target.is_some_and(|target| target.digest == *index)
    };
    let names: Vec<(String, Name)> = change
        .catalog()
        .names
        .iter()
        .filter(|(_, name)| of_index(name))
        .map(|(key, name)| (key.clone(), name.clone()))
        .collect();
    for (key, mut name) in names {
        let chosen = choose(&change.catalog(), &name);
        if chosen != name.image {
            name.image = chosen;
            change.put_name(&key, &name)?;
        }
    }
    Ok(())
}

fn choose(catalog: &Catalog, name: &Name) -> ImageId {
    let mut members = catalog.members(name);
    members.retain(|id| catalog.images.contains_key(id));
    let fallback = || {
        let gone = !catalog.images.contains_key(&name.image);
        members.last().filter(|_| gone).cloned()
    };
    catalog
        .best(&members, &Platform::host())
        .or_else(fallback)
        .unwrap_or_else(|| name.image.clone())
}

/// Lets a name point at a document, and stand for an image.
fn point(
    change: &Change,
    reference: &Reference,
    image: &ImageId,
    target: Option<Arc<Descriptor>>,
) -> Result<(), Error> {
    let mut name = Name {
        reference: complete(reference),
        image: image.clone(),
        target,
    };
    name.image = choose(&change.catalog(), &name);
    change.put_name(&name_key(&name.reference), &name)
}

/// A name with a tag or a digest.
fn complete(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest),
        None => reference.clone().with_default_tag(),
    }
}

/// Deletes the rows of indexes that no name points at; their images stay.
pub(crate) fn drop_unnamed_indexes(change: &Change) -> Result<(), Error> {
    let unnamed: Vec<Digest> = {
        let catalog = change.catalog();
        let targets = catalog.names.values().filter_map(|n| n.target.as_ref());
        let named: std::collections::HashSet<&Digest> = targets.map(|t| &t.digest).collect();
        let indexes = catalog.indexes.keys();
        indexes.filter(|d| !named.contains(d)).cloned().collect()
    };
    for index in unnamed {
        change.delete_index(&index)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
