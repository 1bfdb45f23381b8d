//! `network disconnect`.

use super::registry::{Live, failed};
use super::sandbox::providers;
use super::{place, row::Row};
use crate::container::Endpoint;
use crate::container::live::Container;
use crate::container::record::Record;
use crate::{Engine, Error, ErrorKind, Result, blocking};
use std::path::Path;
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
        let found = self.find(container);
        let container = match found {
            Err(error) if force && error.kind() == ErrorKind::NotFound => {
                self.networks.find(network)?;
                let text = format!("endpoint {container} not found");
                return Err(Error::new(ErrorKind::NotFound, text));
            }
            other => other?,
        };
        let live = self.networks.find(network)?;
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

    /// The row first: a device that is left of a crash belongs to nobody, and goes at the next start, which
    /// also publishes by the row. Then the ports, and only then the addresses they led to.
    fn disconnect_blocking(&self, container: &Container, live: &Live, joined: bool) -> Result<()> {
        let old = container.record();
        let mut record = old.clone();
        let row = live.row();
        let Some(gone) = record.places_mut().remove(row.name()) else {
            return Ok(());
        };
        if joined {
            record.publications = self.redirected(&record);
        }
        self.rows.put(&record)?;
        if joined {
            let netns = self.netns_of(&record);
            if let Err(error) = self.take_out(&row, &record, &gone, &netns) {
                self.put_back(&old, &netns);
                return Err(error);
            }
            self.networks.release_place(&gone, false);
            if providers(old.places()) != providers(record.places())
                && let Err(error) = self.set_routes(&record, &netns)
            {
                tracing::warn!(container = record.id, error = %error.full_message(), "routes did not follow");
            }
            if let Some(sandbox) = self.sandbox(&record, &netns) {
                let _ = self.networks.names.add_sandbox(&sandbox);
            } else if row.has_names() {
                let _ = self.networks.names.remove_sandbox(&record.id);
            }
            self.rewrite_files(&old, &record);
        }
        self.adopt(container, record);
        Ok(())
    }

    /// Everything that leads to a place, and the place.
    fn take_out(&self, row: &Row, record: &Record, gone: &Endpoint, netns: &Path) -> Result<()> {
        if !record.publications.is_empty() {
            self.republish(record)?;
        }
        self.forget_place(row, gone, &record.id);
        self.networks.leave(gone, netns)
    }

    /// A place that could not be left is as it was.
    fn put_back(&self, old: &Record, netns: &Path) {
        let known = self
            .introduce(old, netns)
            .map_err(failed("could not make the container's names known"));
        for error in [self.rows.put(old), self.republish(old), known]
            .into_iter()
            .filter_map(Result::err)
        {
            tracing::warn!(container = old.id, error = %error.full_message(), "a disconnection was not undone");
        }
    }

    pub(super) fn forget_place(&self, row: &Row, gone: &Endpoint, container: &str) {
        let forgotten = self.networks.names.remove_names(&row.id, &gone.endpoint_id);
        if let Err(error) = forgotten {
            tracing::warn!(container, addresses = ?place::addresses(gone), %error, "names were not forgotten");
        }
    }
}
