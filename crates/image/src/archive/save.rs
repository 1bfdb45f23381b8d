//! Writing images into an archive, as dockerd 28 does.

use super::Error;
use super::documents::{
    BLOBS, IMAGE_NAME, INDEX, Item, LAYOUT, LAYOUT_VERSION, LayerSource, MANIFEST, REF_NAME,
    REPOSITORIES, Repositories,
};
use crate::blob::digest_of;
use crate::diff::writer::{Header, Type, Writer};
use crate::image::{Image, ImageId};
use crate::store::{Hold, Store};
use hull_spec::image::{Descriptor, Index, Manifest, media_type};
use hull_spec::{Digest, Platform, Reference};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// What is read of a layer at once.
const CHUNK: usize = 1 << 20;

/// An image to be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// What its names stand for: one image, or one for each platform with the one that a container
    /// of that name gets at the front.
    pub images: Vec<ImageId>,
    /// Its names with a tag; none for an image that is saved by its id.
    pub names: Vec<Reference>,
}

/// What goes with an image in an archive: a manifest that the index names after those of images, and its documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// The manifest.
    pub descriptor: Descriptor,
    /// All documents, the manifest among them.
    pub documents: Vec<Vec<u8>>,
}

/// Says what goes with an image: the place of it among the selected ones, and its manifest.
pub type Attest<'a> = &'a dyn Fn(usize, &Descriptor) -> io::Result<Option<Beside>>;

/// An archive of which all is known but the layers' bytes. What is in it stays as long as this.
pub struct Planned<'s> {
    plan: Plan<'s>,
    _holds: Vec<Hold>,
}

impl std::fmt::Debug for Planned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Planned").field(&self.plan.index).finish()
    }
}

/// What an entry holds.
enum Content {
    Bytes(Vec<u8>),
    Layer(Digest, u64),
}

struct Entry {
    content: Content,
    /// Seconds since 1970.
    time: i64,
}

/// An archive being planned: everything that has to be known before its first byte.
struct Plan<'s> {
    store: &'s Store,
    entries: BTreeMap<String, Entry>,
    items: Vec<Item>,
    index: Vec<Descriptor>,
    repositories: Repositories,
    sizes: BTreeMap<Digest, u64>,
    newest: i64,
}

impl Store {
    /// Writes images into an archive: layers as they are unpacked, shared ones once. Nothing is kept
    /// in memory but the documents, and nothing is written to disk. Gives what the archive's index names.
    ///
    /// # Errors
    /// [`Error::Store`] when an image or layer cannot be read, [`Error::Write`].
    pub fn save(
        &self,
        selected: &[Selected],
        out: &mut dyn Write,
    ) -> Result<Vec<Descriptor>, Error> {
        let planned = self.plan_archive(selected, &|_, _| Ok(None))?;
        planned.write(out)?;
        Ok(planned.plan.index)
    }

    /// Plans an archive of images. `attest` is asked what goes with each.
    ///
    /// # Errors
    /// [`Error::Store`] when an image or layer cannot be read, [`Error::Io`] for what `attest` says.
    pub fn plan_archive(
        &self,
        selected: &[Selected],
        attest: Attest<'_>,
    ) -> Result<Planned<'_>, Error> {
        let mut plan = Plan {
            store: self,
            entries: BTreeMap::new(),
            items: Vec::new(),
            index: Vec::new(),
            repositories: Repositories::new(),
            sizes: BTreeMap::new(),
            newest: 0,
        };
        let mut holds = Vec::new();
        for image in selected {
            for id in &image.images {
                holds.extend(self.hold_image(id)?);
            }
            plan.select(image, attest)?;
        }
        plan.documents()?;
        Ok(Planned {
            plan,
            _holds: holds,
        })
    }
}

