//! `rmi`.

use super::{RemoveOptions, Removed};
use crate::{Engine, Result, blocking};
use hull_image::Removed as Gone;
use std::sync::Arc;

impl Engine {
    /// Removes a name, and the image with its last one.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when a container uses it.
    pub async fn image_remove(
        self: &Arc<Self>,
        name: &str,
        options: RemoveOptions,
    ) -> Result<Vec<Removed>> {
        let engine = Arc::clone(self);
        let text = name.to_owned();
        let rows = blocking(move || {
            let users = engine.users();
            let (store, platforms, force) = (&engine.store, &options.platforms, options.force);
            let removed = if platforms.is_empty() {
                store.remove(&text, force, &users)
            } else {
                store.remove_platforms(&text, platforms, force, &users)
            };
            removed
                .map_err(super::store_error)
                .inspect(|removed| engine.tell_removed(removed))
        });
        let removed = rows.await?.into_iter().map(|row| match row {
            Gone::Untagged(name) => Removed::Untagged(name.familiar()),
            Gone::Deleted(digest) => Removed::Deleted(digest.to_string()),
        });
        Ok(removed.collect())
    }

    /// Forgets what was known of images that are gone, and tells of them. Blocking.
    pub(crate) fn tell_removed(&self, removed: &[Gone]) {
        self.trust.forget(removed, &self.store);
        for removed in removed {
            match removed {
                Gone::Untagged(name) => {
                    let name = name.familiar();
                    self.tell_image("untag", &name, &name);
                }
                Gone::Deleted(digest) => {
                    self.tell_image("delete", digest.as_str(), digest.as_str());
                }
            }
        }
    }
}
