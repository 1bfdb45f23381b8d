//! Caches that a build's client names: where results are looked for, and where they go.

use super::builds::Build;
use super::export::{Solved, Told};
use super::keeper::{Keeper, Store};
use bollard_buildkit_proto::moby::buildkit::v1::CacheOptionsEntry;
use hull_engine::build::cache::Entry;
use hull_engine::build::graph::Graph;
use hull_engine::build::portable::PortableResult;
use hull_engine::build::solve::Solution;
use hull_engine::build::world::{Job, Tree, WorldError, WorldResult};
use hull_engine::build::{CacheExtent, CachePlace, ImportedCache, RegistryPlace, credentials};
use hull_engine::image::Descriptor;
use hull_engine::{Digest, Engine, Reference};
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, OnceLock};
use tonic::Status;

/// The caches in which a build looks for results. They are opened when one is first looked for.
#[derive(Debug)]
pub(super) struct Imports {
    engine: Arc<Engine>,
    wanted: Vec<CacheOptionsEntry>,
    opened: OnceLock<Vec<ImportedCache>>,
}

impl Imports {
    pub(super) fn new(engine: &Arc<Engine>, wanted: Vec<CacheOptionsEntry>) -> Self {
        Self {
            engine: Arc::clone(engine),
            wanted,
            opened: OnceLock::new(),
        }
    }

    /// A result that one of them has, by its key.
    pub(super) fn find(
        &self,
        client: &dyn Keeper,
        key: &Digest,
        job: &Job<'_>,
    ) -> Option<PortableResult> {
        let caches = self.opened(client, job);
        caches.iter().find_map(|cache| cache.find(key)).cloned()
    }

    /// Brings a result's layers here, from the first that can.
    ///
    /// # Errors
    /// What the last one said.
    pub(super) fn bring(
        &self,
        client: &dyn Keeper,
        result: &PortableResult,
        job: &Job<'_>,
    ) -> WorldResult<Entry> {
        let caches = self.opened(client, job).iter();
        let mut last = WorldError::NotFound(format!("no cache has {}", result.description));
        for cache in caches.filter(|cache| cache.has(result)) {
            match cache.bring(&self.engine, result) {
                Err(error) => last = error,
                brought => return brought,
            }
        }
        Err(last)
    }

    /// What is in a cache that steps mount, by its name.
    ///
    /// # Errors
    /// What the place says that has it.
    pub(super) fn mount(
        &self,
        client: &dyn Keeper,
        name: &str,
        job: &Job<'_>,
    ) -> WorldResult<Option<Tree>> {
        for cache in self.opened(client, job) {
            if let Some(tree) = cache.mount(&self.engine, name)? {
                return Ok(Some(tree));
            }
        }
        Ok(None)
    }

    /// They. Who comes second waits. One that cannot be read is told of, and not used.
    fn opened(&self, client: &dyn Keeper, job: &Job<'_>) -> &[ImportedCache] {
        if self.wanted.is_empty() {
            return &[];
        }
        self.opened.get_or_init(|| {
            let open = |wanted: &CacheOptionsEntry| {
                let told = Told::begin(job.watch, &importing(wanted));
                let opened = self.open(wanted, client);
                let failed = opened.as_ref().err();
                let failed = failed.map(|error| Status::unknown(error.full_message()));
                told.end(failed.as_ref());
                opened.ok()
            };
            self.wanted.iter().filter_map(open).collect()
        })
    }

    fn open(&self, wanted: &CacheOptionsEntry, client: &dyn Keeper) -> WorldResult<ImportedCache> {
        let place: Arc<dyn CachePlace> = match wanted.r#type.as_str() {
            "registry" => {
                let name = reference(wanted)?;
                if let Some(known) = ImportedCache::of_image(&self.engine, &name)? {
                    return Ok(known);
                }
                Arc::new(registry(&self.engine, name, client)?)
            }
            "local" => Arc::new(Directory {
                engine: Arc::clone(&self.engine),
                store: content(client, attribute(wanted, "src")?)?,
                manifest: Some(attribute(wanted, "digest")?.to_owned()),
            }),
            other => return Err(unknown("importer", other)),
        };
        ImportedCache::open(place)
    }
}

