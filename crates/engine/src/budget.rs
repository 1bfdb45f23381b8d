//! The disk budget: what the store asks of the engine, and is told to do.

use crate::Engine;
use hull_image::{Keeper, Removed, User};
use std::sync::{Arc, Weak};

/// The engine as the store's budget sees it.
#[derive(Debug)]
struct Containers(Weak<Engine>);

impl Keeper for Containers {
    fn users(&self) -> Vec<User> {
        self.0
            .upgrade()
            .map(|engine| engine.users())
            .unwrap_or_default()
    }

    fn evicted(&self, removed: &[Removed]) {
        if let Some(engine) = self.0.upgrade() {
            engine.tell_removed(removed);
        }
    }
}

impl Engine {
    /// Has the store keep the budget from now on; at the start it may be lower than it was.
    pub(crate) fn keep_budget(self: &Arc<Self>) {
        self.store
            .set_keeper(Box::new(Containers(Arc::downgrade(self))));
        if let Err(error) = self.store.fit() {
            tracing::warn!(%error, "more is on the disk than the budget allows");
        }
    }
}
