//! From what steps wrote to images. A step becomes a layer once, for all images that have it; several at the
//! same time. The config is the frontend's, with what only now is known: layers and times.

use super::index::Part;
use super::tree::pieces;
use crate::container::diff_error;
use crate::{Engine, Error, ErrorKind, Reference, Result};
use hull_build::solve::Solution;
use hull_build::world::{Piece, WorldError};
use hull_image::archive::{Planned, Selected, pipe};
use hull_image::diff::Times;
use hull_image::{Hold, ImageId, Registration};
use hull_spec::Digest;
use hull_spec::image::{Descriptor, History, Layers};
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// An image that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id, the digest of its config.
    pub id: Digest,
    /// Its config.
    pub config: Vec<u8>,
    /// Whether the store did not have it before.
    pub new: bool,
}

/// An image that was written into an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedImage {
    /// Its id, the digest of its config; of several that of the first.
    pub id: Digest,
    /// What the archive's index says of it.
    pub descriptor: Descriptor,
}

/// A layer of a new image.
pub(super) struct Layer {
    pub(super) diff_id: Digest,
    made: Option<Timestamp>,
    /// Keeps it until the image's row does.
    _hold: Option<Hold>,
}

impl Layer {
    pub(super) fn diff_id(&self) -> &Digest {
        &self.diff_id
    }
}

fn internal(text: &str) -> Error {
    Error::new(ErrorKind::Internal, text)
}

pub(super) fn world_error(error: &WorldError) -> Error {
    let kind = match error {
        WorldError::NotFound(_) => ErrorKind::NotFound,
        WorldError::Invalid(_) => ErrorKind::InvalidInput,
        WorldError::Unsupported(_) => ErrorKind::NotImplemented,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, error.full_message())
}

