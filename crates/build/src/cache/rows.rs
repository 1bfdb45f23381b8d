//! The results' rows.

use super::{Cache, CacheError, Entry, Inner, Known};
use hull_image::Database;
use redb::{ReadableTable, TableDefinition};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Id → [`Entry`] as JSON.
const RESULTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("build.results");

fn failed<E: Into<redb::Error>>(operation: &'static str) -> impl FnOnce(E) -> CacheError {
    move |source| CacheError::Database {
        operation,
        source: Box::new(source.into()),
    }
}

impl Cache {
    /// Reads the results of earlier builds; `boot` names this start of the host.
    ///
    /// # Errors
    /// [`CacheError`]; a row that cannot be read is forgotten.
    pub fn open(database: Arc<Database>, boot: impl Into<String>) -> Result<Self, CacheError> {
        let boot = boot.into();
        let write = database.begin_write().map_err(failed("open"))?;
        write.open_table(RESULTS).map_err(failed("open"))?;
        write.commit().map_err(failed("open"))?;
        let mut known = Known::default();
        {
            let read = database.begin_read().map_err(failed("read"))?;
            let table = read.open_table(RESULTS).map_err(failed("read"))?;
            for row in table.iter().map_err(failed("read"))? {
                let (id, row) = row.map_err(failed("read"))?;
                let entry = serde_json::from_slice::<Entry>(row.value()).ok();
                // Its files may be half on the disk.
                let entry = entry.filter(|entry| entry.boot.as_ref().is_none_or(|at| *at == boot));
                match entry {
                    // No two rows have one id.
                    Some(entry) => drop(known.insert(entry)),
                    None => {
                        known.dirty.insert(id.value().to_owned());
                    }
                }
            }
        }
        known.dirty.retain(|id| !known.entries.contains_key(id));
        Ok(Self(Arc::new(Inner {
            database,
            known: Mutex::new(known),
            writing: Mutex::default(),
            boot,
        })))
    }

    /// Has the rows written by a thread.
    pub fn write_soon(&self) {
        let mut known = self.known();
        if known.writing || known.dirty.is_empty() {
            return;
        }
        known.writing = true;
        drop(known);
        let cache = self.clone();
        let thread = std::thread::Builder::new().name("build-cache".to_owned());
        if thread.spawn(move || cache.write_all()).is_err() {
            self.known().writing = false;
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.0
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self) {
        loop {
            let _turn = self.turn();
            let rows = {
                let mut known = self.known();
                known.writing = !known.dirty.is_empty();
                if !known.writing {
                    return;
                }
                known.take_dirty()
            };
            if self.write(&rows).is_err() {
                // They are tried again with the next change.
                let mut known = self.known();
                known.dirty.extend(rows.into_iter().map(|(id, _)| id));
                known.writing = false;
                return;
            }
        }
    }

    fn write(&self, rows: &[(String, Option<Entry>)]) -> Result<(), CacheError> {
        let write = self.0.database.begin_write().map_err(failed("write"))?;
        {
            let mut table = write.open_table(RESULTS).map_err(failed("write"))?;
            for (id, row) in rows {
                let bytes = row.as_ref().and_then(|row| serde_json::to_vec(row).ok());
                match bytes {
                    Some(bytes) => table
                        .insert(id.as_str(), bytes.as_slice())
                        .map_err(failed("write"))?,
                    None => table.remove(id.as_str()).map_err(failed("write"))?,
                };
            }
        }
        write.commit().map_err(failed("write"))
    }

    /// Writes what is not written yet, now.
    ///
    /// # Errors
    /// [`CacheError`]
    pub fn flush(&self) -> Result<(), CacheError> {
        let _turn = self.turn();
        let rows = self.known().take_dirty();
        match rows.is_empty() {
            true => Ok(()),
            false => self.write(&rows),
        }
    }
}

impl Known {
    /// The rows to be written, `None` for those that are to go.
    fn take_dirty(&mut self) -> Vec<(String, Option<Entry>)> {
        self.used_since = None;
        let used = std::mem::take(&mut self.used);
        self.dirty.extend(used);
        let dirty = std::mem::take(&mut self.dirty).into_iter();
        dirty
            .map(|id| {
                let row = self.entries.get(&id).cloned();
                (id, row)
            })
            .collect()
    }
}
