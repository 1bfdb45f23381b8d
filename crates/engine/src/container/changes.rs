//! `diff`.

use super::export::diff_error;
use crate::{Engine, Result, blocking};
pub use hull_image::diff::{Change, ChangeKind};
use std::os::fd::AsFd as _;
use std::sync::Arc;

impl Engine {
    /// What a container changed of its image's files.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn changes(self: &Arc<Self>, name: &str) -> Result<Vec<Change>> {
        let id = self.find(name)?.id.clone();
        let engine = Arc::clone(self);
        blocking(move || {
            let trees = engine.trees(&id)?;
            let lower = trees.lower.as_ref().map(|lower| lower.as_fd());
            hull_image::diff::changes(trees.upper.as_fd(), lower).map_err(diff_error)
        })
        .await
    }
}