impl Planned<'_> {
    /// What the archive's index names.
    #[must_use]
    pub fn index(&self) -> &[Descriptor] {
        &self.plan.index
    }

    /// Writes it as a tar archive.
    ///
    /// # Errors
    /// [`Error::Store`] and [`Error::Read`] when a layer cannot be read, [`Error::Write`].
    pub fn write(&self, out: &mut dyn Write) -> Result<(), Error> {
        self.plan.write(out)
    }

    /// Gives its blobs, each with its digest and size, one after the other.
    ///
    /// # Errors
    /// [`Error::Store`] when a layer cannot be read, and what `put` says as [`Error::Write`].
    pub fn each_blob(
        &self,
        put: &mut dyn FnMut(&Descriptor, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), Error> {
        for (path, entry) in &self.plan.entries {
            let Some(hex) = path.strip_prefix(BLOBS) else {
                continue;
            };
            let blob = |digest, size| descriptor("application/octet-stream", &(digest, size));
            match &entry.content {
                Content::Bytes(bytes) => {
                    // Blobs are planned with the digest that their path has.
                    let digest = Digest::from_hex(hex).map_err(|_| Error::Outside(path.clone()))?;
                    let blob = blob(digest, bytes.len() as u64);
                    put(&blob, &mut bytes.as_slice()).map_err(Error::Write)?;
                }
                Content::Layer(diff_id, size) => {
                    let mut archive = self.plan.store.layer_archive(diff_id)?;
                    put(&blob(diff_id.clone(), *size), &mut archive).map_err(Error::Write)?;
                }
            }
        }
        Ok(())
    }
}

