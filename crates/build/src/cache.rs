//! What earlier builds made, by what it was made from. In memory, with a row per result in the metadata
//! database: a thread writes rows together, so that no step waits for the disk. A result whose row was not
//! written is swept with its files by the next start; nothing refers to it.
//!
//! Rows are only as good as the files they name. These are brought to the disk after a build, and the row says
//! so; what was not there before the host went down without notice does not count any more.

mod lineage;
mod rows;
#[cfg(test)]
mod tests;

use crate::world::Piece;
use hull_image::Database;
use hull_spec::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long it may take until the disk knows that a result was of use.
const UNWRITTEN: Duration = Duration::from_secs(60);

/// Why the cache cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The database refused.
    #[error("{operation} the build cache")]
    Database {
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: Box<redb::Error>,
    },
}

/// What kind of thing a result is, in BuildKit's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// What a step made.
    #[default]
    Regular,
    /// What came from a client.
    Local,
    /// What came from a repository.
    Git,
    /// A cache that steps have mounted.
    CacheMount,
}

impl Kind {
    /// BuildKit's word, as `du` shows it and filters name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Local => "source.local",
            Self::Git => "source.git.checkout",
            Self::CacheMount => "exec.cachemount",
        }
    }
}

/// A result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is known by: what later results are made from.
    pub id: String,
    /// Its outputs.
    pub outputs: Vec<Vec<Piece>>,
    /// The keys it is found by.
    pub keys: Vec<Digest>,
    /// The results it was made from.
    pub parents: Vec<String>,
    /// What is shown.
    pub description: String,
    /// What kind of thing.
    pub kind: Kind,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last of use.
    pub last_used: Option<Timestamp>,
    /// How often it was of use.
    pub uses: u64,
    /// The layers that were made of its steps, by step.
    #[serde(default)]
    pub layers: BTreeMap<String, Digest>,
    /// The start of the host in which its files were written, until they are known to be on the disk.
    pub boot: Option<String>,
}

/// A result as lists show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The result.
    pub entry: Entry,
    /// Whether a build needs it at the moment.
    pub in_use: bool,
    /// The steps whose files are only this result's, or its descendants'.
    pub own: Vec<String>,
}

/// What is removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removed {
    /// Ids of results.
    pub results: Vec<String>,
    /// Steps of which nobody knows any more: their files can go.
    pub steps: Vec<String>,
}

#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<String, Entry>,
    keys: HashMap<Digest, String>,
    /// The results that name a step.
    users: HashMap<String, BTreeSet<String>>,
    pins: HashMap<String, usize>,
    /// Steps of results that were replaced while somebody had them pinned, by the results' ids; and those of which nobody
    /// has any more, which wait for who discards them.
    held: HashMap<String, Vec<String>>,
    freed: Vec<String>,
    /// Rows to be written, or removed.
    dirty: HashSet<String>,
    /// Rows of which nothing has changed but when they were of use, and since when there are such: they wait for
    /// others.
    used: HashSet<String>,
    used_since: Option<Instant>,
    writing: bool,
}

#[derive(Debug)]
struct Inner {
    database: Arc<Database>,
    known: Mutex<Known>,
    /// Held while rows are written, so that no older one comes after a newer one.
    writing: Mutex<()>,
    boot: String,
}

/// The results. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Inner>);

/// Keeps a result from being removed.
#[derive(Debug)]
pub struct Pin {
    cache: Cache,
    id: String,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut known = self.cache.known();
        if let Some(count) = known.pins.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                known.pins.remove(&self.id);
                let held = known.held.remove(&self.id);
                known.freed.extend(held.unwrap_or_default());
            }
        }
    }
}

fn steps_of(entry: &Entry) -> HashSet<&str> {
    let pieces = entry.outputs.iter().flatten();
    pieces.filter_map(step_of).collect()
}

fn step_of(piece: &Piece) -> Option<&str> {
    match piece {
        Piece::Step(step) => Some(step),
        Piece::Layer(_) => None,
    }
}

/// What a step's layer is remembered by: with other times it is another.
fn layer_name(step: &str, epoch: Option<i64>) -> String {
    match epoch {
        None => step.to_owned(),
        Some(epoch) => format!("{step}@{epoch}"),
    }
}

impl Known {
    /// The results that name a step.
    fn owners(&self, step: &str) -> impl Iterator<Item = &Entry> + Clone {
        let ids = self.users.get(step).into_iter().flatten();
        ids.filter_map(|id| self.entries.get(id))
    }

