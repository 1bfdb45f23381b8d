//! `images`.

use crate::prune::moment;
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use hull_image::Summary;
use hull_spec::Digest;
use hull_spec::image::{Descriptor, Manifest};
use hull_spec::{Platform, Reference};
use jiff::Timestamp;
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
    pub manifests: Option<(Option<Descriptor>, Vec<ManifestSummary>)>,
}

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
        let uses = options.shared.then(|| layer_uses(&all));
        let containers = (options.containers || options.manifests).then(|| self.image_users());
        let mut listed = Vec::new();
        for image in &all {
            if (image.beside && !options.beside) || !filter.takes(image)? {
                continue;
            }
            let mut summary = filter.summary(image)?;
            summary.shared = uses.as_ref().map(|uses| shared(image, uses));
            let users = containers.as_ref();
            if options.containers {
                summary.containers = users.map(|users| {
                    users
                        .get(image.id.as_str())
                        .map_or(0, |users| users.len() as u64)
                });
            }
            if let Some(users) = users.filter(|_| options.manifests) {
                summary.manifests = Some(self.manifests_of(image, users)?);
            }
            listed.push(summary);
        }
        listed.sort_by_key(|image| std::cmp::Reverse(image.created));
        Ok(listed)
    }

    /// The containers of each image.
    pub(super) fn image_users(&self) -> HashMap<String, Vec<String>> {
        let mut users: HashMap<String, Vec<String>> = HashMap::new();
        for container in self.containers() {
            let (image, id) = container.read(|r| (r.image_id.clone(), r.id.clone()));
            users.entry(image).or_default().push(id);
        }
        users
    }

    fn manifests_of(
        &self,
        image: &Summary,
        users: &HashMap<String, Vec<String>>,
    ) -> Result<(Option<Descriptor>, Vec<ManifestSummary>)> {
        let Some(target) = image.target.clone() else {
            return Ok((None, Vec::new()));
        };
        let summaries = self.manifests(&target.digest, users)?;
        Ok((Some(target), summaries))
    }

    /// The platforms behind a document that a name points at.
    pub(super) fn manifests(
        &self,
        target: &Digest,
        users: &HashMap<String, Vec<String>>,
    ) -> Result<Vec<ManifestSummary>> {
        let platforms = self.store.platforms(target).map_err(super::store_error)?;
        platforms
            .into_iter()
            .map(|entry| {
                let mut summary = ManifestSummary {
                    kind: kind(&entry.manifest),
                    available: entry.image.is_some(),
                    content: 0,
                    unpacked: 0,
                    containers: Vec::new(),
                    descriptor: entry.manifest,
                };
                if let Some(id) = entry.image {
                    let image = self.store.image(&id).map_err(super::store_error)?;
                    summary.unpacked = image.size;
                    summary.content = self.content(&summary.descriptor)?;
                    summary.containers = users.get(id.as_str()).cloned().unwrap_or_default();
                }
                Ok(summary)
            })
            .collect()
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
        for layer in &image.layers {
            *uses.entry(layer).or_default() += 1;
        }
    }
    uses
}

fn shared(image: &Summary, uses: &HashMap<&Digest, u32>) -> u64 {
    let layers = image.layers.iter().zip(&image.layer_sizes);
    let shared = layers.filter(|(layer, _)| uses.get(layer) > Some(&1));
    shared.map(|(_, size)| size).sum()
}

fn created(image: &Summary) -> Option<Timestamp> {
    image.facts.created.as_deref()?.parse().ok()
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
        let labels = image.facts.labels.as_ref();
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
            labels: image.facts.labels.clone(),
            size: image.size(),
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

/// The image that a filter names.
fn named<'a>(text: &str, images: &'a [Summary]) -> Result<&'a Summary> {
    let absent = |name: String| Error::new(ErrorKind::NotFound, format!("No such image: {name}"));
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let parsed: Reference = match text.parse() {
        Ok(name) => name,
        Err(_) => {
            let mut by_id = images.iter().filter(|image| image.id.digest().hex() == hex);
            return by_id.next().ok_or_else(|| absent(text.to_owned()));
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
        .ok_or_else(|| absent(wanted.familiar()))
}

/// Go's `path.Match`: `*` and `?` not over slashes, `[a-z]` and `[^a-z]`, backslash before what is
/// meant literally.
///
/// # Errors
/// A pattern that is none; dockerd answers 500.
fn path_match(pattern: &[u8], text: &[u8]) -> Result<bool> {
    let bad = || Error::new(ErrorKind::Internal, "syntax error in pattern");
    match pattern.split_first() {
        None => Ok(text.is_empty()),
        Some((b'*', rest)) => {
            let longest = text.iter().take_while(|byte| **byte != b'/').count();
            for taken in 0..=longest {
                if path_match(rest, &text[taken..])? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Some((b'[', rest)) => {
            let (fits, rest) =
                class(rest, text.first().copied().unwrap_or_default()).ok_or_else(bad)?;
            match text.split_first() {
                Some((byte, tail)) if fits && *byte != b'/' => path_match(rest, tail),
                _ => Ok(false),
            }
        }
        Some((b'?', rest)) => match text.split_first() {
            Some((byte, tail)) if *byte != b'/' => path_match(rest, tail),
            _ => Ok(false),
        },
        Some((first, rest)) => {
            let (wanted, rest) = if *first == b'\\' {
                rest.split_first().ok_or_else(bad)?
            } else {
                (first, rest)
            };
            match text.split_first() {
                Some((byte, tail)) if byte == wanted => path_match(rest, tail),
                _ => Ok(false),
            }
        }
    }
}

/// Whether a byte is in the class whose text begins after `[`, and what follows it; `None` when it
/// has no end.
fn class(mut rest: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    fn one(rest: &[u8]) -> Option<(u8, &[u8])> {
        let (first, rest) = rest.split_first()?;
        match first {
            b'\\' => rest.split_first().map(|(byte, rest)| (*byte, rest)),
            b'-' | b']' => None,
            byte => Some((*byte, rest)),
        }
    }
    let negated = rest.first() == Some(&b'^');
    rest = rest.get(usize::from(negated)..)?;
    let mut found = false;
    let mut ranges = 0;
    loop {
        if rest.first() == Some(&b']') && ranges > 0 {
            return Some((found != negated, &rest[1..]));
        }
        let (low, after) = one(rest)?;
        let (high, after) = match after.first() {
            Some(b'-') => one(&after[1..])?,
            _ => (low, after),
        };
        rest = after;
        found |= (low..=high).contains(&byte);
        ranges += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_gos() {
        let fits = |pattern: &str, text: &str| {
            path_match(pattern.as_bytes(), text.as_bytes()).map_err(|_| ())
        };
        for (pattern, text) in [
            ("busybox:latest", "busybox:latest"),
            ("busy*:l?test", "busybox:latest"),
            ("127.0.0.1:5000/*/app", "127.0.0.1:5000/team/app"),
            ("b[a-c]", "bb"),
            ("b[^a-c]", "bd"),
            ("\\*", "*"),
            ("[\\]]", "]"),
        ] {
            assert_eq!(fits(pattern, text), Ok(true), "{pattern}");
        }
        for (pattern, text) in [
            ("*app", "team/app"),
            ("b[a-c]", "bd"),
            ("a?", "a"),
            ("", "a"),
        ] {
            assert_eq!(fits(pattern, text), Ok(false), "{pattern}");
        }
        for pattern in ["[a", "[]a]", "a\\", "[-x]"] {
            assert_eq!(fits(pattern, "a"), Err(()), "{pattern}");
        }
    }

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
