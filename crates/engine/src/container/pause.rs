//! `pause` and `unpause`.

use super::State;
use super::live::restarting;
use super::state::Event;
use crate::{Engine, Error, ErrorKind, Result, blocking};
use std::sync::Arc;

impl Engine {
    /// Freezes all processes.
    ///
    /// # Errors
    /// `Conflict` when the container does not run or is paused.
    pub async fn pause(self: &Arc<Self>, name: &str) -> Result<()> {
        self.set_paused(name, true).await
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// `Conflict` when the container is not paused.
    pub async fn unpause(self: &Arc<Self>, name: &str) -> Result<()> {
        self.set_paused(name, false).await
    }

    async fn set_paused(self: &Arc<Self>, name: &str, paused: bool) -> Result<()> {
        let container = self.find(name)?;
        let _operation = container.operation.lock().await;
        let record = container.record();
        let conflict = |text: String| Err(Error::new(ErrorKind::Conflict, text));
        match (&record.state, paused) {
            (State::Running { .. }, true) | (State::Paused { .. }, false) => {}
            (State::Paused { .. }, true) => {
                return conflict(format!("Container {} is already paused", record.id));
            }
            (State::Restarting { .. }, true) => return Err(restarting(&record.id)),
            (_, true) => return conflict(format!("container {} is not running", record.id)),
            (_, false) => return conflict(format!("Container {} is not paused", record.id)),
        }
        let shim = container.shim()?;
        let rows = self.rows.clone();
        let held = Arc::clone(&container);
        blocking(move || {
            let failed = |e: hull_shim::Error| {
                Error::new(
                    ErrorKind::Internal,
                    if paused {
                        "cannot pause container"
                    } else {
                        "cannot unpause container"
                    },
                )
                .caused_by(e)
            };
            if paused { shim.pause() } else { shim.resume() }.map_err(failed)?;
            let event = if paused { Event::Froze } else { Event::Thawed };
            held.apply(event)
                .map_err(|e| Error::new(ErrorKind::Conflict, e.to_string()))?;
            rows.put(&held.record())
        })
        .await?;
        self.tell_container(&container, if paused { "pause" } else { "unpause" }, &[]);
        Ok(())
    }
}