fn importing(wanted: &CacheOptionsEntry) -> String {
    let name = match wanted.r#type.as_str() {
        "registry" => "ref",
        _ => "src",
    };
    let place = wanted.attrs.get(name).unwrap_or(&wanted.r#type);
    format!("importing cache manifest from {place}")
}

fn unknown(what: &str, kind: &str) -> WorldError {
    WorldError::Unsupported(format!(
        "unknown cache {what}: {kind:?}: Hull has inline, registry and local"
    ))
}

fn attribute<'a>(entry: &'a CacheOptionsEntry, name: &str) -> WorldResult<&'a str> {
    let found = entry.attrs.get(name).map(String::as_str);
    found
        .filter(|text| !text.is_empty())
        .ok_or_else(|| WorldError::Invalid(format!("{} cache requires {name}", entry.r#type)))
}

fn reference(entry: &CacheOptionsEntry) -> WorldResult<Reference> {
    let name: Reference = attribute(entry, "ref")?
        .parse()
        .map_err(|error: hull_engine::InvalidReference| WorldError::Invalid(error.to_string()))?;
    Ok(name.with_default_tag())
}

fn registry(
    engine: &Arc<Engine>,
    name: Reference,
    client: &dyn Keeper,
) -> WorldResult<RegistryPlace> {
    let login = client.credentials(name.domain())?;
    let runtime = client.runtime().clone();
    Ok(RegistryPlace::new(
        engine,
        name,
        credentials(login),
        runtime,
    ))
}

/// A directory of the client's, which has blobs.
fn content(client: &dyn Keeper, directory: &str) -> WorldResult<Box<dyn Store>> {
    client.store(&format!("local:{directory}"))
}

/// A cache in a directory of the client's.
struct Directory {
    engine: Arc<Engine>,
    store: Box<dyn Store>,
    /// The digest of its manifest.
    manifest: Option<String>,
}

impl CachePlace for Directory {
    fn manifest(&self) -> WorldResult<Vec<u8>> {
        let digest = self.manifest.as_deref().unwrap_or_default();
        let digest: Digest = digest
            .parse()
            .map_err(|_| WorldError::Invalid(format!("invalid digest {digest:?}")))?;
        self.store.document(&digest)
    }

    fn document(&self, blob: &Descriptor) -> WorldResult<Vec<u8>> {
        self.store.document(&blob.digest)
    }

    fn blob(&self, blob: &Descriptor) -> WorldResult<Box<dyn Read + Send>> {
        self.store.read(&blob.digest)
    }

    fn put_layers(&self, layers: &[Digest]) -> WorldResult<Vec<Descriptor>> {
        let put = |layer: &Digest| {
            let failed = |error: hull_engine::Error| WorldError::other(error.full_message());
            let (blob, path) = self.engine.layer_blob(layer).map_err(failed)?;
            let mut file = fs_err::File::open(path)
                .map_err(|error| WorldError::caused("open a layer", error))?;
            self.store.write(&blob, &mut file)?;
            Ok(blob)
        };
        layers.iter().map(put).collect()
    }

    fn put_document(&self, blob: &Descriptor, mut bytes: &[u8]) -> WorldResult<()> {
        self.store.write(blob, &mut bytes)
    }

    fn put_manifest(&self, manifest: &Descriptor, mut bytes: &[u8]) -> WorldResult<()> {
        self.store.write(manifest, &mut bytes)
    }
}

/// An export of a cache, checked before anything is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CacheTarget {
    place: TargetPlace,
    extent: CacheExtent,
    /// Whether a build goes on when its cache cannot be exported.
    optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TargetPlace {
    /// The image itself says it.
    Inline,
    Registry(Reference),
    Directory(String),
}

impl CacheTarget {
    /// # Errors
    /// For one that there is not, and for attributes that make no sense.
    pub(super) fn parse(entry: &CacheOptionsEntry) -> Result<Self, Status> {
        let invalid = |error: WorldError| Status::invalid_argument(error.to_string());
        let place = match entry.r#type.as_str() {
            "inline" => TargetPlace::Inline,
            "registry" => TargetPlace::Registry(reference(entry).map_err(invalid)?),
            "local" => {
                let directory = attribute(entry, "dest").map_err(invalid)?;
                TargetPlace::Directory(directory.to_owned())
            }
            other => return Err(invalid(unknown("exporter", other))),
        };
        let value = |name: &str| entry.attrs.get(name).map_or("", String::as_str);
        let all = match value("mode") {
            "" | "min" => false,
            "max" => true,
            other => {
                let text = format!("unknown cache mode {other:?}");
                return Err(Status::invalid_argument(text));
            }
        };
        Ok(Self {
            place,
            extent: CacheExtent { all },
            optional: value("ignore-error") == "true",
        })
    }
}

/// What becomes of a build's cache.
pub(super) struct Caches<'a> {
    pub(super) targets: &'a [CacheTarget],
    /// Whose places they are.
    pub(super) client: &'a dyn Keeper,
}

