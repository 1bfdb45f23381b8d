//! What is done about findings, when asked for: whatever is dropped here can be fetched again.

use super::content::Part;
use super::{Check, Finding, Repair};
use crate::image::ImageId;
use crate::remove::Leftovers;
use crate::store::Error;
use hull_spec::{Digest, Reference};
use std::path::Path;

impl Check<'_> {
    /// Says why nothing is done.
    pub(super) fn refuse(&self, finding: &mut Finding, why: &str) {
        if self.options.repair {
            finding.repair = Repair::Not(why.to_owned());
        }
    }

    fn done(finding: &mut Finding, outcome: Result<&str, Error>) {
        finding.repair = match outcome {
            Ok(what) => Repair::Done(what.to_owned()),
            Err(error) => Repair::Not(error.to_string()),
        };
    }

    /// A damaged document is in the way of a good one. The images that it belongs to go, unless
    /// containers have them: then a pull makes them whole again.
    pub(super) fn repair_document(&self, digest: &Digest, finding: &mut Finding) {
        if !self.options.repair {
            return;
        }
        let documents = self.store.inner.documents();
        if self.store.read_document(digest).is_ok() {
            Self::done(finding, Ok("a pull has written it anew"));
            return;
        }
        let path = self.store.blob_path(digest);
        if let Err(error) = self.store.inner.trash.discard(&path) {
            finding.repair = Repair::Not(error.to_string());
            return;
        }
        drop(documents);
        let catalog = self.store.inner.rows.catalog();
        let ids = catalog.images.keys();
        let hit: Vec<ImageId> = ids
            .filter(|id| catalog.documents_of(id).contains(digest))
            .cloned()
            .collect();
        Self::done(finding, Ok("discarded; pull its image again"));
        for id in hit {
            self.drop_image(&id, finding);
        }
    }

    /// Drops what is damaged so that the next pull fetches it again.
    pub(super) fn repair_layer(&self, diff_id: &Digest, part: &Part, finding: &mut Finding) {
        if !self.options.repair {
            return;
        }
        let outcome = match part {
            Part::Blob(blob) => self.drop_blob(diff_id, blob).map(|()| "dropped"),
            Part::Index => self.renew_index(diff_id).map(|()| "made anew"),
            Part::Layer => match self.drop_layer(diff_id) {
                Ok(None) => Ok("dropped; pull its images again"),
                Ok(Some(user)) => return self.refuse(finding, &user),
                Err(error) => Err(error),
            },
        };
        Self::done(finding, outcome);
    }

    fn renew_index(&self, diff_id: &Digest) -> Result<(), Error> {
        let renewed = self.store.renew_index(diff_id);
        renewed.map_err(|source| Error::io("make index of layer anew", source))
    }

    fn drop_blob(&self, diff_id: &Digest, blob: &Digest) -> Result<(), Error> {
        self.store.inner.rows.write(|change| {
            if let Some(mut row) = change.layer(diff_id)? {
                row.blobs.retain(|known| known.digest != *blob);
                change.put_layer(diff_id, &row)?;
            }
            Ok(())
        })?;
        self.store.discard(Leftovers {
            blobs: vec![blob.clone()],
            layers: vec![diff_id.clone()],
        });
        Ok(())
    }

    /// Gives who stands in the way, if anybody does.
    fn drop_layer(&self, diff_id: &Digest) -> Result<Option<String>, Error> {
        // Locked until the row is gone: see `Inner::holds`.
        let holds = self.store.inner.holds();
        if holds.contains_key(diff_id) {
            return Ok(Some("somebody uses it just now: check again".to_owned()));
        }
        let (user, leftovers) = self.store.inner.rows.write(|change| {
            let uses = |(_, row): &(String, crate::rows::SnapshotRow)| row.layers.contains(diff_id);
            let user = change.snapshots()?.into_iter().find(uses);
            let mut leftovers = Leftovers::default();
            if let (None, Some(row)) = (&user, change.layer(diff_id)?) {
                change.delete_layer(diff_id.as_str())?;
                leftovers.blobs = row.owned_blobs(diff_id);
                leftovers.layers.push(diff_id.clone());
            }
            Ok((user, leftovers))
        })?;
        drop(holds);
        self.store.discard(leftovers);
        Ok(user.map(|(key, _)| {
            let short: String = key.chars().take(12).collect();
            format!("container {short} uses it: remove it and check again")
        }))
    }

    /// A name of nothing.
    pub(super) fn repair_name(&self, name: &Reference, finding: &mut Finding) {
        if self.options.repair {
            let outcome = self.store.untag(name).map(|_| "untagged");
            Self::done(finding, outcome);
        }
    }

    /// An image that lost a part cannot be run: its names go, so that a pull makes it whole.
    pub(super) fn repair_image(&self, id: &ImageId, finding: &mut Finding) {
        if self.options.repair {
            Self::done(finding, Ok("untagged; pull it again"));
            self.drop_image(id, finding);
        }
    }

    fn drop_image(&self, id: &ImageId, finding: &mut Finding) {
        let removed = self.store.remove(id.as_str(), true, self.options.users);
        match removed {
            Ok(removed) => finding.removed.extend(removed),
            // A container that runs has it.
            Err(error) => {
                tracing::info!(%id, %error, "the image stays without its names");
                for name in self.store.inner.rows.catalog().names_of(id) {
                    if self.store.untag(&name).unwrap_or(false) {
                        finding.removed.push(crate::Removed::Untagged(name));
                    }
                }
            }
        }
    }

    pub(super) fn repair_stray(&self, path: &Path, finding: &mut Finding) {
        if self.options.repair {
            let discarded = self.store.inner.trash.discard(path);
            let outcome = discarded.map_err(|source| Error::io("discard", source));
            Self::done(finding, outcome.map(|()| "removed"));
        }
    }
}
