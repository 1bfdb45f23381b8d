//! Removal of images, by Docker's rules, and of what nothing uses any more.

mod removal;

use crate::catalog::Catalog;
use crate::image::ImageId;
use crate::register::drop_unnamed_indexes;
use crate::rows::{LayerRow, blob_names, layer_names};
use crate::store::{Error, Store};
use hull_spec::{Digest, Platform, Reference};
use removal::Removal;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long an interrupted pull may rest before the next opening of the store removes its parts.
pub(crate) const RESUME_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

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

/// Files to discard once the transaction that disowned them is committed.
#[derive(Default)]
pub(crate) struct Leftovers {
    /// Compressed layers; documents are found by [`Store::discard_documents`].
    pub(crate) blobs: Vec<Digest>,
    pub(crate) layers: Vec<Digest>,
}

impl Store {
    /// Removes what `text` says: a name, or the image when it is an id or its last name. With a name
    /// go all the platforms it stands for. `users` are all containers there are, where no [`Keeper`]
    /// knows them.
    ///
    /// [`Keeper`]: crate::Keeper
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], the conflicts, and failures of the file system and the database.
    pub fn remove(&self, text: &str, force: bool, users: &[User]) -> Result<Vec<Removed>, Error> {
        self.remove_with(text, users, |removal| {
            let gone = removal.run(text, force)?;
            removal.check_pins(gone, force)
        })
    }

    /// Removes an image with its names, unless a container has it or somebody holds a layer of it.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub(crate) fn remove_idle(&self, id: &ImageId) -> Result<Vec<Removed>, Error> {
        self.remove_with(id.as_str(), &[], |removal| {
            let gone = removal.run(id.as_str(), true)?;
            removal.check_idle(gone)
        })
    }

    /// Removes some of the platforms that a name stands for; the name goes with the last one.
    ///
    /// # Errors
    /// As [`Store::remove`], and [`Error::WrongPlatform`].
    pub fn remove_platforms(
        &self,
        text: &str,
        platforms: &[Platform],
        force: bool,
        users: &[User],
    ) -> Result<Vec<Removed>, Error> {
        self.remove_with(text, users, |removal| {
            let gone = removal.run_platforms(text, platforms, force)?;
            removal.check_pins(gone, force)
        })
    }

    fn remove_with(
        &self,
        text: &str,
        users: &[User],
        run: impl FnOnce(&mut Removal<'_>) -> Result<Vec<ImageId>, Error>,
    ) -> Result<Vec<Removed>, Error> {
        // Both locked until the rows are gone: see `Inner`.
        let documents = self.inner.documents();
        let holds = self.inner.holds();
        // Asked once more under the lock: a container's image is pinned until it is among the users.
        let now = self.inner.budget.users();
        let users = now.as_deref().unwrap_or(users);
        let before = self.inner.rows.catalog();
        let (removed, leftovers) = self.inner.rows.write(|change| {
            let found = change.catalog().find(text)?;
            let id = found.image;
            let mut removal = Removal {
                names: change.catalog().names_of(&id),
                change,
                id,
                by_id: found.name.is_none(),
                users,
                holds: &holds,
                removed: Vec::new(),
            };
            let mut leftovers = Leftovers::default();
            for image in run(&mut removal)? {
                removal.delete(&image, &mut leftovers)?;
            }
            drop_unnamed_indexes(change)?;
            Ok((removal.removed, leftovers))
        })?;
        drop(holds);
        self.discard(leftovers);
        self.discard_documents(&before);
        drop(documents);
        Ok(removed)
    }

    /// Discards the documents that `before` named and no row names now.
    pub(crate) fn discard_documents(&self, before: &Arc<Catalog>) {
        let now = self.inner.rows.catalog();
        let kept = now.documents();
        let gone = before.documents().into_iter();
        self.discard(Leftovers {
            blobs: gone.filter(|d| !kept.contains(d)).cloned().collect(),
            layers: Vec::new(),
        });
    }

    /// Removes layers that no image, snapshot or pull uses. Returns the bytes their files held.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn prune_layers(&self) -> Result<u64, Error> {
        self.prune_layers_older_than(Duration::ZERO)
    }

    /// Removes those of these layers that no image, snapshot or hold uses: what a failed operation
    /// leaves.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn discard_layers(&self, layers: &[Digest]) -> Result<(), Error> {
        if layers.is_empty() {
            return Ok(());
        }
        self.prune_layers_where(|diff_id, _| layers.contains(diff_id))
            .map(drop)
    }

    fn prune_layers_older_than(&self, age: Duration) -> Result<u64, Error> {
        let now = jiff::Timestamp::now().as_second();
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.prune_layers_where(|_, row| now.saturating_sub(row.unpacked_at) >= age)
    }

    fn prune_layers_where(
        &self,
        may_go: impl Fn(&Digest, &LayerRow) -> bool,
    ) -> Result<u64, Error> {
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
                    || !may_go(&diff_id, &row)
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

    /// Nothing owned these files when their rows went; should this fail, the next opening finds
    /// them. The same layer may have come again since: then its files are the new row's.
    pub(crate) fn discard(&self, leftovers: Leftovers) {
        let Leftovers { mut blobs, layers } = leftovers;
        if blobs.is_empty() && layers.is_empty() {
            return;
        }
        // No layer gets its files and its row from here on.
        let _quiet = self.inner.ingest.between_commits();
        let rows = match self.inner.rows.layers_of(&layers) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "cannot discard; the next start tries again");
                return;
            }
        };
        for (layer, row) in std::iter::zip(&layers, rows) {
            if let Some(row) = row {
                let owned = row.owned_blobs(layer);
                blobs.retain(|blob| !owned.contains(blob));
            } else {
                self.inner.mounts.forget(layer);
                self.discard_or_warn(&self.layer_path(layer));
            }
        }
        for blob in &blobs {
            self.discard_or_warn(&self.blob_path(blob));
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
        let layer_dirs = layer_names(&layers);
        let blobs = blob_names(&layers, &rows.catalog());
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

#[cfg(test)]
mod tests;