    /// Adds a result in place of one with the same id; gives the steps that only that one has named.
    fn insert(&mut self, entry: Entry) -> Vec<String> {
        let mut left = self.take(&entry.id.clone());
        for step in steps_of(&entry) {
            let users = self.users.entry(step.to_owned()).or_default();
            users.insert(entry.id.clone());
        }
        for key in &entry.keys {
            self.keys.insert(key.clone(), entry.id.clone());
        }
        self.dirty.insert(entry.id.clone());
        self.entries.insert(entry.id.clone(), entry);
        left.retain(|step| !self.users.contains_key(step));
        left
    }

    /// Steps that were held, and can go.
    fn freed(&mut self) -> Vec<String> {
        let mut freed = std::mem::take(&mut self.freed);
        freed.retain(|step| !self.users.contains_key(step));
        freed
    }

    /// Forgets a result; gives the steps that no other names.
    fn take(&mut self, id: &str) -> Vec<String> {
        let Some(entry) = self.entries.remove(id) else {
            return Vec::new();
        };
        self.dirty.insert(id.to_owned());
        for key in &entry.keys {
            if self.keys.get(key).is_some_and(|of| of == id) {
                self.keys.remove(key);
            }
        }
        let mut alone = Vec::new();
        for step in steps_of(&entry) {
            let Some(users) = self.users.get_mut(step) else {
                continue;
            };
            users.remove(id);
            if users.is_empty() {
                self.users.remove(step);
                alone.push(step.to_owned());
            }
        }
        alone
    }
}

/// What became of a result that was added.
#[derive(Debug)]
pub struct Joined {
    /// It, or the one that was there.
    pub entry: Entry,
    /// Keeps it.
    pub pin: Pin,
    /// Steps that are nobody's now, also those of results that were replaced before.
    pub left: Vec<String>,
}

impl Cache {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is locked.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pin(&self, known: &mut Known, id: &str) -> Pin {
        *known.pins.entry(id.to_owned()).or_default() += 1;
        Pin {
            cache: self.clone(),
            id: id.to_owned(),
        }
    }

    /// The result of a key, which stays as long as the pin.
    #[must_use]
    pub fn find(&self, key: &Digest) -> Option<(Entry, Pin)> {
        let mut known = self.known();
        let id = known.keys.get(key)?.clone();
        let pin = self.pin(&mut known, &id);
        let entry = known.entries.get_mut(&id)?;
        entry.uses += 1;
        entry.last_used = Some(Timestamp::now());
        let entry = entry.clone();
        known.used.insert(id);
        known.used_since.get_or_insert_with(Instant::now);
        Some((entry, pin))
    }

    /// Adds a result, in place of one with the same id, whose steps it names as well.
    #[must_use]
    pub fn put(&self, mut entry: Entry) -> Pin {
        entry.boot = Some(self.0.boot.clone());
        let mut known = self.known();
        let pin = self.pin(&mut known, &entry.id);
        let left = known.insert(entry);
        debug_assert!(left.is_empty(), "steps that nobody names any more");
        drop(known);
        self.write_soon();
        pin
    }

    /// Adds a result. If one with the same id is `there`, that is found by the new one's keys as well, and given. Of one
    /// that is there no more, the steps are given that nobody names now: some may be left. While others have it pinned they
    /// are held, and given later.
    #[must_use]
    pub fn put_or_join(&self, mut entry: Entry, there: impl Fn(&Entry) -> bool) -> Joined {
        entry.boot = Some(self.0.boot.clone());
        let mut known = self.known();
        let pin = self.pin(&mut known, &entry.id);
        match known.entries.get(&entry.id) {
            Some(other) if there(other) => {
                let mut joined = other.clone();
                let new = entry.keys.into_iter();
                let new = new.filter(|key| !other.keys.contains(key));
                joined.keys.extend(new);
                joined.uses += 1;
                entry = joined;
            }
            _ => {}
        }
        let mut left = known.insert(entry.clone());
        if !left.is_empty() && known.pins.get(&entry.id).is_some_and(|pins| *pins > 1) {
            let held = known.held.entry(entry.id.clone()).or_default();
            held.append(&mut left);
        }
        left.append(&mut known.freed());
        drop(known);
        self.write_soon();
        Joined { entry, pin, left }
    }

    /// Lets a result be found by another key as well.
    pub fn also(&self, id: &str, key: &Digest) {
        let mut known = self.known();
        let Some(entry) = known.entries.get_mut(id) else {
            return;
        };
        if !entry.keys.contains(key) {
            entry.keys.push(key.clone());
        }
        known.keys.insert(key.clone(), id.to_owned());
        known.dirty.insert(id.to_owned());
    }

    /// Forgets a result whose files are gone.
    #[must_use]
    pub fn forget(&self, id: &str) -> Vec<String> {
        let steps = self.known().take(id);
        self.write_soon();
        steps
    }

