//! `image prune`.

use super::{ImageListOptions, RemoveOptions, Removed};
use crate::prune::Chosen;
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a prune did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names and images that are gone.
    pub removed: Vec<Removed>,
    /// Bytes that the disk has more of.
    pub reclaimed: u64,
}

impl Engine {
    /// Removes images without names, or with `dangling=false` all that no container uses. Without a
    /// filter layers that no image has go too, such as those of a pull that was given up, and with all
    /// images what interrupted pulls would continue.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that makes no sense, `Conflict` while another prune runs.
    pub async fn prune_images(self: &Arc<Self>, filters: Filters) -> Result<Pruned> {
        let _turn = self.image_prune.begin()?;
        let dangling = dangling(&filters)?;
        // dockerd answers 500 to a wrong `until`.
        let chosen = Chosen::new(&filters, &["dangling"], ErrorKind::Internal)?;
        let engine = Arc::clone(self);
        let before = blocking(move || engine.store.files().map_err(super::store_error)).await?;
        let mut removed = Vec::new();
        for image in self.images(ImageListOptions::default()).await? {
            if (dangling && !image.repo_tags.is_empty())
                || !chosen.takes(image.created, image.labels.as_ref())
            {
                continue;
            }
            let mut names = image.repo_tags;
            names.extend(image.repo_digests);
            if names.is_empty() {
                names.push(image.id);
            }
            for name in names {
                match self.image_remove(&name, RemoveOptions::default()).await {
                    Ok(rows) => removed.extend(rows),
                    Err(error) => self.spared(&name, &error),
                }
            }
        }
        let (engine, everything) = (Arc::clone(self), chosen.everything());
        let reclaimed = blocking(move || {
            if everything {
                engine.store.prune_layers().map_err(super::store_error)?;
            }
            if everything && !dangling {
                let pruned = engine.store.prune_downloads();
                pruned.map_err(super::store_error)?;
            }
            Ok(engine.store.freed_since(&before))
        })
        .await?;
        self.tell_prune("image", reclaimed);
        Ok(Pruned { removed, reclaimed })
    }

    /// An image that is in use, or that went with another name, is no failure of the prune.
    fn spared(&self, name: &str, error: &Error) {
        match error.kind() {
            ErrorKind::Conflict | ErrorKind::NotFound => {
                tracing::debug!(name, %error, "not pruned")
            }
            _ => tracing::warn!(name, %error, "not pruned"),
        }
    }

    /// Tells that a prune ended.
    pub(crate) fn tell_prune(&self, kind: &'static str, reclaimed: u64) {
        let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
        self.journal.tell(kind, "prune", "", attributes);
    }
}

/// Whether only images without names go: the default.
fn dangling(filters: &Filters) -> Result<bool> {
    let refused = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
    match filters.get("dangling").map(Vec::as_slice) {
        None => Ok(true),
        Some([value]) => match value.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => refused(format!("invalid filter 'dangling=[{other}]'")),
        },
        Some(values) => refused(format!("invalid filter 'dangling=[{}]'", values.join(" "))),
    }
}
