//! `rmi`.

use super::{RemoveOptions, Removed};
use crate::{Engine, Result, blocking};
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
                .inspect(|rows| engine.trust.forget(rows, store))
        });
        let mut removed = Vec::new();
        for row in rows.await? {
            match row {
                hull_image::Removed::Untagged(reference) => {
                    let name = reference.familiar();
                    self.tell_image("untag", &name, &name);
                    removed.push(Removed::Untagged(name));
                }
                hull_image::Removed::Deleted(digest) => {
                    self.tell_image("delete", digest.as_str(), digest.as_str());
                    removed.push(Removed::Deleted(digest.to_string()));
                }
            }
        }
        Ok(removed)
    }
}