impl<'a> Caches<'a> {
    /// One after the other.
    pub(super) fn each(&self) -> Vec<CacheExport<'a>> {
        let one = |target| CacheExport {
            target,
            client: self.client,
        };
        self.targets.iter().map(one).collect()
    }
}

/// One export.
pub(super) struct CacheExport<'a> {
    target: &'a CacheTarget,
    client: &'a dyn Keeper,
}

impl CacheExport<'_> {
    /// Whether the image's config gets it.
    pub(super) fn is_inline(&self) -> bool {
        self.target.place == TargetPlace::Inline
    }

    /// Exports what was solved; what clients are told of it. Blocks.
    ///
    /// # Errors
    /// What the place says.
    pub(super) fn export(
        &self,
        engine: &Arc<Engine>,
        build: &Build,
        solved: &[Solved<'_>],
    ) -> Result<HashMap<String, String>, Status> {
        let title = match &self.target.place {
            TargetPlace::Inline => return Ok(HashMap::new()),
            TargetPlace::Registry(_) => "exporting cache to registry",
            TargetPlace::Directory(_) => "exporting cache to client directory",
        };
        let told = Told::begin(&*build.context.watch, title);
        let exported = self.put(engine, solved);
        let exported = exported.map_err(|error| {
            Status::unknown(format!("error writing cache: {}", error.full_message()))
        });
        told.end(exported.as_ref().err());
        match exported {
            Err(_) if self.target.optional => Ok(HashMap::new()),
            Err(status) => Err(status),
            Ok(manifest) => {
                let text = serde_json::to_string(&manifest)
                    .map_err(|error| Status::internal(error.to_string()))?;
                Ok(HashMap::from([("cache.manifest".to_owned(), text)]))
            }
        }
    }

    fn put(&self, engine: &Arc<Engine>, solved: &[Solved<'_>]) -> WorldResult<Descriptor> {
        let client = self.client;
        let files: Vec<(&Graph, &Solution)> = solved.iter().filter_map(Solved::files).collect();
        let place: Box<dyn CachePlace> = match &self.target.place {
            TargetPlace::Registry(name) => Box::new(registry(engine, name.clone(), client)?),
            TargetPlace::Directory(directory) => Box::new(Directory {
                engine: Arc::clone(engine),
                store: content(client, directory)?,
                manifest: None,
            }),
            TargetPlace::Inline => return Err(unknown("exporter", "inline")),
        };
        engine.export_cache(&files, self.target.extent, &*place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, attributes: &[(&str, &str)]) -> CacheOptionsEntry {
        let attributes = attributes.iter();
        CacheOptionsEntry {
            r#type: kind.to_owned(),
            attrs: attributes
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn exports_are_read() {
        let read = CacheTarget::parse(&entry("registry", &[("ref", "a/b"), ("mode", "max")]));
        let read = read.unwrap();
        assert!(read.extent.all && !read.optional);
        let TargetPlace::Registry(name) = read.place else {
            panic!("a registry");
        };
        assert_eq!(name.to_string(), "docker.io/a/b:latest");
        let inline = CacheTarget::parse(&entry("inline", &[])).unwrap();
        assert_eq!(inline.place, TargetPlace::Inline);
        for (kind, attribute, text) in [
            ("registry", ("x", ""), "requires ref"),
            ("registry", ("ref", "A B"), "invalid"),
            ("local", ("src", "x"), "requires dest"),
            ("inline", ("mode", "some"), "unknown cache mode"),
            ("s3", ("a", "b"), "unknown cache exporter"),
        ] {
            let status = CacheTarget::parse(&entry(kind, &[attribute])).unwrap_err();
            assert!(status.message().contains(text), "{status:?}");
        }
    }
}
