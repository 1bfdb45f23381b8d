//! `images`.

mod pattern;

use crate::prune::moment;
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use hull_image::{ImageId, PlatformImage, Summary};
use hull_spec::Digest;
use hull_spec::image::{Descriptor, Manifest};
use hull_spec::{Platform, Reference};
use jiff::Timestamp;
use pattern::path_match;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const FILTERS: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

/// What to list, and what to find out about it.
#[derive(Clone, Debug, Default)]
pub struct ImageListOptions {
    /// By name, as Docker's.
    pub filters: Filters,
    /// Also the platforms of a name besides the one it stands for, as images of their own.
    pub beside: bool,
    /// Count the containers.
    pub containers: bool,
    /// Count the bytes that other images have too.
    pub shared: bool,
    /// Tell of each image's platforms.
    pub manifests: bool,
}

/// An image in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSummary {
    /// `sha256:…`, the digest of the configuration.
    pub id: String,
    /// `busybox:latest`, shortened as Docker shows them.
    pub repo_tags: Vec<String>,
    /// `busybox@sha256:…`.
    pub repo_digests: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// From the configuration.
    pub labels: Option<BTreeMap<String, String>>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// Bytes of layers that other images have too; only when counted.
    pub shared: Option<u64>,
    /// How many containers use it; only when counted.
    pub containers: Option<u64>,
    /// What its names point at, and the platforms behind that; only when asked for.
    pub manifests: Option<Platforms>,
}

/// What a name points at, and the manifests behind that.
pub type Platforms = (Option<Descriptor>, Vec<ManifestSummary>);

/// One manifest of what a name points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestSummary {
    /// As its index describes it.
    pub descriptor: Descriptor,
    /// What it is.
    pub kind: ManifestKind,
    /// Whether its content is in the store.
    pub available: bool,
    /// Bytes of its compressed blobs and documents that are here.
    pub content: u64,
    /// Bytes of its layers, unpacked.
    pub unpacked: u64,
    /// Ids of the containers that use it.
    pub containers: Vec<String>,
}

/// What a manifest is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// An image for this platform.
    Image(Platform),
    /// What a builder states about another manifest of the index.
    Attestation(String),
    /// Something else.
    Unknown,
}

impl Engine {
    /// The images, newest first.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that makes no sense, `NotFound` for an image named by one.
    pub async fn images(self: &Arc<Self>, options: ImageListOptions) -> Result<Vec<ImageSummary>> {
        let engine = Arc::clone(self);
        if options.manifests {
            return blocking(move || engine.images_now(&options)).await;
        }
        // All is in memory.
        self.images_now(&options)
    }

    fn images_now(&self, options: &ImageListOptions) -> Result<Vec<ImageSummary>> {
        let all = self.store.summaries();
        let filter = Filter::new(&options.filters, &all)?;
        let counts = self.counts(&all, options);
        let mut listed = Vec::new();
        for image in &all {
            if (image.beside && !options.beside) || !filter.takes(image)? {
                continue;
            }
            let mut summary = filter.summary(image)?;
            summary.shared = counts.shared(image);
            if options.containers {
                summary.containers = Some(counts.users(&summary.id).len() as u64);
            }
            if options.manifests {
                summary.manifests = Some(self.manifests_of(image, &counts)?);
            }
            listed.push(summary);
        }
        listed.sort_by_key(|image| std::cmp::Reverse(image.created));
        Ok(listed)
    }

