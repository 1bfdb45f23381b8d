//! Routes of the host's that appear and overlap a network: told in the log and as an event.

use super::row::Row;
use crate::journal::Journal;
use hull_network::model::Driver;
use hull_network::{Overlap, RouteWatch, Watched};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The networks that are watched, with what events say of them.
type Followed = Mutex<Vec<(Watched, BTreeMap<String, String>)>>;

/// The networks that are watched, and who watches.
#[derive(Debug)]
pub(super) struct Watch {
    journal: Arc<Journal>,
    followed: Arc<Followed>,
    thread: Mutex<Option<RouteWatch>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    pub(super) fn new(journal: Arc<Journal>) -> Self {
        Self {
            journal,
            followed: Arc::default(),
            thread: Mutex::default(),
        }
    }

    /// Watches these networks, in place of those before.
    pub(super) fn follow(&self, rows: &[Arc<Row>]) {
        let watched = rows.iter().filter_map(|row| {
            let Driver::Bridge(options) = &row.model.as_ref()?.driver else {
                return None;
            };
            let watched = Watched {
                network: row.id.clone(),
                device: options.device.clone(),
                subnets: row.subnets(),
            };
            Some((watched, super::attributes(row, None)))
        });
        *lock(&self.followed) = watched.collect();
        let mut thread = lock(&self.thread);
        if thread.is_some() || rows.is_empty() {
            return;
        }
        let followed = Arc::clone(&self.followed);
        let networks = move || {
            let followed = lock(&followed);
            followed
                .iter()
                .map(|(watched, _)| watched.clone())
                .collect()
        };
        let (journal, followed) = (Arc::clone(&self.journal), Arc::clone(&self.followed));
        let started =
            RouteWatch::start(networks, move |overlap| tell(&journal, &followed, overlap));
        match started {
            Ok(watch) => *thread = Some(watch),
            Err(error) => tracing::warn!(%error, "the host's routes are not watched"),
        }
    }
}

fn tell(journal: &Journal, followed: &Followed, overlap: &Overlap) {
    let known = lock(followed)
        .iter()
        .find(|(watched, _)| watched.network == overlap.network)
        .map(|(_, attributes)| attributes.clone());
    let mut attributes = known.unwrap_or_default();
    tracing::warn!(
        network = attributes.get("name"),
        subnet = %overlap.subnet,
        route = %overlap.route,
        device = overlap.device,
        "a route of the host overlaps a network: what is there cannot be reached from one side"
    );
    attributes.insert("subnet".to_owned(), overlap.subnet.to_string());
    attributes.insert("route".to_owned(), overlap.route.to_string());
    if let Some(device) = &overlap.device {
        attributes.insert("device".to_owned(), device.clone());
    }
    journal.tell("network", "overlap", &overlap.network, attributes);
}
