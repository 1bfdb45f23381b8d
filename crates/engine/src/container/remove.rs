//! `rm` and `container prune`.

use super::State;
use super::live::Container;
use super::state::Event;
use crate::prune::Chosen;
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use hull_image::Snapshotter;
use std::sync::Arc;

/// How often somebody may start a container while it is removed by force.
const ATTEMPTS: u32 = 10;

impl Engine {
    /// Removes a container; `force` kills it first, `volumes` takes its anonymous volumes along.
    ///
    /// # Errors
    /// `Conflict` when it runs and `force` is not given.
    pub async fn remove(self: &Arc<Self>, name: &str, force: bool, volumes: bool) -> Result<()> {
        let container = self.find(name)?;
        if !force {
            container.read(|record| may_remove(name, &record.state))?;
        }
        let mut attempts = 0;
        loop {
            if force {
                self.bring_down(&container, 9, 10).await?;
                self.call_off_restart(&container).await?;
            }
            let _operation = container.operation.lock().await;
            if container.progress.borrow().removed {
                // Its own --rm was faster.
                return Ok(());
            }
            attempts += 1;
            match container.read(|record| may_remove(name, &record.state)) {
                Ok(()) => {
                    self.remove_locked(&container, volumes).await?;
                    // Not with --rm: who ran an exec in it may be about to ask how that ended.
                    self.execs.container_removed(&container.id);
                    return Ok(());
                }
                // Somebody has started it in between.
                Err(_) if force && attempts < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes a container that does not run and whose operation lock is held.
    pub(super) async fn remove_locked(
        self: &Arc<Self>,
        container: &Arc<Container>,
        volumes: bool,
    ) -> Result<()> {
        container
            .apply(Event::RemovalBegan)
            .map_err(|e| Error::new(ErrorKind::Conflict, e.to_string()))?;
        let engine = Arc::clone(self);
        let going = Arc::clone(container);
        let removed = blocking(move || engine.remove_blocking(&going, volumes)).await;
        if let Err(error) = removed {
            let _ = container.apply(Event::RemovalFailed);
            return Err(error);
        }
        let name = container.read(|record| record.name.clone());
        self.forget(&container.id, &name);
        let gone = Error::new(
            ErrorKind::NotFound,
            format!("No such container: {}", container.id),
        );
        container.refuse_pending(&gone);
        self.tell_container(container, "destroy", &[]);
        container.tell(|progress| {
            progress.running = false;
            progress.removed = true;
            if let Some(exit) = container.read(|record| record.state.exit().cloned()) {
                progress.last.code = exit.code;
            }
        });
        Ok(())
    }

    fn remove_blocking(&self, container: &Container, volumes: bool) -> Result<()> {
        // First the row: from here on the container is gone, and what a crash leaves of it is
        // removed at the next start because nothing owns it.
        self.rows.delete(&container.id)?;
        self.snapshots
            .remove(&container.id)
            .map_err(crate::image::snapshot_error)?;
        self.discard_dir(&container.id);
        let record = container.record();
        self.drop_images(&record);
        self.release_volumes(&record, volumes);
        Ok(())
    }

    /// Lets a container's directory go behind the caller's back: its log may be long, and some file systems wait for the
    /// disk with each file.
    pub(super) fn discard_dir(&self, id: &str) {
        let dir = self.container_dir(id);
        // Another file system, mounted there, has no way into the trash.
        let gone = self
            .store
            .discard_path(&dir)
            .or_else(|_| fs_err::remove_dir_all(&dir));
        if let Err(error) = gone {
            tracing::warn!(%error, "a container's directory was not removed");
        }
    }

    /// Removes the containers that do not run. Returns their ids and the bytes that the disk has more
    /// of.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that makes no sense, `Conflict` while another prune runs.
    pub async fn prune_containers(
        self: &Arc<Self>,
        filters: Filters,
    ) -> Result<(Vec<String>, u64)> {
        let _turn = self.container_prune.begin()?;
        let chosen = Chosen::new(&filters, &[], ErrorKind::InvalidInput)?;
        let (mut ids, mut bytes) = (Vec::new(), 0);
        for container in self.containers() {
            let record = container.record();
            let idle = matches!(
                record.state,
                State::Created { .. } | State::Exited { .. } | State::Dead { .. }
            );
            if !idle || !chosen.takes(Some(record.created), Some(&record.effective.labels)) {
                continue;
            }
            let (engine, id) = (Arc::clone(self), container.id.clone());
            let size = blocking(move || Ok(engine.container_taken(&id).unwrap_or(0))).await?;
            match self.remove(&container.id, false, false).await {
                Ok(()) => {
                    ids.push(record.id);
                    bytes += size;
                }
                Err(error) => tracing::debug!(id = record.id, %error, "not pruned"),
            }
        }
        self.tell_prune("container", bytes);
        Ok((ids, bytes))
    }
}

/// Whether a container in this state is removed without force; `named` as the client named it.
fn may_remove(named: &str, state: &State) -> Result<()> {
    let what = match state {
        State::Paused { .. } => "container is paused and must be unpaused first".to_owned(),
        State::Running { .. } | State::Restarting { .. } => format!(
            "container is {}: stop the container before removing or force remove",
            state.as_str()
        ),
        _ => return Ok(()),
    };
    let text = format!("cannot remove container \"{named}\": {what}");
    Err(Error::new(ErrorKind::Conflict, text))
}
