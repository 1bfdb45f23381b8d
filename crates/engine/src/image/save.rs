//! `save`.

use super::archive_error;
use crate::stream::{Outgoing, written_by};
use crate::{Engine, Error, ErrorKind, Platform, Reference, Result, blocking};
use hull_image::archive::Selected;
use hull_image::{Image, ImageId};
use std::sync::Arc;

impl Engine {
    /// Writes images into an archive: each of `names` is a name, a repository with all its tags, or
    /// an id. Dropping the stream ends it.
    ///
    /// # Errors
    /// `NotFound`, for a platform too; later ones are the stream's last element.
    pub async fn save(
        self: &Arc<Self>,
        names: Vec<String>,
        platform: Option<Platform>,
    ) -> Result<Outgoing> {
        let engine = Arc::clone(self);
        let selected = blocking(move || engine.selected(&names, platform.as_ref())).await?;
        let engine = Arc::clone(self);
        Ok(written_by(move |out| {
            engine.store.save(&selected, out).map_err(archive_error)?;
            for id in selected.iter().filter_map(|image| image.images.first()) {
                engine.tell_about_image("save", id, id.as_str());
            }
            Ok(())
        }))
    }

    fn selected(&self, names: &[String], platform: Option<&Platform>) -> Result<Vec<Selected>> {
        let mut selected: Vec<Selected> = Vec::new();
        for name in names {
            for (images, name) in self.named(name, platform)? {
                let known = selected.iter_mut().find(|known| known.images == images);
                match (known, name) {
                    (Some(known), Some(name)) if !known.names.contains(&name) => {
                        known.names.push(name);
                    }
                    (Some(_), _) => {}
                    (None, name) => selected.push(Selected {
                        images,
                        names: name.into_iter().collect(),
                    }),
                }
            }
        }
        Ok(selected)
    }

    /// What one argument of `save` stands for.
    fn named(
        &self,
        text: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<(Vec<ImageId>, Option<Reference>)>> {
        let id = self.store.resolve(text);
        let name: Option<Reference> = text.parse().ok();
        let is_repository = |name: &Reference| name.tag().is_none() && name.digest().is_none();
        // A repository is all its tags.
        if let Some(repository) = name.as_ref().filter(|name| is_repository(name)) {
            let mut tags = Vec::new();
            for image in self.store.summaries() {
                let of_it = |tag: &&Reference| tag.name() == repository.name();
                tags.extend(image.tags.iter().filter(of_it).cloned());
            }
            tags.sort_by_key(Reference::familiar);
            tags.dedup();
            if !tags.is_empty() {
                return tags
                    .into_iter()
                    .map(|tag| Ok((self.images_of(&tag.to_string(), platform)?, Some(tag))))
                    .collect();
            }
        }
        let id = id.map_err(|error| match error {
            hull_image::Error::NoSuchImage(_) => {
                Error::new(ErrorKind::NotFound, format!("No such image: {text}"))
            }
            // dockerd answers 500 here.
            hull_image::Error::InvalidReference(error) => {
                Error::new(ErrorKind::Internal, error.to_string())
            }
            error => super::store_error(error),
        })?;
        let image = self.store.image(&id).map_err(super::store_error)?;
        let tagged = |name: &Reference| image.tags.contains(name);
        let name = name.map(Reference::with_default_tag).filter(tagged);
        Ok(vec![(self.images_of(text, platform)?, name)])
    }

    /// The images of a name: those of all platforms that are here, or of the one that is asked for.
    fn images_of(&self, text: &str, platform: Option<&Platform>) -> Result<Vec<ImageId>> {
        let store = &self.store;
        if let Some(platform) = platform {
            let id = store.resolve_for(text, Some(platform));
            let wrong = |error| match error {
                hull_image::Error::WrongPlatform { .. } => archive_error(
                    hull_image::archive::Error::NothingToSave(platform.to_string()),
                ),
                error => super::store_error(error),
            };
            let id = id.map_err(wrong)?;
            let image: Image = store.image(&id).map_err(super::store_error)?;
            let own = hull_image::Facts::of(&image.config).platform();
            if own.distance(platform).is_none() {
                let error = hull_image::archive::Error::NothingToSave(platform.to_string());
                return Err(archive_error(error));
            }
            return Ok(vec![id]);
        }
        let first = store.resolve(text).map_err(super::store_error)?;
        let mut images = vec![first.clone()];
        let target = text.parse::<Reference>().ok();
        let target = target.and_then(|name| store.target(&name).ok().flatten());
        if let Some(target) = target {
            let platforms = store.platforms(&target.digest).unwrap_or_default();
            let others = platforms.into_iter().filter_map(|platform| platform.image);
            for image in others {
                if !images.contains(&image) {
                    images.push(image);
                }
            }
        }
        Ok(images)
    }
}
