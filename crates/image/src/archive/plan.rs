//! What an archive's documents say: which images there are, of which layers, by which names.

use super::Error;
use super::documents::{IMAGE_NAME, INDEX, Item, MANIFEST, REF_NAME, REPOSITORIES};
use super::gather::Gathered;
use crate::blob::digest_of;
use hull_spec::image::{Descriptor, ImageConfig, Index, Manifest, media_type};
use hull_spec::{Digest, Platform, Reference};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// How deep indexes may be in indexes.
const MAX_DEPTH: usize = 4;

/// Bytes of documents that are looked at, the same ones each time anew: many small documents can refer
/// to each other in more ways than there is time for.
const MAX_LOOKED: u64 = if cfg!(test) { 64 << 20 } else { 2 << 30 };
/// Bytes of documents that images keep, each its own.
const MAX_KEPT: usize = 256 << 20;
/// What looking at a document costs beside its bytes.
const LOOK: u64 = 2048;

/// A document with its descriptor.
pub(super) type Document = (Descriptor, Vec<u8>);

/// An image to be registered.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) config: Vec<u8>,
    pub(super) manifest: Option<Document>,
    pub(super) index: Option<Arc<Document>>,
    pub(super) names: Vec<Reference>,
    /// diffID and entry of each layer, the base first.
    pub(super) layers: Vec<(Digest, String)>,
}

/// Works out what is in an archive.
pub(super) struct Planner<'a> {
    found: &'a mut Gathered,
    platform: Option<&'a Platform>,
    planned: Vec<Planned>,
    looked: u64,
    kept: usize,
    /// Whether an image was left out because of its platform.
    skipped: bool,
}

/// Plans all images of an archive; with a platform only those that serve it.
pub(super) fn plan(
    found: &mut Gathered,
    platform: Option<&Platform>,
) -> Result<Vec<Planned>, Error> {
    let items: Option<Vec<Item>> = parsed(found, MANIFEST)?;
    let index: Option<Index> = parsed(found, INDEX)?;
    let mut planner = Planner {
        found,
        platform,
        planned: Vec::new(),
        looked: 0,
        kept: 0,
        skipped: false,
    };
    let nested = |index: &Index| index.manifests.iter().any(is_index);
    match (items, index) {
        // Only the index tells which platforms belong together.
        (items, Some(index)) if items.is_none() || nested(&index) => {
            planner.index(&index, None, 0)?;
            planner.names_of(&items.unwrap_or_default())?;
        }
        (Some(items), index) => planner.items(&items, index.as_ref())?,
        (None, _) => {
            let old = planner.found.document(REPOSITORIES)?.is_some();
            return Err(if old { Error::TooOld } else { Error::NoImages });
        }
    }
    if planner.planned.is_empty()
        && planner.skipped
        && let Some(platform) = platform
    {
        return Err(Error::NoPlatform(platform.to_string()));
    }
    Ok(planner.planned)
}

fn parsed<T: DeserializeOwned>(found: &Gathered, path: &str) -> Result<Option<T>, Error> {
    let Some(bytes) = found.document(path)? else {
        return Ok(None);
    };
    parse(path, bytes)
}

fn parse<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Parse {
        path: path.to_owned(),
        source,
    })
}

fn is_index(descriptor: &Descriptor) -> bool {
    matches!(
        descriptor.media_type.as_str(),
        media_type::OCI_INDEX | media_type::DOCKER_LIST
    )
}

