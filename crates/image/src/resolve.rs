//! What a text stands for: an image, the document a name points at, one of several platforms.

use crate::catalog::{Catalog, Name};
use crate::image::{ImageId, PlatformImage};
use crate::register::parse;
use crate::store::{Error, Store, name_key};
use hull_spec::image::{Descriptor, Index};
use hull_spec::{Digest, Platform, Reference};

/// What a text was found to be.
pub(crate) struct Found {
    pub(crate) image: ImageId,
    /// The name, unless the text is an id.
    pub(crate) name: Option<Name>,
}

impl Catalog {
    /// Finds an image as dockerd does: a full id, then a name, then a unique prefix of an id. The
    /// digest of an image's manifest will do for its id: lists of platforms show that.
    pub(crate) fn find(&self, text: &str) -> Result<Found, Error> {
        let digest = text
            .parse::<Digest>()
            .or_else(|_| Digest::from_hex(text))
            .ok();
        let by_id = |image| Found { image, name: None };
        if let Some(digest) = digest {
            let id = ImageId::new(digest);
            if self.images.contains_key(&id) {
                return Ok(by_id(id));
            }
            let by_manifest = self.with_manifest(id.as_str());
            return match by_manifest.as_slice() {
                [image] => Ok(by_id(image.clone())),
                _ => Err(Error::NoSuchImage(id.to_string())),
            };
        }
        let name: Reference = text.parse()?;
        if let Some(name) = self.names.get(&name_key(&name)) {
            return Ok(Found {
                image: name.image.clone(),
                name: Some(name.clone()),
            });
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        if !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
            let mut found = self.with_prefix(prefix);
            if found.is_empty() {
                found = self.with_manifest(&format!("sha256:{prefix}"));
            }
            if let [only] = found.as_slice() {
                return Ok(by_id(only.clone()));
            }
        }
        Err(Error::NoSuchImage(name.with_default_tag().familiar()))
    }

    /// As [`Catalog::find`], for one platform.
    pub(crate) fn find_for(&self, text: &str, platform: &Platform) -> Result<ImageId, Error> {
        let found = self.find(text)?;
        let candidates = match &found.name {
            Some(name) => self.members(name),
            None => vec![found.image.clone()],
        };
        self.best(&candidates, platform)
            .ok_or_else(|| Error::WrongPlatform {
                reference: text.to_owned(),
                found: self
                    .platform(&found.image)
                    .map_or_else(|| "unknown".to_owned(), |p| p.to_string()),
                wanted: platform.to_string(),
            })
    }
}

impl Store {
    /// Finds an image as dockerd does: a full id, then a name, then a unique prefix of an id. A name
    /// of several platforms stands for the one that serves this host best.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] (also for a prefix of several ids, as dockerd says it) and
    /// [`Error::InvalidReference`].
    pub fn resolve(&self, text: &str) -> Result<ImageId, Error> {
        Ok(self.inner.rows.catalog().find(text)?.image)
    }

    /// As [`Store::resolve`], but of a name's platforms the one that serves `platform` best.
    ///
    /// # Errors
    /// As [`Store::resolve`], and [`Error::WrongPlatform`].
    pub fn resolve_for(&self, text: &str, platform: Option<&Platform>) -> Result<ImageId, Error> {
        let catalog = self.inner.rows.catalog();
        match platform {
            Some(platform) => catalog.find_for(text, platform),
            None => Ok(catalog.find(text)?.image),
        }
    }

    /// The document a name points at, index or manifest; `None` when there is no such name, or
    /// its image came from no registry.
    ///
    /// # Errors
    /// None today: names are in memory.
    pub fn target(&self, name: &Reference) -> Result<Option<Descriptor>, Error> {
        let catalog = self.inner.rows.catalog();
        let Some(name) = catalog.names.get(&name_key(name)) else {
            return Ok(None);
        };
        if let Some(target) = &name.target {
            return Ok(Some(Descriptor::clone(target)));
        }
        let image = catalog.images.get(&name.image);
        Ok(image.and_then(|row| row.manifest.clone()))
    }

    /// The manifests of an index with the images that are here, in the index's order; of a
    /// manifest itself and its image.
    ///
    /// # Errors
    /// [`Error::NoSuchDocument`], and a document that cannot be read.
    pub fn platforms(&self, target: &Digest) -> Result<Vec<PlatformImage>, Error> {
        let catalog = self.inner.rows.catalog();
        let Some(row) = catalog.indexes.get(target) else {
            return self.only_platform(&catalog, target);
        };
        let index: Index = parse("image index", &self.read_document(target)?)?;
        let image = |manifest: &Descriptor| {
            let mut members = row.members.iter();
            let member = members.find(|m| m.manifest.digest == manifest.digest)?;
            let here = catalog.images.contains_key(&member.image);
            here.then(|| member.image.clone())
        };
        Ok(index
            .manifests
            .into_iter()
            .map(|manifest| PlatformImage {
                image: image(&manifest),
                manifest,
            })
            .collect())
    }

    /// Whether a document is kept with an index without being an image's: an attestation, or what one names.
    #[must_use]
    pub fn is_beside(&self, document: &Digest) -> bool {
        let catalog = self.inner.rows.catalog();
        let mut rows = catalog.indexes.values();
        rows.any(|row| row.beside.contains(document))
    }

    fn only_platform(
        &self,
        catalog: &Catalog,
        target: &Digest,
    ) -> Result<Vec<PlatformImage>, Error> {
        let of_row = catalog.images.iter().find_map(|(id, row)| {
            let manifest = row.manifest.as_ref()?;
            (manifest.digest == *target).then(|| (id, manifest.clone()))
        });
        let of_name = || {
            catalog.names.values().find_map(|name| {
                let manifest = name.target.as_ref()?;
                (manifest.digest == *target).then(|| (&name.image, Descriptor::clone(manifest)))
            })
        };
        let Some((id, mut manifest)) = of_row.or_else(of_name) else {
            return Err(Error::NoSuchDocument(target.clone()));
        };
        manifest.platform = catalog.platform(id);
        Ok(vec![PlatformImage {
            manifest,
            image: Some(id.clone()),
        }])
    }
}
