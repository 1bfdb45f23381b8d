//! `wait`.

use super::{WaitCondition, WaitResult};
use crate::{Engine, Result};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;

impl Engine {
    /// Waits. The outer result is there at once and means that nothing will be missed.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn wait(
        self: &Arc<Self>,
        name: &str,
        condition: WaitCondition,
    ) -> Result<BoxFuture<'static, Result<WaitResult>>> {
        let container = self.find(name)?;
        let mut progress = container.progress.subscribe();
        let exits = progress.borrow_and_update().exits;
        Ok(async move {
            let met = progress
                .wait_for(|now| match condition {
                    WaitCondition::NotRunning => !now.running || now.exits > exits || now.removed,
                    WaitCondition::NextExit => now.exits > exits || now.removed,
                    WaitCondition::Removed => now.removed,
                })
                .await;
            // The sender lives as long as the container; both are held here.
            let result = met.map(|now| now.last.clone()).unwrap_or_default();
            drop(container);
            Ok(result)
        }
        .boxed())
    }
}
