//! Caches of other machines: in registries, or wherever the build's client has them.
//!
//! ```text
//! export: results ─► layers of their steps ─► place ◄─ config (what the results are) ◄─ manifest
//!         inline: the same in the image's own config; its layers are the image's
//! import: manifest, config ─► results by key; the layers of one are brought when its files are needed
//! ```
//!
//! The manifest and its config are those of BuildKit's caches (`application/vnd.buildkit.cacheconfig.v0`), with a member
//! of ours: keys of BuildKit's are made in another way, so neither finds what the other has made.

use super::cache_mount;
use super::index::described;
use super::tree::pieces;
use crate::{Engine, Platform};
use hull_build::cache::Entry;
use hull_build::graph::{Graph, MountKind, Op};
use hull_build::portable::{Elsewhere, Portable, PortableMount, PortableResult};
use hull_build::solve::Solution;
use hull_build::world::{Piece, Tree, WorldError, WorldResult};
use hull_spec::Digest;
use hull_spec::image::{Descriptor, Index, Manifest, media_type as mt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read};
use std::sync::Arc;

/// What a cache's config is, to BuildKit too.
const CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The digest of a layer's archive, among the annotations of its blob.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// The member of an image's config that has the results of its steps.
const INLINE: &str = "io.hull.cache.v0";

/// A place that caches are in. All calls block.
pub trait CachePlace: Send + Sync {
    /// The manifest or index that is there.
    ///
    /// # Errors
    /// [`WorldError::NotFound`] when there is none.
    fn manifest(&self) -> WorldResult<Vec<u8>>;

    /// A short blob, checked.
    ///
    /// # Errors
    /// What the place says.
    fn document(&self, blob: &Descriptor) -> WorldResult<Vec<u8>>;

    /// A blob. Who reads it checks it.
    ///
    /// # Errors
    /// What the place says.
    fn blob(&self, blob: &Descriptor) -> WorldResult<Box<dyn Read + Send>>;

    /// Brings layers of the store there; gives their blobs, in the same order.
    ///
    /// # Errors
    /// What the place says.
    fn put_layers(&self, layers: &[Digest]) -> WorldResult<Vec<Descriptor>>;

    /// Brings a short blob there.
    ///
    /// # Errors
    /// What the place says.
    fn put_document(&self, blob: &Descriptor, bytes: &[u8]) -> WorldResult<()>;

    /// Brings the manifest there, after all that it names.
    ///
    /// # Errors
    /// What the place says.
    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> WorldResult<()>;
}

/// A cache's config.
#[derive(Default, Serialize, Deserialize)]
struct Config {
    /// BuildKit's table of blobs.
    #[serde(default)]
    layers: Vec<ConfigLayer>,
    #[serde(default)]
    records: Vec<serde_json::Value>,
    hull: Option<Box<RawValue>>,
}

#[derive(Serialize, Deserialize)]
struct ConfigLayer {
    blob: Digest,
    #[serde(rename = "parentIndex")]
    parent: i64,
}

/// A cache of another machine.
pub struct ImportedCache {
    place: Arc<dyn CachePlace>,
    results: Elsewhere,
    mounts: HashMap<String, Digest>,
    /// Blobs by the digests of the layers that they unpack to.
    blobs: HashMap<Digest, Descriptor>,
}

impl std::fmt::Debug for ImportedCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportedCache").finish_non_exhaustive()
    }
}

/// What of a build is exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheExtent {
    /// The results of all steps, and the caches that steps had mounted; else only of those whose files are the image's.
    pub all: bool,
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> WorldError {
    WorldError::caused("invalid cache", error)
}

pub(super) fn failed(error: &crate::Error) -> WorldError {
    WorldError::other(error.full_message())
}

impl ImportedCache {
    /// Reads what a place has.
    ///
    /// # Errors
    /// When nothing is there, or nothing of ours.
    pub fn open(place: Arc<dyn CachePlace>) -> WorldResult<Self> {
        let manifest = place_manifest(&*place)?;
        let config = place.document(&manifest.config)?;
        let (document, layers) = match manifest.config.media_type.as_str() {
            CONFIG => {
                let config: Config = serde_json::from_slice(&config).map_err(invalid)?;
                let layer = |blob: &Descriptor| blob.annotations.get(UNCOMPRESSED)?.parse().ok();
                (config.hull, manifest.layers.iter().map(layer).collect())
            }
            _ => inline(&config)?,
        };
        let none = || WorldError::NotFound("there is no cache of Hull's".to_owned());
        let document = document.ok_or_else(none)?;
        let document = Portable::read(document.get().as_bytes()).map_err(invalid)?;
        let layers: Vec<Option<Digest>> = layers;
        let named = layers.into_iter().zip(manifest.layers);
        let mounts = document.mounts.iter();
        Ok(Self {
            place,
            mounts: mounts
                .map(|mount| (mount.name.clone(), mount.layer.clone()))
                .collect(),
            results: Elsewhere::new(vec![document]),
            blobs: named
                .filter_map(|(layer, blob)| Some((layer?, blob)))
                .collect(),
        })
    }

