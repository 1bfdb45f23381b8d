//! `pause` and `unpause`.

use super::State;
use super::live::{Container, restarting};
use super::state::Event;
use crate::{Engine, Error, ErrorKind, Result, blocking};
use hull_shim::Handle;
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
        let (engine, held) = (Arc::clone(self), Arc::clone(&container));
        blocking(move || engine.set_paused_blocking(&held, &shim, paused)).await?;
        if paused {
            *container.health_watch() = None;
        } else {
            self.watch_health(&container);
        }
        self.tell_container(&container, if paused { "pause" } else { "unpause" }, &[]);
        Ok(())
    }

    fn set_paused_blocking(
        &self,
        container: &Container,
        shim: &Handle,
        paused: bool,
    ) -> Result<()> {
        let set = |paused: bool| if paused { shim.pause() } else { shim.resume() };
        let event = |paused: bool| if paused { Event::Froze } else { Event::Thawed };
        set(paused).map_err(|error| {
            let what = if paused {
                "cannot pause container"
            } else {
                "cannot unpause container"
            };
            container.refused(shim, error, |error| {
                Error::new(ErrorKind::Internal, what).caused_by(error)
            })
        })?;
        container
            .apply(event(paused))
            .map_err(|e| Error::new(ErrorKind::Conflict, e.to_string()))?;
        let before = container.change(|record| {
            let before = record.health.clone();
            if paused {
                record.end_health();
            }
            before
        });
        let kept = self.rows.put(&container.record());
        if kept.is_err() {
            // Not acknowledged: as it was. What has ended meanwhile has nothing to undo.
            let _ = set(!paused);
            let _ = container.apply(event(!paused));
            container.change(|record| record.health = before);
        }
        kept
    }
}