    fn counts<'a>(&self, all: &'a [Summary], options: &ImageListOptions) -> Counts<'a> {
        let sizes = all.iter().filter(|_| options.manifests);
        Counts {
            uses: options.shared.then(|| layer_uses(all)),
            layers: match options.shared {
                true => self.store.layer_sizes(),
                false => HashMap::new(),
            },
            users: (options.containers || options.manifests).then(|| self.image_users()),
            sizes: sizes.map(|image| (&image.id, image.size)).collect(),
        }
    }

    /// The containers of each image.
    fn image_users(&self) -> HashMap<String, Vec<String>> {
        let mut users: HashMap<String, Vec<String>> = HashMap::new();
        for container in self.containers() {
            let (image, id) = container.read(|r| (r.image_id.clone(), r.id.clone()));
            users.entry(image).or_default().push(id);
        }
        users
    }

    fn manifests_of(&self, image: &Summary, counts: &Counts<'_>) -> Result<Platforms> {
        let Some(target) = image.target.clone() else {
            return Ok((None, Vec::new()));
        };
        // Its own manifest need not be looked for.
        let own = image.manifest().filter(|own| own.digest == target.digest);
        let platforms = match own {
            Some(own) => vec![PlatformImage {
                manifest: Descriptor {
                    platform: Some(image.facts().platform()),
                    ..own.clone()
                },
                image: Some(image.id.clone()),
            }],
            None => {
                let platforms = self.store.platforms(&target.digest);
                platforms.map_err(super::store_error)?
            }
        };
        let summaries = platforms
            .into_iter()
            .map(|entry| self.manifest(entry, counts));
        Ok((
            Some(Descriptor::clone(&target)),
            summaries.collect::<Result<_>>()?,
        ))
    }

    /// What a name points at, and the platforms behind that; of an id its own manifest.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn image_manifests(self: &Arc<Self>, name: &str) -> Result<Platforms> {
        let (engine, name) = (Arc::clone(self), name.to_owned());
        blocking(move || {
            let id = engine.store.resolve(&name).map_err(super::store_error)?;
            let named = name.parse().ok();
            let target = named.map(|name| engine.store.target(&name)).transpose();
            let target = target.map_err(super::store_error)?.flatten();
            let all = engine.store.summaries();
            let mut found = all.iter().filter(|image| image.id == id);
            let mut image = found.next().cloned().ok_or_else(|| absent(&name))?;
            let own = || image.manifest().cloned();
            image.target = target.or_else(own).map(Arc::new);
            let options = ImageListOptions {
                manifests: true,
                ..ImageListOptions::default()
            };
            engine.manifests_of(&image, &engine.counts(&all, &options))
        })
        .await
    }

    fn manifest(&self, entry: PlatformImage, counts: &Counts<'_>) -> Result<ManifestSummary> {
        let mut summary = ManifestSummary {
            kind: kind(&entry.manifest),
            available: entry.image.is_some(),
            content: 0,
            unpacked: 0,
            containers: Vec::new(),
            descriptor: entry.manifest,
        };
        if let Some(id) = entry.image {
            summary.unpacked = counts.sizes.get(&id).copied().unwrap_or(0);
            summary.content = self.content(&summary.descriptor)?;
            summary.containers = counts.users(id.as_str());
        }
        Ok(summary)
    }

    /// Bytes of a manifest and of all that it describes.
    fn content(&self, manifest: &Descriptor) -> Result<u64> {
        let bytes = self
            .store
            .read_document(&manifest.digest)
            .map_err(super::store_error)?;
        let parsed: Manifest = super::parse_document("image manifest", &bytes)?;
        let layers: u64 = parsed.layers.iter().map(|layer| layer.size).sum();
        Ok(manifest.size + parsed.config.size + layers)
    }
}

fn kind(manifest: &Descriptor) -> ManifestKind {
    let annotation = |name: &str| manifest.annotations.get(name);
    let kind = annotation("vnd.docker.reference.type").map(String::as_str);
    if kind == Some("attestation-manifest") {
        let of = annotation("vnd.docker.reference.digest").cloned();
        return ManifestKind::Attestation(of.unwrap_or_default());
    }
    match &manifest.platform {
        Some(platform) if platform.os != "unknown" => ManifestKind::Image(platform.clone()),
        _ => ManifestKind::Unknown,
    }
}

/// How many images have each layer.
fn layer_uses(images: &[Summary]) -> HashMap<&Digest, u32> {
    let mut uses = HashMap::new();
    for image in images {
        for layer in image.layers() {
            *uses.entry(layer).or_default() += 1;
        }
    }
    uses
}

/// What the counts of a list are made from.
struct Counts<'a> {
    /// How many images have each layer.
    uses: Option<HashMap<&'a Digest, u32>>,
    /// Bytes by layer.
    layers: HashMap<String, u64>,
    /// Containers by image.
    users: Option<HashMap<String, Vec<String>>>,
    /// Bytes by image.
    sizes: HashMap<&'a ImageId, u64>,
}

impl Counts<'_> {
    fn shared(&self, image: &Summary) -> Option<u64> {
        let (uses, sizes) = (self.uses.as_ref()?, &self.layers);
        let shared = image
            .layers()
            .iter()
            .filter(|layer| uses.get(layer) > Some(&1));
        Some(shared.filter_map(|layer| sizes.get(layer.as_str())).sum())
    }

    fn users(&self, image: &str) -> Vec<String> {
        let users = self.users.as_ref().and_then(|users| users.get(image));
        users.cloned().unwrap_or_default()
    }
}

fn created(image: &Summary) -> Option<Timestamp> {
    image.facts().created.as_deref()?.parse().ok()
}

/// The filters, understood.
struct Filter<'a> {
    dangling: Option<bool>,
    labels: &'a [String],
    references: Option<&'a [String]>,
    after: Option<Option<Timestamp>>,
    before: Option<Option<Timestamp>>,
    until: Option<Timestamp>,
}