    /// What the config of an image in the store says, if that is there and says something.
    ///
    /// # Errors
    /// For a document that is none.
    pub fn of_image(engine: &Engine, name: &crate::Reference) -> WorldResult<Option<Self>> {
        let found = engine.store.resolve(&name.to_string());
        let Ok(image) = found.and_then(|id| engine.store.image(&id)) else {
            return Ok(None);
        };
        let (Some(document), layers) = inline(&image.config_bytes)? else {
            return Ok(None);
        };
        let document = Portable::read(document.get().as_bytes()).map_err(invalid)?;
        let here = |layer| (layer, described(mt::OCI_LAYER, &[]));
        Ok(Some(Self {
            place: Arc::new(Store),
            mounts: HashMap::new(),
            results: Elsewhere::new(vec![document]),
            blobs: layers.into_iter().flatten().map(here).collect(),
        }))
    }

    /// A result, by its key.
    #[must_use]
    pub fn find(&self, key: &Digest) -> Option<&PortableResult> {
        self.results.find(key).filter(|found| self.has(found))
    }

    /// Whether it has all layers of a result.
    #[must_use]
    pub fn has(&self, result: &PortableResult) -> bool {
        result.layers().all(|layer| self.blobs.contains_key(layer))
    }

    /// Brings a result's layers into the store.
    ///
    /// # Errors
    /// What the place says, and for layers that are not what they are said to be.
    pub fn bring(&self, engine: &Engine, result: &PortableResult) -> WorldResult<Entry> {
        if result.outputs.is_none() {
            let text = format!("the files of {} were not exported", result.description);
            return Err(WorldError::NotFound(text));
        }
        for layer in result.layers() {
            self.bring_layer(engine, layer)?;
        }
        Ok(result.entry())
    }

    /// The files of a cache that steps had mounted there.
    ///
    /// # Errors
    /// As [`ImportedCache::bring`].
    pub fn mount(&self, engine: &Engine, name: &str) -> WorldResult<Option<Tree>> {
        let Some(layer) = self.mounts.get(name) else {
            return Ok(None);
        };
        self.bring_layer(engine, layer)?;
        Ok(Some(Tree::Pieces(vec![Piece::Layer(layer.clone())])))
    }

    fn bring_layer(&self, engine: &Engine, layer: &Digest) -> WorldResult<()> {
        if engine.store.has_layer(layer) {
            return Ok(());
        }
        let blob = self.blobs.get(layer);
        let blob = blob.ok_or_else(|| WorldError::NotFound(format!("layer {layer}: not found")))?;
        let bytes = self.place.blob(blob)?;
        let imported = engine
            .store
            .import_layer(&mut BufReader::new(bytes), Some(layer));
        imported.map(drop).map_err(|error| {
            let error = crate::image::archive_error(error.into());
            WorldError::other(format!("layer {layer}: {}", error.full_message()))
        })
    }
}

/// The store itself, where layers are already.
struct Store;

impl CachePlace for Store {
    fn manifest(&self) -> WorldResult<Vec<u8>> {
        Err(gone())
    }

    fn document(&self, _: &Descriptor) -> WorldResult<Vec<u8>> {
        Err(gone())
    }

    fn blob(&self, _: &Descriptor) -> WorldResult<Box<dyn Read + Send>> {
        Err(gone())
    }

    fn put_layers(&self, _: &[Digest]) -> WorldResult<Vec<Descriptor>> {
        Err(gone())
    }

    fn put_document(&self, _: &Descriptor, _: &[u8]) -> WorldResult<()> {
        Err(gone())
    }

    fn put_manifest(&self, _: &Descriptor, _: &[u8]) -> WorldResult<()> {
        Err(gone())
    }
}

fn gone() -> WorldError {
    WorldError::NotFound("the image is not there any more".to_owned())
}

/// The manifest of a place; of an index, the one for this machine.
fn place_manifest(place: &dyn CachePlace) -> WorldResult<Manifest> {
    let bytes = place.manifest()?;
    let Ok(index) = serde_json::from_slice::<Index>(&bytes) else {
        return serde_json::from_slice(&bytes).map_err(invalid);
    };
    let host = Platform::host();
    let own = |one: &&Descriptor| {
        let platform = one.platform.as_ref();
        platform.is_none_or(|platform| platform.distance(&host).is_some())
    };
    let found = index.manifests.iter().find(own);
    let none = || WorldError::NotFound(format!("there is no cache for {host}"));
    let bytes = place.document(found.ok_or_else(none)?)?;
    serde_json::from_slice(&bytes).map_err(invalid)
}

type Inline = (Option<Box<RawValue>>, Vec<Option<Digest>>);

/// What an image's config says of the cache, and its layers.
fn inline(config: &[u8]) -> WorldResult<Inline> {
    #[derive(Deserialize)]
    struct Image {
        #[serde(rename = "io.hull.cache.v0")]
        cache: Option<Box<RawValue>>,
        rootfs: hull_spec::image::Layers,
    }
    let image: Image = serde_json::from_slice(config).map_err(invalid)?;
    Ok((
        image.cache,
        image.rootfs.diff_ids.into_iter().map(Some).collect(),
    ))
}