    /// Whether a result names this step.
    #[must_use]
    pub fn names(&self, step: &str) -> bool {
        self.known().users.contains_key(step)
    }

    /// When a step was done, and the layer that was made of it with no time later than `epoch`.
    #[must_use]
    pub fn step(&self, step: &str, epoch: Option<i64>) -> Option<(Timestamp, Option<Digest>)> {
        let known = self.known();
        let mut owners = known.owners(step);
        let first = owners.clone().min_by_key(|entry| entry.created)?;
        let name = layer_name(step, epoch);
        let layer = owners.find_map(|entry| entry.layers.get(&name).cloned());
        Some((first.created, layer))
    }

    /// A layer was made of a step, with no time later than `epoch`.
    pub fn set_layer(&self, step: &str, epoch: Option<i64>, layer: &Digest) {
        let mut known = self.known();
        let first = known.owners(step).min_by_key(|entry| entry.created);
        let first = first.map(|entry| entry.id.clone());
        let Some(entry) = first.and_then(|id| known.entries.get_mut(&id)) else {
            return;
        };
        entry.layers.insert(layer_name(step, epoch), layer.clone());
        let id = entry.id.clone();
        known.dirty.insert(id);
        drop(known);
        self.write_soon();
    }

    /// All results, the oldest use first.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let known = self.known();
        let used = known.pins.keys();
        let in_use = known.with_parents(used.cloned());
        let mut seen = HashSet::new();
        let mut entries: Vec<&Entry> = known.entries.values().collect();
        entries.sort_by_key(|entry| entry.created);
        let mut records: Vec<Record> = entries
            .into_iter()
            .map(|entry| {
                let steps = steps_of(entry).into_iter();
                Record {
                    // The first to name a step is who made it.
                    own: steps
                        .filter(|step| seen.insert((*step).to_owned()))
                        .map(str::to_owned)
                        .collect(),
                    in_use: in_use.contains(&entry.id),
                    entry: entry.clone(),
                }
            })
            .collect();
        records.sort_by_key(|record| record.entry.last_used.unwrap_or(record.entry.created));
        records
    }

    /// Removes results that no build needs at the moment.
    pub fn remove(&self, ids: &[String]) -> Removed {
        let mut known = self.known();
        let in_use = known.with_parents(known.pins.keys().cloned());
        let mut removed = Removed::default();
        for id in ids {
            if known.entries.contains_key(id) && !in_use.contains(id) {
                removed.steps.extend(known.take(id));
                removed.results.push(id.clone());
            }
        }
        removed.steps.append(&mut known.freed());
        drop(known);
        self.write_soon();
        removed
    }

    /// The files of these results are on the disk. Of a cache that a step has mounted nobody knows. Also has the uses of
    /// results written if they have waited for long.
    pub fn settled(&self, ids: &[String]) {
        let mut known = self.known();
        for id in ids {
            let used = known.pins.contains_key(id);
            if let Some(entry) = known.entries.get_mut(id)
                && !(used && entry.kind == Kind::CacheMount)
            {
                entry.boot = None;
                known.dirty.insert(id.clone());
            }
        }
        if known.used_since.is_some_and(|at| at.elapsed() > UNWRITTEN) {
            let used = std::mem::take(&mut known.used);
            known.dirty.extend(used);
        }
        drop(known);
        self.write_soon();
    }

    /// The files of a result are about to change: should the host go down without notice, it does not count any more.
    /// Returns when the disk knows.
    ///
    /// # Errors
    /// [`CacheError`]
    pub fn touched(&self, id: &str) -> Result<(), CacheError> {
        let mut known = self.known();
        match known.entries.get_mut(id) {
            Some(entry) if entry.boot.is_none() => entry.boot = Some(self.0.boot.clone()),
            _ => return Ok(()),
        }
        known.dirty.insert(id.to_owned());
        drop(known);
        self.flush()
    }

    /// The results whose files are not known to be on the disk.
    #[must_use]
    pub fn unsettled(&self) -> Vec<String> {
        let known = self.known();
        let entries = known.entries.values();
        let open = entries.filter(|entry| entry.boot.is_some());
        open.map(|entry| entry.id.clone()).collect()
    }
}

impl Known {
    /// These results and all that they were made from.
    fn with_parents(&self, ids: impl Iterator<Item = String>) -> HashSet<String> {
        let mut all = HashSet::new();
        let mut pending: Vec<String> = ids.collect();
        while let Some(id) = pending.pop() {
            if all.contains(&id) {
                continue;
            }
            if let Some(entry) = self.entries.get(&id) {
                pending.extend(entry.parents.iter().cloned());
            }
            all.insert(id);
        }
        all
    }
}
