//! The volumes that are known, who uses them, and whose turn it is.

use super::LOCAL;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

/// A volume as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) scope: String,
    pub(crate) created: Timestamp,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) options: Option<BTreeMap<String, String>>,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            name: String::new(),
            driver: LOCAL.to_owned(),
            scope: LOCAL.to_owned(),
            created: Timestamp::UNIX_EPOCH,
            labels: None,
            options: None,
        }
    }
}

impl Row {
    /// Whether it was made without a name.
    pub(crate) fn is_anonymous(&self) -> bool {
        let labels = self.labels.as_ref();
        labels.is_some_and(|labels| labels.contains_key(super::ANONYMOUS))
    }

    /// Whether it is a directory of ours and nothing else.
    pub(crate) fn is_plain(&self) -> bool {
        self.driver == LOCAL && self.options.as_ref().is_none_or(BTreeMap::is_empty)
    }

    /// Whether it is something that is mounted, and no plain directory.
    pub(crate) fn needs_mount(&self) -> bool {
        let options = self.options.as_ref();
        self.driver != LOCAL || options.is_some_and(|options| options.contains_key("device"))
    }
}

#[derive(Debug)]
struct Entry {
    row: Arc<Row>,
    /// Containers that name it, and whether each has it mounted now.
    users: BTreeMap<String, bool>,
}

/// The volumes. Locks are held for moments; whoever changes a volume holds its name besides.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    known: RwLock<BTreeMap<String, Entry>>,
    busy: Mutex<HashSet<String>>,
    freed: Condvar,
    mounts: Mutex<()>,
}

/// A name that is nobody else's turn.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    volumes: &'a Volumes,
    name: String,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let busy = self.volumes.busy.lock();
        busy.unwrap_or_else(PoisonError::into_inner)
            .remove(&self.name);
        self.volumes.freed.notify_all();
    }
}

impl Volumes {
    /// Waits for one's turn at a name. Blocking.
    pub(crate) fn hold(&self, name: &str) -> Held<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(name.to_owned()) {
            let woken = self.freed.wait(busy);
            busy = woken.unwrap_or_else(PoisonError::into_inner);
        }
        Held {
            volumes: self,
            name: name.to_owned(),
        }
    }

    /// One's turn at the directory that all volumes are mounted in.
    pub(super) fn mounting(&self) -> std::sync::MutexGuard<'_, ()> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Row>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).map(|entry| Arc::clone(&entry.row))
    }

    /// All of them by name, each with the containers that name it.
    pub(crate) fn all(&self) -> Vec<(Arc<Row>, usize)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let entries = known.values();
        entries
            .map(|entry| (Arc::clone(&entry.row), entry.users.len()))
            .collect()
    }

    pub(crate) fn insert(&self, row: Arc<Row>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let users = BTreeMap::new();
        known.insert(row.name.clone(), Entry { row, users });
    }

    pub(crate) fn forget(&self, name: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.remove(name);
    }

    /// The containers that name it.
    pub(crate) fn users(&self, name: &str) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let entry = known.get(name);
        entry.map_or_else(Vec::new, |entry| entry.users.keys().cloned().collect())
    }

    /// A container names it.
    pub(crate) fn add_user(&self, name: &str, container: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get_mut(name) {
            entry.users.entry(container.to_owned()).or_default();
        }
    }

    /// A container does not name it any more.
    pub(crate) fn drop_user(&self, name: &str, container: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get_mut(name) {
            entry.users.remove(container);
        }
    }

    /// Notes whether a container has it mounted; tells what was noted before.
    pub(crate) fn note_mounted(&self, name: &str, container: &str, mounted: bool) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let entry = known.get_mut(name);
        let noted = entry.and_then(|entry| entry.users.get_mut(container));
        noted.is_some_and(|noted| std::mem::replace(noted, mounted))
    }

    /// Whether a container has it mounted.
    pub(crate) fn is_mounted(&self, name: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let entry = known.get(name);
        entry.is_some_and(|entry| entry.users.values().any(|mounted| *mounted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_mounts_are_counted_by_container() {
        let volumes = Volumes::default();
        volumes.insert(Arc::new(Row {
            name: "v".to_owned(),
            ..Row::default()
        }));
        volumes.add_user("v", "a");
        volumes.add_user("v", "b");
        volumes.add_user("other", "b");
        assert_eq!(volumes.users("v"), ["a", "b"]);
        assert!(!volumes.note_mounted("v", "a", true) && volumes.is_mounted("v"));
        volumes.add_user("v", "a");
        assert!(volumes.is_mounted("v"), "naming it again changes nothing");
        assert!(volumes.note_mounted("v", "a", false) && !volumes.is_mounted("v"));
        volumes.drop_user("v", "a");
        assert!(!volumes.note_mounted("v", "a", true) && !volumes.is_mounted("v"));
        assert_eq!(volumes.all()[0].1, 1);
    }

    #[test]
    fn a_name_is_held_by_one_at_a_time() {
        let volumes = Volumes::default();
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _held = volumes.hold("v");
                        let before = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert_eq!(before, 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        let _one = volumes.hold("v");
        let _two = volumes.hold("w");
    }
}