impl Engine {
    /// Exports the cache of what was solved. Gives its manifest.
    ///
    /// # Errors
    /// What the place says, and what cannot be read.
    pub fn export_cache(
        &self,
        solved: &[(&Graph, &Solution)],
        extent: CacheExtent,
        place: &dyn CachePlace,
    ) -> WorldResult<Descriptor> {
        let mut document = self.portable(solved, extent, None)?;
        if extent.all {
            document.mounts = self.portable_mounts(solved)?;
        }
        let layers = document.layers();
        let mut blobs = place.put_layers(&layers)?;
        for (blob, layer) in blobs.iter_mut().zip(&layers) {
            let annotations = &mut blob.annotations;
            annotations.insert(UNCOMPRESSED.to_owned(), layer.to_string());
        }
        let config = Config {
            layers: blobs
                .iter()
                .map(|blob| ConfigLayer {
                    blob: blob.digest.clone(),
                    parent: -1,
                })
                .collect(),
            records: Vec::new(),
            hull: Some(serde_json::value::to_raw_value(&document).map_err(invalid)?),
        };
        let config = serde_json::to_vec(&config).map_err(invalid)?;
        let about = described(CONFIG, &config);
        place.put_document(&about, &config)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(mt::OCI_MANIFEST.to_owned()),
            config: about,
            layers: blobs,
            annotations: BTreeMap::new(),
        };
        let manifest = serde_json::to_vec(&manifest).map_err(invalid)?;
        let about = described(mt::OCI_MANIFEST, &manifest);
        place.put_manifest(&about, &manifest)?;
        Ok(about)
    }

    /// An image's config with the results of its steps in it, whose layers are no later than `epoch`, seconds since 1970,
    /// as the image's are.
    ///
    /// # Errors
    /// For a config that is none, and for what cannot be read.
    pub fn with_inline_cache(
        &self,
        config: &[u8],
        solved: (&Graph, &Solution),
        epoch: Option<i64>,
    ) -> WorldResult<Vec<u8>> {
        let document = self.portable(&[solved], CacheExtent::default(), epoch)?;
        let mut members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(config).map_err(invalid)?;
        let document = serde_json::value::to_raw_value(&document).map_err(invalid)?;
        members.insert(INLINE.to_owned(), document);
        serde_json::to_vec(&members).map_err(invalid)
    }

    /// The results, whose steps become layers.
    fn portable(
        &self,
        solved: &[(&Graph, &Solution)],
        extent: CacheExtent,
        epoch: Option<i64>,
    ) -> WorldResult<Portable> {
        let mut own = std::collections::HashSet::new();
        let mut ids = Vec::new();
        for (_, solution) in solved {
            own.extend(pieces(&solution.tree)?.iter().cloned());
            let id = solution.id.rsplit_once('#').map_or("", |(id, _)| id);
            ids.push(id.to_owned());
        }
        let entries = self.builds.cache.with_parents(&ids);
        let wanted = |piece: &Piece| extent.all || own.contains(piece);
        let mut all: Vec<Piece> = entries
            .iter()
            .flat_map(|entry| entry.outputs.iter().flatten())
            .filter(|piece| wanted(piece))
            .cloned()
            .collect();
        all.sort();
        all.dedup();
        let layers = self
            .layers_of(&all, epoch)
            .map_err(|error| failed(&error))?;
        let mut by_step = BTreeMap::new();
        for (piece, layer) in all.iter().zip(&layers) {
            if let Piece::Step(step) = piece {
                by_step.insert(step.clone(), layer.diff_id().clone());
            }
        }
        Ok(Portable::of(&entries, &by_step))
    }

    /// The caches that steps of these graphs mount, as layers.
    fn portable_mounts(&self, solved: &[(&Graph, &Solution)]) -> WorldResult<Vec<PortableMount>> {
        let vertices = solved.iter().flat_map(|(graph, _)| graph.vertices());
        let mut ids: Vec<&String> = vertices
            .filter_map(|vertex| match &vertex.op {
                Op::Exec(exec) => Some(&exec.mounts),
                _ => None,
            })
            .flatten()
            .filter_map(|mount| match &mount.kind {
                MountKind::Cache { id, .. } => Some(id),
                _ => None,
            })
            .collect();
        ids.sort();
        ids.dedup();
        let mut mounts = Vec::new();
        for id in ids {
            let name = cache_mount::first_name(id);
            let key = cache_mount::key_of(&name);
            let Some((entry, _pin)) = self.builds.cache.find(&key) else {
                continue;
            };
            for piece in entry.outputs.iter().flatten() {
                // What is written meanwhile may be in it or not: so it is with a cache.
                let layer = self.fresh_layer(piece).map_err(|error| failed(&error))?;
                let name = name.clone();
                mounts.push(PortableMount { name, layer });
            }
        }
        Ok(mounts)
    }
}