impl Engine {
    /// Makes an image of files and a config, and gives it names. With an `epoch`, seconds since 1970, all that was
    /// built is of that time: the config, and files that are newer. Blocking.
    ///
    /// # Errors
    /// `InvalidInput` for a config that is none, `Internal` for what cannot be read or written.
    pub fn export_image(
        self: &Arc<Self>,
        files: Option<&Solution>,
        config: &[u8],
        names: &[Reference],
        epoch: Option<i64>,
    ) -> Result<Made> {
        let layers = match files.map(|files| &files.tree) {
            None => Vec::new(),
            Some(tree) => {
                let pieces = pieces(tree).map_err(|error| world_error(&error))?;
                self.layers_of(pieces, epoch)?
            }
        };
        let epoch = epoch.map(Timestamp::from_second).transpose();
        let epoch = epoch.map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "invalid SOURCE_DATE_EPOCH").caused_by(error)
        })?;
        let config = completed(config, &layers, epoch)?;
        let known = Digest::from_sha256(&Sha256::digest(&config).into());
        let new = self.store.image(&ImageId::new(known)).is_err();
        let registered = self.store.register(&Registration {
            config: &config,
            names,
            ..Registration::default()
        });
        drop(layers);
        let id = registered.map_err(crate::image::store_error)?;
        for name in names {
            self.tell_about_image("tag", &id, &name.familiar());
        }
        Ok(Made {
            id: ImageId::digest(&id).clone(),
            config,
            new,
        })
    }

    /// Writes images of files and a config, one for each platform, into an archive: an OCI layout that is Docker's
    /// archive as well, with what is attested of them. The images themselves do not stay, unless they were there
    /// before. Blocking.
    ///
    /// # Errors
    /// As [`Engine::export_image`].
    pub fn export_archive(
        self: &Arc<Self>,
        parts: &[Part<'_>],
        epoch: Option<i64>,
        names: &[Reference],
        out: &mut dyn io::Write,
    ) -> Result<ArchivedImage> {
        self.export_planned(parts, epoch, names, &mut |planned| planned.write(out))
    }

    /// As [`Engine::export_archive`], as blobs that `put` gets with their digests and sizes: those of an OCI layout
    /// in a directory. Its index is to name what is given back.
    ///
    /// # Errors
    /// As [`Engine::export_image`], and what `put` says.
    pub fn export_layout(
        self: &Arc<Self>,
        parts: &[Part<'_>],
        epoch: Option<i64>,
        names: &[Reference],
        put: &mut dyn FnMut(&Descriptor, &mut dyn io::Read) -> io::Result<()>,
    ) -> Result<ArchivedImage> {
        self.export_planned(parts, epoch, names, &mut |planned| planned.each_blob(put))
    }

    fn export_planned(
        self: &Arc<Self>,
        parts: &[Part<'_>],
        epoch: Option<i64>,
        names: &[Reference],
        give: &mut dyn FnMut(&Planned<'_>) -> Result<(), hull_image::archive::Error>,
    ) -> Result<ArchivedImage> {
        let mut made = Vec::with_capacity(parts.len());
        let given = parts.iter().try_for_each(|part| {
            made.push(self.export_image(part.files, part.config, &[], epoch)?);
            Ok(())
        });
        let given = given.and_then(|()| {
            let ids = made.iter().map(|made| ImageId::new(made.id.clone()));
            let selected = Selected {
                images: ids.collect(),
                names: names.to_vec(),
            };
            let attest = |place: usize, manifest: &Descriptor| match parts.get(place) {
                Some(part) => part.beside(manifest, names).map_err(io::Error::other),
                None => Ok(None),
            };
            let planned = self.store.plan_archive(&[selected], &attest);
            let planned = planned.map_err(crate::image::archive_error)?;
            give(&planned).map_err(crate::image::archive_error)?;
            Ok(planned.index().first().cloned())
        });
        for made in made.iter().filter(|made| made.new) {
            self.forget_nameless(&ImageId::new(made.id.clone()));
        }
        let none = || internal("an archive without an image");
        Ok(ArchivedImage {
            descriptor: given?.ok_or_else(none)?,
            id: made.into_iter().next().ok_or_else(none)?.id,
        })
    }

    /// Removes an image that nobody has given a name to or made a container of in the meantime.
    fn forget_nameless(&self, id: &ImageId) {
        let users = self.users();
        let unused = users.iter().all(|user| user.image != *id);
        let nameless = |image: hull_image::Image| image.tags.is_empty();
        if unused && self.store.image(id).is_ok_and(nameless) {
            match self.store.remove(id.as_str(), false, &users) {
                Ok(removed) => self.tell_removed(&removed),
                Err(error) => tracing::debug!(%error, "an image of an archive stays"),
            }
        }
    }

    /// The layers of pieces; those that are steps are made, several at once.
    pub(super) fn layers_of(&self, pieces: &[Piece], epoch: Option<i64>) -> Result<Vec<Layer>> {
        let next = AtomicUsize::new(0);
        let made: Mutex<Vec<Option<Result<Layer>>>> =
            Mutex::new(pieces.iter().map(|_| None).collect());
        let work = || {
            while let Some((place, piece)) = {
                let place = next.fetch_add(1, Ordering::Relaxed);
                pieces.get(place).map(|piece| (place, piece))
            } {
                let layer = self.layer_of_piece(piece, epoch);
                made.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(layer);
            }
        };
        let steps = pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Step(_)));
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        std::thread::scope(|scope| {
            for _ in 1..threads.min(steps.count()) {
                scope.spawn(work);
            }
            work();
        });
        let made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        let missing = || internal("a layer was not made");
        made.into_iter()
            .map(|layer| layer.ok_or_else(missing)?)
            .collect()
    }

    /// A layer of what is in a piece now: what is in a cache mount changes.
    pub(super) fn fresh_layer(&self, piece: &Piece) -> Result<Digest> {
        match piece {
            Piece::Layer(diff_id) => Ok(diff_id.clone()),
            Piece::Step(step) => Ok(self.layer_of_step(step, None)?.diff_id().clone()),
        }
    }

    fn layer_of_piece(&self, piece: &Piece, epoch: Option<i64>) -> Result<Layer> {
        let step = match piece {
            Piece::Layer(diff_id) => {
                return Ok(Layer {
                    diff_id: diff_id.clone(),
                    made: None,
                    _hold: None,
                });
            }
            Piece::Step(step) => step,
        };
        let known = self.builds.cache.step(step, epoch);
        let made = known.as_ref().map(|(made, _)| *made);
        if let Some((_, Some(diff_id))) = known
            && let Some(hold) = self.store.hold_layer(&diff_id)
        {
            return Ok(Layer {
                diff_id,
                made,
                _hold: Some(hold),
            });
        }
        let hold = self.layer_of_step(step, epoch)?;
        self.builds.cache.set_layer(step, epoch, hold.diff_id());
        Ok(Layer {
            diff_id: hold.diff_id().clone(),
            made,
            _hold: Some(hold),
        })
    }

    /// Makes a layer of what a step wrote: the archive goes from one thread to the other.
    fn layer_of_step(&self, step: &str, epoch: Option<i64>) -> Result<Hold> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let upper = rustix::fs::open(self.step_upper(step), flags, Mode::empty());
        let upper = upper.map_err(|e| {
            internal("what a step wrote is not there").caused_by(io::Error::from(e))
        })?;
        let times = epoch.map_or(Times::Own, Times::NotAfter);
        let (mut writer, mut reader) = pipe();
        std::thread::scope(|scope| {
            let upper = &upper;
            let written = scope.spawn(move || {
                let result = hull_image::diff::exact_layer(upper.as_fd(), times, &mut writer);
                if result.is_err() {
                    writer.fail(io::Error::other("a step's files could not be read"));
                }
                result
            });
            let imported = self.store.import_layer(&mut reader, None);
            // Should the import have failed, the writer must not wait for it.
            drop(reader);
            match (imported, written.join()) {
                (_, Err(_)) => Err(internal("reading files panicked")),
                (Ok(layer), Ok(Ok(()))) => Ok(layer.hold),
                (Err(error), Ok(Ok(()) | Err(hull_image::diff::Error::Write(_)))) => {
                    Err(crate::image::archive_error(error.into()))
                }
                (_, Ok(Err(error))) => Err(diff_error(error)),
            }
        })
    }
}

