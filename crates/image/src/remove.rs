//! Removal of images, by Docker's rules, and of what nothing uses any more.

use crate::blob::digest_of;
use crate::image::ImageId;
use crate::rows::{Change, ImageRow};
use crate::store::{Error, Store, name_key, names_of};
use hull_spec::{Digest, Reference};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long an interrupted pull may rest before the next opening of the store removes its parts.
const RESUME_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// One row of Docker's answer to a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone.
    Untagged(Reference),
    /// An image (its id) or a layer (its chain id) is gone.
    Deleted(Digest),
}

/// A container, as far as it stands in an image's way.
#[derive(Clone, Debug)]
pub struct User {
    /// Its id.
    pub container: String,
    /// Its image.
    pub image: ImageId,
    /// Whether it runs (or is paused, or restarting).
    pub running: bool,
}

/// Which conflicts count; those of running containers always do.
#[derive(Clone, Copy)]
struct Soft {
    names: bool,
    stopped: bool,
}

/// Files to discard once the transaction that disowned them is committed.
#[derive(Default)]
struct Leftovers {
    blobs: Vec<Digest>,
    layers: Vec<Digest>,
}

impl Store {
    /// Removes what `text` says: a name, or the image when it is an id or its last name.
    /// `users` are all containers there are.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], the conflicts, and failures of the file system and the database.
    pub fn remove(&self, text: &str, force: bool, users: &[User]) -> Result<Vec<Removed>, Error> {
        let id = self.resolve(text)?;
        // Locked until the rows are gone: see `Inner::holds`.
        let holds = self.inner.holds();
        let (removed, leftovers) = self.inner.rows.write(|change| {
            let mut removal = Removal {
                change,
                id: &id,
                users: users.iter().filter(|user| user.image == id).collect(),
                names: names_of(&id, &change.names()?),
                removed: Vec::new(),
            };
            let leftovers = if removal.run(text, force)? {
                let held = |layer: &Digest| holds.contains_key(layer);
                removal.delete(&held)?
            } else {
                Leftovers::default()
            };
            Ok((removal.removed, leftovers))
        })?;
        drop(holds);
        self.discard(leftovers);
        Ok(removed)
    }