impl<'a> Filter<'a> {
    fn new(filters: &'a Filters, images: &[Summary]) -> Result<Self> {
        let mut names = filters.keys();
        if let Some(unknown) = names.find(|name| !FILTERS.contains(&name.as_str())) {
            let text = format!("invalid filter '{unknown}'");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let values = |name: &str| filters.get(name).map_or(&[][..], Vec::as_slice);
        let times = |name: &str| {
            let found = values(name).iter().map(|text| named(text, images));
            found.map(|image| image.map(created)).collect::<Result<_>>()
        };
        let (after, before): (Vec<_>, Vec<_>) = (times("since")?, times("before")?);
        Ok(Self {
            dangling: dangling(values("dangling"))?,
            labels: values("label"),
            references: filters.get("reference").map(Vec::as_slice),
            after: after.into_iter().max(),
            before: before.into_iter().min(),
            until: until(values("until"))?,
        })
    }

    fn takes(&self, image: &Summary) -> Result<bool> {
        let created = created(image);
        let labels = image.facts().labels.as_ref();
        let has = |label: &String| match label.split_once('=') {
            Some((name, value)) => labels
                .and_then(|labels| labels.get(name))
                .is_some_and(|known| known == value),
            None => labels.is_some_and(|labels| labels.contains_key(label)),
        };
        Ok(self.after.is_none_or(|time| created > time)
            && self.before.is_none_or(|time| created < time)
            && self.until.is_none_or(|time| created < Some(time))
            && self
                .dangling
                .is_none_or(|wanted| image.tags.is_empty() == wanted)
            && self.labels.iter().all(has)
            && (self.references.is_none() || self.any_name(image)?))
    }

    fn any_name(&self, image: &Summary) -> Result<bool> {
        let names = image.tags.iter().chain(&image.repo_digests);
        let mut found = false;
        for name in names {
            found |= self.shows(name)?;
        }
        Ok(found)
    }

    fn shows(&self, name: &Reference) -> Result<bool> {
        let Some(patterns) = self.references else {
            return Ok(true);
        };
        let (full, plain) = (name.familiar(), name.familiar_name());
        let mut found = false;
        for pattern in patterns {
            let fits = |text: &str| path_match(pattern.as_bytes(), text.as_bytes());
            found |= fits(&full).and_then(|fits_full| Ok(fits_full || fits(&plain)?))?;
        }
        Ok(found)
    }

    fn summary(&self, image: &Summary) -> Result<ImageSummary> {
        let shown = |names: &[Reference]| {
            let mut shown = Vec::new();
            for name in names {
                if self.shows(name)? {
                    shown.push(name.familiar());
                }
            }
            Ok::<_, Error>(shown)
        };
        Ok(ImageSummary {
            id: image.id.to_string(),
            repo_tags: shown(&image.tags)?,
            repo_digests: shown(&image.repo_digests)?,
            created: created(image),
            labels: image.facts().labels.clone(),
            size: image.size,
            ..ImageSummary::default()
        })
    }
}

fn dangling(values: &[String]) -> Result<Option<bool>> {
    let read = |value: &String| match value.as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    };
    let mut read = values.iter().map(read);
    let Some(first) = read.next() else {
        return Ok(None);
    };
    if first.is_none() || read.any(|other| other != first) {
        let text = format!("invalid filter 'dangling=[{}]'", values.join(" "));
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(first)
}

fn until(values: &[String]) -> Result<Option<Timestamp>> {
    let mut earliest = None;
    for text in values {
        let Some(time) = moment(text, Timestamp::now()) else {
            let text = format!("failed to parse value as time or duration: {text:?}");
            // dockerd's kind.
            return Err(Error::new(ErrorKind::Internal, text));
        };
        earliest = Some(earliest.map_or(time, |other: Timestamp| other.min(time)));
    }
    Ok(earliest)
}

fn absent(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("No such image: {name}"))
}

/// The image that a filter names.
fn named<'a>(text: &str, images: &'a [Summary]) -> Result<&'a Summary> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let parsed: Reference = match text.parse() {
        Ok(name) => name,
        Err(_) => {
            let mut by_id = images.iter().filter(|image| image.id.digest().hex() == hex);
            return by_id.next().ok_or_else(|| absent(text));
        }
    };
    let wanted = parsed.with_default_tag();
    let same = |name: &Reference| match wanted.digest() {
        Some(digest) => name.digest() == Some(digest) && name.name() == wanted.name(),
        None => *name == wanted,
    };
    let by_name = images
        .iter()
        .find(|image| !image.beside && image.tags.iter().chain(&image.repo_digests).any(same));
    let mut by_prefix = images
        .iter()
        .filter(|image| image.id.digest().hex().starts_with(hex));
    by_name
        .or_else(|| by_prefix.next().filter(|_| by_prefix.next().is_none()))
        .ok_or_else(|| absent(&wanted.familiar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangling_takes_one_meaning() {
        let read = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|&v| v.to_owned()).collect();
            dangling(&values).map_err(|error| error.message().to_owned())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["1", "true"]), Ok(Some(true)));
        assert_eq!(
            read(&["maybe"]),
            Err("invalid filter 'dangling=[maybe]'".to_owned())
        );
        assert_eq!(
            read(&["true", "false"]),
            Err("invalid filter 'dangling=[true false]'".to_owned())
        );
    }
}