impl Planner<'_> {
    /// Counts a document that is looked at.
    fn look(&mut self, bytes: usize) -> Result<(), Error> {
        self.looked += bytes as u64 + LOOK;
        if self.looked > MAX_LOOKED {
            return Err(Error::TooMany);
        }
        Ok(())
    }

    /// Images as `manifest.json` lists them.
    fn items(&mut self, items: &[Item], index: Option<&Index>) -> Result<(), Error> {
        for item in items {
            let config = self.found.document(&item.config)?;
            let config = config.ok_or_else(|| Error::Missing {
                what: "image config",
                path: format!("{:?}", item.config),
            })?;
            let config = config.to_vec();
            self.look(config.len() + item.layers.len() * 64)?;
            let Some(layers) = self.layers(&config, &item.config, &item.layers)? else {
                continue;
            };
            let names = names(item)?;
            let manifest = match index {
                Some(index) => self.manifest_of(index, &digest_of(&config))?,
                None => None,
            };
            self.add(Planned {
                config,
                manifest,
                index: None,
                names,
                layers,
            })?;
        }
        Ok(())
    }

    /// An image that is listed for each of its names is one.
    fn add(&mut self, planned: Planned) -> Result<(), Error> {
        self.look(self.planned.len())?;
        let same = |other: &&mut Planned| {
            let index =
                |planned: &Planned| planned.index.as_ref().map(|index| index.0.digest.clone());
            other.config == planned.config && index(other) == index(&planned)
        };
        match self.planned.iter_mut().find(same) {
            Some(known) => {
                for name in planned.names {
                    if !known.names.contains(&name) {
                        known.names.push(name);
                    }
                }
            }
            None => {
                let manifest = planned.manifest.as_ref().map_or(0, |(_, m)| m.len());
                self.kept += planned.config.len() + manifest;
                if self.kept > MAX_KEPT {
                    return Err(Error::TooMany);
                }
                self.planned.push(planned);
            }
        }
        Ok(())
    }

    /// The manifest of a config, when all its layers came as it describes them, compressed: then a
    /// push sends the same again.
    fn manifest_of(&mut self, index: &Index, config: &Digest) -> Result<Option<Document>, Error> {
        for descriptor in &index.manifests {
            let Some(bytes) = self.found.blob(&descriptor.digest)? else {
                continue;
            };
            let bytes = bytes.to_vec();
            self.look(bytes.len())?;
            let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else {
                continue;
            };
            if manifest.config.digest == *config && self.is_as_described(&manifest, false)? {
                return Ok(Some((bare(descriptor), bytes)));
            }
        }
        Ok(None)
    }

    fn is_as_described(&mut self, manifest: &Manifest, plain_too: bool) -> Result<bool, Error> {
        for layer in &manifest.layers {
            let here = self.found.layer(&blob(&layer.digest))?;
            let plain = plain_too && *here.layer.hold.diff_id() == layer.digest;
            let compressed = here.blob.as_ref();
            if !plain && compressed.is_none_or(|blob| blob.digest != layer.digest) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Images as an index lists them, which may be in an index itself.
    fn index(
        &mut self,
        index: &Index,
        inside: Option<(&Arc<Document>, &[Reference])>,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Circle(INDEX.to_owned()));
        }
        for descriptor in &index.manifests {
            self.look(0)?;
            let path = blob(&descriptor.digest);
            let bytes = match self.found.blob(&descriptor.digest)? {
                Some(bytes) => bytes.to_vec(),
                // An index may tell of platforms that were not saved.
                None if inside.is_some() => continue,
                None => {
                    let what = "manifest";
                    return Err(Error::Missing { what, path });
                }
            };
            self.look(bytes.len())?;
            let own = name_of(descriptor);
            let names = match inside {
                Some((_, names)) => names,
                None => own.as_slice(),
            };
            if is_index(descriptor) {
                let inner: Index = parse(&path, &bytes)?;
                let document = Arc::new((bare(descriptor), bytes));
                // Of indexes in indexes the outermost is what the names point at.
                let document = inside.map_or(&document, |(outer, _)| outer);
                self.index(&inner, Some((document, names)), depth + 1)?;
                continue;
            }
            let outer = inside.map(|(document, _)| document);
            self.manifest(descriptor, bytes, outer, names)?;
        }
        Ok(())
    }

    fn manifest(
        &mut self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        outer: Option<&Arc<Document>>,
        names: &[Reference],
    ) -> Result<(), Error> {
        let path = blob(&descriptor.digest);
        let manifest: Manifest = parse(&path, &bytes)?;
        let config_path = blob(&manifest.config.digest);
        let Some(config) = self
            .found
            .blob(&manifest.config.digest)?
            .map(<[u8]>::to_vec)
        else {
            if outer.is_some() {
                return Ok(());
            }
            return Err(Error::Missing {
                what: "image config",
                path: config_path,
            });
        };
        // Provenance and signatures lie beside the images of an index.
        let unknown = |platform: &Platform| platform.os == "unknown";
        if descriptor.platform.as_ref().is_some_and(unknown) {
            return Ok(());
        }
        let layers: Vec<String> = manifest.layers.iter().map(|l| blob(&l.digest)).collect();
        self.look(config.len() + outer.map_or(0, |outer| outer.1.len()))?;
        let Some(layers) = self.layers(&config, &config_path, &layers)? else {
            return Ok(());
        };
        let in_index = outer.filter(|outer| lists(&outer.1, &descriptor.digest));
        let kept = self.is_as_described(&manifest, in_index.is_some())?;
        self.add(Planned {
            config,
            manifest: kept.then(|| (bare(descriptor), bytes)),
            index: in_index.filter(|_| kept).cloned(),
            names: names.to_vec(),
            layers,
        })
    }

    /// Checks a config's layers against what came; `None` for an image of another platform.
    fn layers(
        &mut self,
        config: &[u8],
        path: &str,
        entries: &[String],
    ) -> Result<Option<Vec<(Digest, String)>>, Error> {
        let config: ImageConfig = parse(path, config)?;
        if let Some(wanted) = self.platform
            && crate::image::Facts::of(&config)
                .platform()
                .distance(wanted)
                .is_none()
        {
            self.skipped = true;
            return Ok(None);
        }
        let expected = config.rootfs.diff_ids;
        if expected.len() != entries.len() {
            return Err(Error::LayerCount {
                config: expected.len(),
                manifest: entries.len(),
            });
        }
        let mut layers = Vec::with_capacity(entries.len());
        for (index, (expected, entry)) in expected.into_iter().zip(entries).enumerate() {
            let actual = self.found.layer(entry)?.layer.hold.diff_id();
            if *actual != expected {
                return Err(Error::DiffId {
                    index,
                    actual: actual.clone(),
                    expected,
                });
            }
            layers.push((expected, entry.clone()));
        }
        Ok(Some(layers))
    }

    /// Adds the names that only `manifest.json` has.
    fn names_of(&mut self, items: &[Item]) -> Result<(), Error> {
        for item in items {
            let Some(config) = self.found.document(&item.config)?.map(<[u8]>::to_vec) else {
                continue;
            };
            self.look(config.len() + self.planned.len())?;
            let mut planned = self.planned.iter_mut();
            if let Some(planned) = planned.find(|planned| planned.config == config)
                && planned.names.is_empty()
            {
                planned.names = names(item)?;
            }
        }
        Ok(())
    }
}