    /// Removes layers that no image, snapshot or pull uses. Returns the bytes their files held.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn prune_layers(&self) -> Result<u64, Error> {
        self.prune_layers_older_than(Duration::ZERO)
    }

    fn prune_layers_older_than(&self, age: Duration) -> Result<u64, Error> {
        let now = jiff::Timestamp::now().as_second();
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        let holds = self.inner.holds();
        let (freed, leftovers) = self.inner.rows.write(|change| {
            let used = change.used_layers()?;
            let mut freed = 0;
            let mut leftovers = Leftovers::default();
            for (key, row) in change.layers()? {
                let Ok(diff_id) = key.parse::<Digest>() else {
                    continue;
                };
                if used.contains(&diff_id)
                    || holds.contains_key(&diff_id)
                    || now.saturating_sub(row.unpacked_at) < age
                {
                    continue;
                }
                change.delete_layer(&key)?;
                freed += row.size;
                leftovers.blobs.extend(row.owned_blobs(&diff_id));
                leftovers.layers.push(diff_id);
            }
            Ok((freed, leftovers))
        })?;
        drop(holds);
        self.discard(leftovers);
        Ok(freed)
    }

    /// Nothing owns these files any more; should this fail, the next opening finds them.
    fn discard(&self, leftovers: Leftovers) {
        let layers = leftovers.layers.iter().map(|layer| self.layer_path(layer));
        let blobs = leftovers.blobs.iter().map(|blob| self.blob_path(blob));
        for path in layers.chain(blobs) {
            self.discard_or_warn(&path);
        }
    }

    /// Discards files that nothing owns.
    pub(crate) fn discard_or_warn(&self, path: &Path) {
        if let Err(error) = self.inner.trash.discard(path) {
            tracing::warn!(%error, "cannot discard; the next start tries again");
        }
    }

    /// Removes what no row owns; only while nobody else uses the store.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        let failed = |source| Error::io("sweep image store", source);
        self.prune_layers_older_than(RESUME_WINDOW)?;
        let rows = &self.inner.rows;
        let layers = rows.layers()?;
        let hex = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_owned();
        let layer_dirs: BTreeSet<String> = layers.keys().map(|key| hex(key)).collect();
        let mut blobs: BTreeSet<String> = layers
            .iter()
            .filter_map(|(key, row)| Some(row.owned_blobs(&key.parse().ok()?)))
            .flatten()
            .map(|digest| digest.hex().to_owned())
            .collect();
        for (id, row) in rows.images()? {
            blobs.insert(hex(&id));
            blobs.extend(
                row.manifest
                    .map(|manifest| manifest.digest.hex().to_owned()),
            );
        }
        let snapshots: BTreeSet<String> = rows.snapshots()?.into_keys().collect();
        let root = &self.inner.root;
        self.keep_only(&root.join("layers"), |name, _| layer_dirs.contains(name))
            .map_err(failed)?;
        self.keep_only(self.inner.blobs.dir(), |name, _| blobs.contains(name))
            .map_err(failed)?;
        self.keep_only(&root.join("snapshots"), |name, _| snapshots.contains(name))
            .map_err(failed)?;
        self.keep_only(&root.join("ingest"), |name, modified| {
            let age = SystemTime::now().duration_since(modified);
            Digest::from_hex(name).is_ok() && age.is_ok_and(|age| age < RESUME_WINDOW)
        })
        .map_err(failed)?;
        self.forget_lost(layer_dirs, snapshots)
    }

    fn keep_only(&self, dir: &Path, keep: impl Fn(&str, SystemTime) -> bool) -> io::Result<()> {
        for entry in fs_err::read_dir(dir)? {
            let entry = entry?;
            let modified = entry.metadata()?.modified()?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| keep(name, modified)) {
                self.inner.trash.discard(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Deletes rows whose files are gone, so that a pull fetches a lost layer again.
    fn forget_lost(
        &self,
        layers: BTreeSet<String>,
        snapshots: BTreeSet<String>,
    ) -> Result<(), Error> {
        let root = &self.inner.root;
        let lost = |dir: &str, names: BTreeSet<String>| -> Vec<String> {
            let dir = root.join(dir);
            names
                .into_iter()
                .filter(|name| !dir.join(name).is_dir())
                .collect()
        };
        let (layers, snapshots) = (lost("layers", layers), lost("snapshots", snapshots));
        if layers.is_empty() && snapshots.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            ?layers,
            ?snapshots,
            "files are missing; forgetting their records"
        );
        self.inner.rows.write(|change| {
            for layer in &layers {
                change.delete_layer(&format!("sha256:{layer}"))?;
            }
            for snapshot in &snapshots {
                change.delete_snapshot(snapshot)?;
            }
            Ok(())
        })
    }
}

/// One removal, inside its transaction.
struct Removal<'a> {
    change: &'a Change,
    id: &'a ImageId,
    /// The containers of this image.
    users: Vec<&'a User>,
    names: Vec<Reference>,
    removed: Vec<Removed>,
}

