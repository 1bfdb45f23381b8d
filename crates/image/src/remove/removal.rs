//! Which names and images one removal takes, by Docker's rules.

use super::{Leftovers, Removed, User};
use crate::blob::digest_of;
use crate::image::ImageId;
use crate::register::choose_again;
use crate::rows::{Change, ImageRow, IndexRow};
use crate::store::{Error, name_key};
use hull_spec::{Digest, Platform, Reference};
use std::collections::{BTreeSet, HashMap};

/// One removal, inside its transaction.
pub(super) struct Removal<'a> {
    pub(super) change: &'a Change,
    /// The image that was asked for.
    pub(super) id: ImageId,
    /// Whether by its id, and not by a name.
    pub(super) by_id: bool,
    /// All containers.
    pub(super) users: &'a [User],
    /// Layers that somebody holds, and images that are pinned.
    pub(super) holds: &'a HashMap<Digest, usize>,
    /// The names that stand for the image.
    pub(super) names: Vec<Reference>,
    pub(super) removed: Vec<Removed>,
}

impl Removal<'_> {
    /// Takes names away, and tells which images have to go too.
    pub(super) fn run(&mut self, text: &str, force: bool) -> Result<Vec<ImageId>, Error> {
        if self.by_id {
            if self.is_beside() {
                return self.run_beside(std::slice::from_ref(&self.id.clone()), force);
            }
            let group = self.group(|_| true);
            if is_single(&self.names) {
                self.check(&group, false, !force)?;
                self.untag_where(|_| true)?;
            }
            return self.finish(group, force);
        }
        let name: Reference = text.parse()?;
        let key = name_key(&name);
        let group = self.group(|other| name_key(other) == key);
        self.untag_one(&name, text, &group, force)?;
        if !self.names.is_empty() {
            // Platforms that nothing but this name stood for go with it; others stay.
            let rest = group.into_iter().filter(|image| *image != self.id);
            return Ok(self.nameless(rest.collect(), true));
        }
        self.finish(group, force)
    }

    fn finish(&mut self, group: Vec<ImageId>, force: bool) -> Result<Vec<ImageId>, Error> {
        self.check(&group, !force, !force)?;
        self.untag_where(|_| true)?;
        Ok(self.nameless(group, false))
    }

    /// Removes platforms of a name, which goes with the last one.
    pub(super) fn run_platforms(
        &mut self,
        text: &str,
        platforms: &[Platform],
        force: bool,
    ) -> Result<Vec<ImageId>, Error> {
        let mut images: Vec<ImageId> = Vec::new();
        for platform in platforms {
            let image = self.change.catalog().find_for(text, platform)?;
            if !images.contains(&image) {
                images.push(image);
            }
        }
        let members = {
            let catalog = self.change.catalog();
            catalog.find(text)?.name.map(|name| catalog.members(&name))
        };
        match members {
            Some(members) if members.iter().any(|member| !images.contains(member)) => {
                self.run_beside(&images, force)
            }
            _ => self.run(text, force),
        }
    }

    /// Removes images while their names stay for other platforms.
    fn run_beside(&mut self, images: &[ImageId], force: bool) -> Result<Vec<ImageId>, Error> {
        for image in images {
            let names = self.change.catalog().names_of(image);
            let several = !force && !is_single(&names);
            self.names = if several { names } else { Vec::new() };
            self.check(std::slice::from_ref(image), several, !force)?;
        }
        Ok(images.to_vec())
    }

    /// Whether names stand for this image only as one of several platforms.
    fn is_beside(&self) -> bool {
        let catalog = self.change.catalog();
        let mut names = catalog.names.values();
        !self.names.is_empty() && !names.any(|name| name.image == self.id)
    }

    /// The image, and the other platforms behind those of its names that `which` picks.
    fn group(&self, which: impl Fn(&Reference) -> bool) -> Vec<ImageId> {
        let catalog = self.change.catalog();
        let mut group = vec![self.id.clone()];
        for name in self.names.iter().filter(|name| which(name)) {
            let Some(name) = catalog.names.get(&name_key(name)) else {
                continue;
            };
            for member in catalog.members(name) {
                if !group.contains(&member) {
                    group.push(member);
                }
            }
        }
        group
    }

    /// The images that no name stands for any more; with `unused` only those without containers.
    fn nameless(&self, group: Vec<ImageId>, unused: bool) -> Vec<ImageId> {
        let catalog = self.change.catalog();
        let used = |image: &ImageId| self.users.iter().any(|user| user.image == *image);
        let mut group = group;
        group.retain(|image| catalog.names_of(image).is_empty() && !(unused && used(image)));
        group
    }

    /// Removes one name; with the last tag of a repository its digests go too.
    fn untag_one(
        &mut self,
        name: &Reference,
        text: &str,
        group: &[ImageId],
        force: bool,
    ) -> Result<(), Error> {
        let mut users = self.users.iter();
        if !force
            && is_single(&self.names)
            && let Some(user) = users.find(|user| group.contains(&user.image))
        {
            return Err(Error::NameInUse {
                reference: text.to_owned(),
                container: short(&user.container),
                image: user.image.short().to_owned(),
            });
        }
        let key = name_key(name);
        self.untag_where(|other| name_key(other) == key)?;
        let repository = name.name();
        let tagged = |other: &Reference| other.name() == repository && other.digest().is_none();
        if name.digest().is_none() && !self.names.iter().any(tagged) {
            self.untag_where(|other| other.name() == repository)?;
        }
        Ok(())
    }

    fn untag_where(&mut self, which: impl Fn(&Reference) -> bool) -> Result<(), Error> {
        let (gone, kept) = std::mem::take(&mut self.names).into_iter().partition(which);
        self.names = kept;
        let gone: Vec<Reference> = gone;
        // dockerd tells tags before digests.
        let (digests, tags): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|name| name.digest().is_some());
        for name in tags.into_iter().chain(digests) {
            self.change.delete_name(&name_key(&name))?;
            self.removed.push(Removed::Untagged(name));
        }
        Ok(())
    }

    /// Looks for what stands in the way of removing these images: names, if those count, stopped
    /// containers, if they count, and running ones always.
    fn check(&self, images: &[ImageId], names: bool, stopped: bool) -> Result<(), Error> {
        let user = |running: bool| {
            let mut users = self.users.iter();
            users.find(|user| user.running == running && images.contains(&user.image))
        };
        if let Some(user) = user(true) {
            let reason = format!(
                "image is being used by running container {}",
                short(&user.container)
            );
            let image = user.image.short().to_owned();
            return Err(Error::HardConflict { image, reason });
        }
        if names && !self.names.is_empty() {
            let reason = "image is referenced in multiple repositories".to_owned();
            let image = self.id.short().to_owned();
            return Err(Error::SoftConflict { image, reason });
        }
        if let Some(user) = user(false).filter(|_| stopped) {
            let reason = format!(
                "image is being used by stopped container {}",
                short(&user.container)
            );
            let image = user.image.short().to_owned();
            return Err(Error::SoftConflict { image, reason });
        }
        Ok(())
    }

    /// Refuses to take images that somebody makes a container of just now, as if it were there.
    pub(super) fn check_pins(
        &self,
        images: Vec<ImageId>,
        force: bool,
    ) -> Result<Vec<ImageId>, Error> {
        let mut pinned = images
            .iter()
            .filter(|id| self.holds.contains_key(id.digest()));
        match pinned.next().filter(|_| !force) {
            None => Ok(images),
            Some(id) => Err(Error::SoftConflict {
                image: id.short().to_owned(),
                reason: "a container is being made of the image".to_owned(),
            }),
        }
    }

    /// Refuses to take images that anybody needs.
    pub(super) fn check_idle(&self, images: Vec<ImageId>) -> Result<Vec<ImageId>, Error> {
        let catalog = self.change.catalog();
        let needed = |id: &&ImageId| {
            let layers = catalog.images.get(*id).map(|row| &row.layers);
            let mut parts = layers.into_iter().flatten().chain([id.digest()]);
            self.users.iter().any(|user| user.image == **id)
                || parts.any(|part| self.holds.contains_key(part))
        };
        match images.iter().find(needed) {
            None => Ok(images),
            Some(id) => Err(Error::SoftConflict {
                image: id.short().to_owned(),
                reason: "image is being used".to_owned(),
            }),
        }
    }

    /// Deletes an image's row and those of layers that nothing else uses. Names that stood for it
    /// now stand for another of their platforms.
    pub(super) fn delete(&mut self, id: &ImageId, leftovers: &mut Leftovers) -> Result<(), Error> {
        let row = self.change.catalog().images.get(id).cloned();
        let row = row.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
        self.change.delete_image(id)?;
        self.leave_indexes(id)?;
        self.removed.push(Removed::Deleted(id.digest().clone()));
        self.report_chain(&row);
        let used = self.change.used_layers()?;
        for layer in row.layers.iter().rev() {
            if used.contains(layer) || self.holds.contains_key(layer) {
                continue;
            }
            if let Some(gone) = self.change.layer(layer)? {
                self.change.delete_layer(layer.as_str())?;
                leftovers.blobs.extend(gone.owned_blobs(layer));
                leftovers.layers.push(layer.clone());
            }
        }
        Ok(())
    }

    fn leave_indexes(&self, id: &ImageId) -> Result<(), Error> {
        let left: Vec<(Digest, IndexRow)> = {
            let catalog = self.change.catalog();
            let indexes = catalog.indexes.iter();
            let with = indexes.filter(|(_, row)| row.members.iter().any(|m| m.image == *id));
            with.map(|(digest, row)| (digest.clone(), IndexRow::clone(row)))
                .collect()
        };
        for (digest, mut row) in left {
            row.members.retain(|member| member.image != *id);
            self.change.put_index(&digest, &row)?;
            choose_again(self.change, &digest)?;
        }
        Ok(())
    }

    /// Docker lists the chain ids that no other image has, the topmost first.
    fn report_chain(&mut self, row: &ImageRow) {
        let chain = chain_ids(&row.layers);
        let catalog = self.change.catalog();
        let shared = |length: usize| {
            let mut others = catalog.images.values();
            others.any(|other| other.layers.get(..length) == row.layers.get(..length))
        };
        for (index, id) in chain.into_iter().enumerate().rev() {
            if shared(index + 1) {
                break;
            }
            self.removed.push(Removed::Deleted(id));
        }
    }
}

/// The chain id of each layer (image-spec, "Layer ChainID"), the base first.
pub(super) fn chain_ids(layers: &[Digest]) -> Vec<Digest> {
    let mut ids: Vec<Digest> = Vec::with_capacity(layers.len());
    for layer in layers {
        let id = match ids.last() {
            None => layer.clone(),
            Some(parent) => digest_of(format!("{parent} {layer}").as_bytes()),
        };
        ids.push(id);
    }
    ids
}

/// Whether an image has one name, or all its names are one tag and the digests of its repository.
fn is_single(names: &[Reference]) -> bool {
    if names.len() <= 1 {
        return true;
    }
    let (digests, tags): (Vec<&Reference>, Vec<&Reference>) =
        names.iter().partition(|name| name.digest().is_some());
    let repositories: BTreeSet<String> = digests.iter().map(|name| name.name()).collect();
    let single = match tags.as_slice() {
        [] => digests[0],
        [tag] => tag,
        _ => return false,
    };
    repositories.len() == 1 && repositories.contains(&single.name())
}

fn short(container: &str) -> String {
    container.chars().take(12).collect()
}