fn lists(index: &[u8], manifest: &Digest) -> bool {
    serde_json::from_slice::<Index>(index)
        .is_ok_and(|index| index.manifests.iter().any(|d| d.digest == *manifest))
}

fn blob(digest: &Digest) -> String {
    format!("{}{}", super::documents::BLOBS, digest.hex())
}

/// A descriptor without what only its place says.
fn bare(descriptor: &Descriptor) -> Descriptor {
    Descriptor {
        annotations: std::collections::BTreeMap::new(),
        platform: None,
        ..descriptor.clone()
    }
}

/// The names that `manifest.json` gives an image: each with a tag.
fn names(item: &Item) -> Result<Vec<Reference>, Error> {
    let tags = item.repo_tags.iter().flatten();
    tags.map(|text| {
        let invalid = |source| Error::Name {
            name: text.clone(),
            source,
        };
        let name: Reference = text.parse().map_err(|source| invalid(Some(source)))?;
        match (name.tag(), name.digest()) {
            (Some(_), None) => Ok(name),
            _ => Err(invalid(None)),
        }
    })
    .collect()
}

/// The name in a descriptor's annotations. One that is only a tag names no image.
fn name_of(descriptor: &Descriptor) -> Vec<Reference> {
    let full = descriptor.annotations.get(IMAGE_NAME);
    let short = descriptor.annotations.get(REF_NAME);
    let short = short.filter(|name| name.contains(['/', ':']));
    let name = full
        .or(short)
        .and_then(|text| text.parse::<Reference>().ok());
    let name = name.filter(|name| name.digest().is_none());
    name.map(Reference::with_default_tag).into_iter().collect()
}