/// The config with layers and times, its members sorted as BuildKit writes them.
pub(super) fn completed(
    config: &[u8],
    layers: &[Layer],
    epoch: Option<Timestamp>,
) -> Result<Vec<u8>> {
    let invalid = |error: serde_json::Error| {
        Error::new(ErrorKind::InvalidInput, "failed to parse image config").caused_by(error)
    };
    let mut members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(config).map_err(invalid)?;
    let history = match members.get("history") {
        Some(history) => serde_json::from_str::<Option<Vec<History>>>(history.get()),
        None => Ok(None),
    };
    let (history, created) = times(history.map_err(invalid)?.unwrap_or_default(), layers, epoch);
    let rootfs = Layers {
        kind: "layers".to_owned(),
        diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
    };
    let mut set = |name: &str, value: Result<Box<RawValue>, serde_json::Error>| {
        value
            .map(|value| members.insert(name.to_owned(), value))
            .map(drop)
    };
    set("rootfs", serde_json::value::to_raw_value(&rootfs))
        .and_then(|()| set("history", serde_json::value::to_raw_value(&history)))
        .and_then(|()| set("created", serde_json::value::to_raw_value(&created)))
        .map_err(invalid)?;
    serde_json::to_vec(&members).map_err(invalid)
}

/// Gives all entries of the history a time, by BuildKit's rules: an entry with a layer that of its layer, one
/// without that of the entry before; before the first new layer, that one's.
fn times(
    mut history: Vec<History>,
    layers: &[Layer],
    epoch: Option<Timestamp>,
) -> (Vec<History>, String) {
    let with_layers = history.iter().filter(|entry| !entry.empty_layer).count();
    for _ in with_layers..layers.len() {
        history.push(History {
            comment: Some("buildkit.exporter.image.v0".to_owned()),
            ..History::default()
        });
    }
    let first = layers.iter().find_map(|layer| layer.made);
    let now = first.unwrap_or_else(Timestamp::now);
    let text = |time: Timestamp| epoch.unwrap_or(time).to_string();
    let mut own = layers.iter();
    for entry in history.iter_mut().filter(|entry| !entry.empty_layer) {
        let made = own.next().and_then(|layer| layer.made);
        if entry.created.is_none() {
            entry.created = Some(text(made.unwrap_or(now)));
        }
    }
    let mut current = first.map(text);
    let mut seen_new = false;
    for entry in &mut history {
        match &entry.created {
            Some(created) if seen_new || first.is_none() => current = Some(created.clone()),
            Some(created) => seen_new = Some(created) == current.as_ref(),
            None => entry.created = Some(current.clone().unwrap_or_else(|| text(now))),
        }
    }
    let last = history.iter().rev().find_map(|entry| entry.created.clone());
    (history, last.unwrap_or_else(|| text(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: u8, made: Option<i64>) -> Layer {
        Layer {
            diff_id: Digest::from_sha256(&[name; 32]),
            made: made.map(|second| Timestamp::from_second(second).unwrap()),
            _hold: None,
        }
    }

    #[test]
    fn a_config_gets_its_layers_and_times() {
        let config = br#"{"os":"linux","history":[{"created":"1970-01-01T00:00:01Z","created_by":"base"},
            {"created_by":"ENV a=b","empty_layer":true},{"created_by":"RUN x"},{"created_by":"CMD y","empty_layer":true}],
            "architecture":"amd64","config":{"Env":["a=b"]}}"#;
        let layers = [layer(1, None), layer(2, Some(10))];
        let made = completed(config, &layers, None).unwrap();
        let text = String::from_utf8(made).unwrap();
        let times: Vec<&str> = text.matches("1970-01-01T00:00:10Z").collect();
        assert_eq!(times.len(), 4, "{text}");
        assert!(text.starts_with(r#"{"architecture":"amd64","config":{"Env":["a=b"]},"created":"#));
        assert!(text.contains(&"02".repeat(32)));
        let epoch = Some(Timestamp::from_second(5).unwrap());
        let text = String::from_utf8(completed(config, &layers, epoch).unwrap()).unwrap();
        assert_eq!(text.matches("1970-01-01T00:00:05Z").count(), 4, "{text}");
    }

    #[test]
    fn a_config_that_is_none_is_refused() {
        assert!(completed(b"[]", &[], None).is_err());
    }
}
