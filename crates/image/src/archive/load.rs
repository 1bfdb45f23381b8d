//! Reading images from an archive.

use super::Error;
use super::gather::{Gather, Gathered};
use super::plan::{Document, Planned, plan};
use crate::image::{ImageId, Registration};
use crate::store::Store;
use hull_spec::image::{Descriptor, Manifest};
use hull_spec::{Digest, Platform, Reference};
use std::collections::HashMap;
use std::io::BufRead;

/// How to load.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions<'a> {
    /// Only images that serve this platform.
    pub platform: Option<&'a Platform>,
}

/// How far a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    /// The layer.
    pub diff_id: Digest,
    /// Bytes of its entry that were read.
    pub current: u64,
    /// Bytes of its entry.
    pub total: u64,
}

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: ImageId,
    /// The names it came with.
    pub names: Vec<Reference>,
    /// Which of them another image had until now, and which one.
    pub replaced: Vec<(Reference, ImageId)>,
}

impl Store {
    /// Adds the images of an archive, which is plain here (see [`super::decompressed`]); `told` hears
    /// of the layers that are new. Everything is checked before the first image is registered.
    ///
    /// # Errors
    /// See [`Error`]; the layers that came until then are removed again.
    pub fn load(
        &self,
        input: &mut dyn BufRead,
        options: LoadOptions<'_>,
        told: &mut dyn FnMut(Loading),
    ) -> Result<Vec<Loaded>, Error> {
        let mut gather = Gather {
            store: self,
            told,
            found: Gathered::default(),
        };
        let read = gather.run(input);
        let mut found = gather.found;
        let loaded = read
            .and_then(|()| plan(&mut found, options.platform))
            .and_then(|images| self.register_all(&mut found, &images));
        let added = std::mem::take(&mut found.added);
        // With the holds: what no image has taken can go.
        drop(found);
        if let Err(error) = self.discard_layers(&added) {
            tracing::warn!(%error, "cannot remove layers that no image needs");
        }
        loaded
    }

    fn register_all(&self, found: &mut Gathered, images: &[Planned]) -> Result<Vec<Loaded>, Error> {
        for image in images {
            self.keep_blobs(found, image)?;
        }
        let names = images.iter().flat_map(|image| &image.names);
        let mut named: HashMap<&Reference, ImageId> = names
            .filter_map(|name| Some((name, self.resolve(&name.to_string()).ok()?)))
            .collect();
        let registrations: Vec<Registration<'_>> = images.iter().map(registration).collect();
        let ids = self.register_all_of(&registrations)?;
        let loaded = images.iter().zip(ids).map(|(image, id)| {
            let replaced = image.names.iter().filter_map(|name| {
                let old = named.remove(name)?;
                (old != id).then(|| (name.clone(), old))
            });
            Loaded {
                replaced: replaced.collect(),
                names: image.names.clone(),
                id,
            }
        });
        Ok(loaded.collect())
    }

    /// Gives the compressed layers of an image's manifest to the store.
    fn keep_blobs(&self, found: &mut Gathered, image: &Planned) -> Result<(), Error> {
        // The layers have their archives without them.
        if self.inner.options.drop_compressed {
            return Ok(());
        }
        let Some((_, bytes)) = &image.manifest else {
            return Ok(());
        };
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|source| Error::Parse {
            path: "manifest".to_owned(),
            source,
        })?;
        for (descriptor, (diff_id, entry)) in manifest.layers.iter().zip(&image.layers) {
            if let Some(blob) = &found.layer(entry)?.blob
                && blob.digest == descriptor.digest
                && blob.path.exists()
            {
                let descriptor = Descriptor {
                    size: blob.size,
                    ..descriptor.clone()
                };
                self.add_layer_blob(diff_id, &descriptor, &blob.path)?;
            }
        }
        Ok(())
    }
}

fn registration(image: &Planned) -> Registration<'_> {
    Registration {
        index: borrowed(image.index.as_deref()),
        manifest: borrowed(image.manifest.as_ref()),
        config: &image.config,
        names: &image.names,
        ..Registration::default()
    }
}

fn borrowed(document: Option<&Document>) -> Option<(&Descriptor, &[u8])> {
    document.map(|(descriptor, bytes)| (descriptor, bytes.as_slice()))
}
