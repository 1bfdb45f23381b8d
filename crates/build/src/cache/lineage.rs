//! What results were made from.

use super::{Cache, Entry};

impl Cache {
    /// Whether there is a result of that id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.known().entries.contains_key(id)
    }

    /// These results and all that they were made from, as far as they are known, the oldest first.
    #[must_use]
    pub fn with_parents(&self, ids: &[String]) -> Vec<Entry> {
        let known = self.known();
        let ids = known.with_parents(ids.iter().cloned());
        let found = ids.iter().filter_map(|id| known.entries.get(id));
        let mut entries: Vec<Entry> = found.cloned().collect();
        drop(known);
        entries.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        entries
    }
}