impl Removal<'_> {
    /// Takes names away, and tells whether the image itself has to go too.
    fn run(&mut self, text: &str, force: bool) -> Result<bool, Error> {
        if is_id_prefix(self.id, text) {
            if is_single(&self.names) {
                self.check(Soft {
                    names: false,
                    stopped: !force,
                })?;
                self.untag_where(|_| true)?;
            }
        } else {
            let name: Reference = text.parse()?;
            self.untag_one(&name, text, force)?;
            if !self.names.is_empty() {
                return Ok(false);
            }
        }
        self.check(Soft {
            names: !force,
            stopped: !force,
        })?;
        self.untag_where(|_| true)?;
        Ok(true)
    }

    /// Removes one name; with the last tag of a repository its digests go too.
    fn untag_one(&mut self, name: &Reference, text: &str, force: bool) -> Result<(), Error> {
        if !force
            && is_single(&self.names)
            && let Some(user) = self.users.first()
        {
            return Err(Error::NameInUse {
                reference: text.to_owned(),
                container: short(&user.container),
                image: self.id.short().to_owned(),
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
        for name in gone {
            self.change.delete_name(&name_key(&name))?;
            self.removed.push(Removed::Untagged(name));
        }
        Ok(())
    }

    fn check(&self, soft: Soft) -> Result<(), Error> {
        let image = self.id.short().to_owned();
        let user = |running| self.users.iter().find(|user| user.running == running);
        if let Some(user) = user(true) {
            let reason = format!(
                "image is being used by running container {}",
                short(&user.container)
            );
            return Err(Error::HardConflict { image, reason });
        }
        if soft.names && !self.names.is_empty() {
            let reason = "image is referenced in multiple repositories".to_owned();
            return Err(Error::SoftConflict { image, reason });
        }
        if let Some(user) = user(false).filter(|_| soft.stopped) {
            let reason = format!(
                "image is being used by stopped container {}",
                short(&user.container)
            );
            return Err(Error::SoftConflict { image, reason });
        }
        Ok(())
    }

    /// Deletes the image's row and those of layers that nothing else uses.
    fn delete(&mut self, held: &dyn Fn(&Digest) -> bool) -> Result<Leftovers, Error> {
        let row = self.change.image(self.id)?;
        let Some(row) = row else {
            return Err(Error::NoSuchImage(self.id.to_string()));
        };
        self.change.delete_image(self.id)?;
        self.removed
            .push(Removed::Deleted(self.id.digest().clone()));
        let others = self.change.images()?;
        let mut leftovers = Leftovers::default();
        leftovers.blobs.push(self.id.digest().clone());
        let manifest = row
            .manifest
            .as_ref()
            .map(|manifest| manifest.digest.clone());
        let still_named = |digest: &Digest| {
            let manifests = others.values().filter_map(|o| o.manifest.as_ref());
            manifests.into_iter().any(|m| m.digest == *digest)
        };
        leftovers
            .blobs
            .extend(manifest.filter(|digest| !still_named(digest)));
        self.report_chain(&row, &others);
        let used = self.change.used_layers()?;
        let mut rows = self.change.layers()?;
        for layer in row.layers.iter().rev() {
            if used.contains(layer) || held(layer) {
                continue;
            }
            if let Some(gone) = rows.remove(layer.as_str()) {
                self.change.delete_layer(layer.as_str())?;
                leftovers.blobs.extend(gone.owned_blobs(layer));
                leftovers.layers.push(layer.clone());
            }
        }
        Ok(leftovers)
    }

    /// Docker lists the chain ids that no other image has, the topmost first.
    fn report_chain(&mut self, row: &ImageRow, others: &BTreeMap<String, ImageRow>) {
        let shared = |length: usize| {
            others
                .values()
                .any(|other| other.layers.get(..length) == row.layers.get(..length))
        };
        let chain = chain_ids(&row.layers);
        for (index, id) in chain.into_iter().enumerate().rev() {
            if shared(index + 1) {
                break;
            }
            self.removed.push(Removed::Deleted(id));
        }
    }
}

/// The chain id of each layer (image-spec, "Layer ChainID"), the base first.
fn chain_ids(layers: &[Digest]) -> Vec<Digest> {
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

/// Whether the text, which was resolved to this image, is a part of its id and not a name.
fn is_id_prefix(id: &ImageId, text: &str) -> bool {
    id.as_str().starts_with(text) || id.digest().hex().starts_with(text)
}

fn short(container: &str) -> String {
    container.chars().take(12).collect()
}

#[cfg(test)]
mod tests;
