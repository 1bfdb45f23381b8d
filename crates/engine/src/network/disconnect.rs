//! `network disconnect`.

use super::registry::Live;
use super::sandbox::providers;
use super::{place, row::Row};
use crate::container::live::Container;
use crate::{Engine, Error, ErrorKind, Result, blocking};
use std::sync::Arc;

impl Engine {
    /// Takes a container out of a network; `force` also when the container is not known any more.
    ///
    /// # Errors
    /// `NotFound`, `InvalidInput` and `Internal` in dockerd's words.
    pub async fn network_disconnect(
        self: &Arc<Self>,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<()> {
        let live = self.networks.find(network)?;
        let found = self.find(container);
        let container = match found {
            Err(error) if force && error.kind() == ErrorKind::NotFound => {
                let text = format!("endpoint {container} not found");
                return Err(Error::new(ErrorKind::NotFound, text));
            }
            other => other?,
        };
        let _operation = container.operation.lock().await;
        let row = live.row();
        let Some(joined) = container.read(|record| {
            let place = record.places().get(row.name())?;
            Some(record.is_running() && !place.endpoint_id.is_empty())
        }) else {
            let text = format!(
                "container {} is not connected to network {}",
                container.id,
                row.name()
            );
            return Err(Error::new(ErrorKind::Internal, text));
        };
        if row.name() == "host" && row.predefined {
            let text = "cannot disconnect container from host network - container was created in host network mode";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let engine = Arc::clone(self);
        let (leaving, from) = (Arc::clone(&container), Arc::clone(&live));
        blocking(move || engine.disconnect_blocking(&leaving, &from, joined)).await?;
        if joined {
            self.tell_network(&row, "disconnect", Some(&container.id));
        }
        Ok(())
    }

    /// The row first: a device that is left of a crash belongs to nobody, and goes at the next start.
    fn disconnect_blocking(&self, container: &Container, live: &Live, joined: bool) -> Result<()> {
        let old = container.record();
        let mut record = old.clone();
        let row = live.row();
        let before = providers(record.places());
        let Some(gone) = record.places_mut().remove(row.name()) else {
            return Ok(());
        };
        self.rows.put(&record)?;
        if joined {
            let netns = self.netns_of(&record);
            self.forget_place(&row, &gone, &record.id);
            if let Err(error) = self.networks.leave(&gone, Some(&netns)) {
                self.rows.put(&old)?;
                return Err(error);
            }
            let arranged = self.rearrange(&mut record, &before, &netns);
            if let Err(error) = arranged {
                tracing::warn!(container = record.id, error = %error.full_message(), "routes or ports did not follow");
            }
            if let Some(sandbox) = self.sandbox(&record, &netns) {
                let _ = self.networks.names.add_sandbox(&sandbox);
            } else if row.has_names() {
                let _ = self.networks.names.remove_sandbox(&record.id);
            }
            self.rewrite_files(&old, &record);
            self.rows.put(&record)?;
        }
        self.adopt(container, record);
        Ok(())
    }

    fn forget_place(&self, row: &Row, gone: &crate::container::Endpoint, container: &str) {
        let forgotten = self.networks.names.remove_names(&row.id, &gone.endpoint_id);
        if let Err(error) = forgotten {
            tracing::warn!(container, addresses = ?place::addresses(gone), %error, "names were not forgotten");
        }
    }
}