impl Plan<'_> {
    fn select(&mut self, selected: &Selected, attest: Attest<'_>) -> Result<(), Error> {
        let mut manifests = Vec::new();
        let mut attested = Vec::new();
        for (number, id) in selected.images.iter().enumerate() {
            let image = self.store.image(id)?;
            let names = if number == 0 {
                &selected.names[..]
            } else {
                &[]
            };
            let manifest = self.image(&image, names)?;
            let beside = attest(number, &manifest).map_err(|source| Error::Io {
                operation: "describe what goes with an image",
                source,
            })?;
            manifests.push(manifest);
            if let Some(beside) = beside {
                attested.push(beside.descriptor);
                for bytes in beside.documents {
                    self.blob(bytes, 0);
                }
            }
        }
        manifests.extend(attested);
        let target = match manifests.as_slice() {
            [only] => Descriptor {
                platform: None,
                ..only.clone()
            },
            _ => self.index_of(manifests)?,
        };
        let annotated = |name: &Reference| {
            let mut target = target.clone();
            let annotations = &mut target.annotations;
            annotations.insert(IMAGE_NAME.to_owned(), name.to_string());
            if let Some(tag) = name.tag() {
                annotations.insert(REF_NAME.to_owned(), tag.to_owned());
            }
            target
        };
        self.index.extend(selected.names.iter().map(annotated));
        if selected.names.is_empty() {
            self.index.push(target);
        }
        Ok(())
    }

    /// Plans one image, and gives its manifest.
    fn image(&mut self, image: &Image, names: &[Reference]) -> Result<Descriptor, Error> {
        let created = image.config.created.as_deref();
        let created = created.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let created = created.map_or(0, jiff::Timestamp::as_second);
        self.newest = self.newest.max(created);
        let config = self.blob(image.config_bytes.clone(), created);
        let mut layers = Vec::new();
        for layer in &image.layers {
            layers.push(self.layer(layer, created)?);
        }
        let blob = |digest: &Digest| format!("{BLOBS}{}", digest.hex());
        let tags = |name: &Reference| name.familiar();
        self.items.push(Item {
            config: blob(image.id.digest()),
            repo_tags: (!names.is_empty()).then(|| names.iter().map(tags).collect()),
            layers: image.layers.iter().map(blob).collect(),
            layer_sources: layers.iter().map(source_of).collect(),
        });
        if let Some(top) = image.layers.last() {
            for name in names {
                let tag = name.tag().unwrap_or_default().to_owned();
                let tags = self.repositories.entry(name.familiar_name()).or_default();
                tags.insert(tag, top.hex().to_owned());
            }
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            config: descriptor(media_type::OCI_CONFIG, &config),
            layers,
            annotations: BTreeMap::new(),
        };
        let manifest = self.json(&manifest)?;
        let platform = Platform {
            os: image.config.os.clone(),
            architecture: image.config.architecture.clone(),
            os_version: None,
            variant: image.config.variant.clone(),
        };
        Ok(Descriptor {
            platform: Some(platform),
            ..descriptor(media_type::OCI_MANIFEST, &manifest)
        })
    }

    /// Several platforms of one name.
    fn index_of(&mut self, manifests: Vec<Descriptor>) -> Result<Descriptor, Error> {
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            manifests,
            annotations: BTreeMap::new(),
        };
        let index = self.json(&index)?;
        Ok(descriptor(media_type::OCI_INDEX, &index))
    }

    fn layer(&mut self, diff_id: &Digest, created: i64) -> Result<Descriptor, Error> {
        let size = match self.sizes.get(diff_id) {
            Some(size) => *size,
            None => self.size_of(diff_id)?,
        };
        self.sizes.insert(diff_id.clone(), size);
        let content = Content::Layer(diff_id.clone(), size);
        self.entry(format!("{BLOBS}{}", diff_id.hex()), content, created);
        Ok(Descriptor {
            size,
            ..descriptor(media_type::OCI_LAYER, &(diff_id.clone(), 0))
        })
    }

    /// A header tells the size before the data: a layer of unknown size is read twice.
    fn size_of(&self, diff_id: &Digest) -> Result<u64, Error> {
        let mut archive = self.store.layer_archive(diff_id)?;
        match archive.len() {
            Some(size) => Ok(size),
            None => io::copy(&mut archive, &mut io::sink()).map_err(Error::Read),
        }
    }

    fn json(&mut self, document: &impl serde::Serialize) -> Result<(Digest, u64), Error> {
        let bytes = encode(document)?;
        Ok(self.blob(bytes, 0))
    }

    fn blob(&mut self, bytes: Vec<u8>, time: i64) -> (Digest, u64) {
        let digest = digest_of(&bytes);
        let size = bytes.len() as u64;
        let path = format!("{BLOBS}{}", digest.hex());
        self.entry(path, Content::Bytes(bytes), time);
        (digest, size)
    }

    fn entry(&mut self, path: String, content: Content, time: i64) {
        let entries = self.entries.entry(path);
        entries.or_insert(Entry { content, time });
    }

    /// The documents at the top. dockerd ends two of them with a newline.
    fn documents(&mut self) -> Result<(), Error> {
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            manifests: self.index.clone(),
            annotations: BTreeMap::new(),
        };
        let mut manifest = encode(&self.items)?;
        manifest.push(b'\n');
        let mut documents = vec![
            (INDEX, encode(&index)?),
            (LAYOUT, LAYOUT_VERSION.into()),
            (MANIFEST, manifest),
        ];
        if !self.repositories.is_empty() {
            let mut repositories = encode(&self.repositories)?;
            repositories.push(b'\n');
            documents.push((REPOSITORIES, repositories));
        }
        for (path, bytes) in documents {
            self.entry(path.to_owned(), Content::Bytes(bytes), 0);
        }
        Ok(())
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), Error> {
        let mut writer = Writer::new(out);
        for directory in ["blobs/", BLOBS] {
            let mut header = Header::new(Type::Directory, directory, 0o755, 0);
            header.mtime = self.newest;
            writer.begin(&header).map_err(Error::Write)?;
        }
        let mut buffer = vec![0; CHUNK];
        for (path, entry) in &self.entries {
            let size = match &entry.content {
                Content::Bytes(bytes) => bytes.len() as u64,
                Content::Layer(_, size) => *size,
            };
            let mut header = Header::new(Type::File, path.as_str(), 0o644, size);
            header.mtime = entry.time;
            writer.begin(&header).map_err(Error::Write)?;
            match &entry.content {
                Content::Bytes(bytes) => writer.data(bytes).map_err(Error::Write)?,
                Content::Layer(diff_id, _) => self.copy(diff_id, &mut writer, &mut buffer)?,
            }
        }
        writer.finish().map_err(Error::Write)
    }

    fn copy(
        &self,
        diff_id: &Digest,
        writer: &mut Writer<'_>,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let mut archive = self.store.layer_archive(diff_id)?;
        loop {
            match archive.read(buffer) {
                Ok(0) => break,
                Ok(count) => writer.data(&buffer[..count]).map_err(Error::Write)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        if writer.owed() > 0 {
            let text = format!("layer {diff_id} is shorter than it was");
            return Err(Error::Read(io::Error::other(text)));
        }
        Ok(())
    }
}

fn encode(document: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document).map_err(|source| Error::Parse {
        path: "document to be written".to_owned(),
        source,
    })
}

fn descriptor(media_type: &str, (digest, size): &(Digest, u64)) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.clone(),
        size: *size,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
    }
}

fn source_of(layer: &Descriptor) -> (Digest, LayerSource) {
    let source = LayerSource {
        media_type: layer.media_type.clone(),
        size: layer.size,
        digest: layer.digest.clone(),
    };
    (layer.digest.clone(), source)
}
