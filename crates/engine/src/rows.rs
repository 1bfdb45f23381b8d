//! The engine's tables in the metadata database.

mod soon;

use crate::container::RestartPolicy;
use crate::container::live::Container;
use crate::container::record::Record;
use crate::network::Row as NetworkRow;
use crate::volume::Row as VolumeRow;
use crate::{Error, ErrorKind, Result};
use hull_image::Database;
use redb::{ReadableTable, TableDefinition};
use soon::Soon;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Container id → [`Record`] as JSON.
const CONTAINERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine.containers");
/// Network id → [`NetworkRow`] as JSON.
const NETWORKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine.networks");
/// Volume name → [`VolumeRow`] as JSON.
const VOLUMES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine.volumes");
/// Name → value: the engine's own id, the version of the tables.
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("engine.meta");
/// Counted up when rows can no longer be read as they are.
const VERSION: &str = "1";

/// The rows.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    db: Arc<Database>,
    batch: Arc<Batch>,
    soon: Arc<Soon>,
}

/// Changes of containers' rows that wait for the disk. A transaction takes as long for one as for a hundred, and
/// only one can be under way: whoever has the turn writes what all have brought meanwhile.
#[derive(Debug, Default)]
struct Batch {
    waiting: Mutex<Vec<Arc<Change>>>,
    turn: Mutex<()>,
    /// How many there were.
    count: AtomicU32,
}

#[derive(Debug)]
struct Change {
    id: String,
    /// `None`: it goes.
    row: Option<Vec<u8>>,
    /// The database's generation without which the row means nothing.
    generation: Option<u64>,
    outcome: OnceLock<std::result::Result<(), Arc<redb::Error>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bytes_of(record: &Record) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|e| {
        Error::new(ErrorKind::Internal, "a container cannot be written down").caused_by(e)
    })
}

fn not_written() -> Error {
    Error::new(ErrorKind::Internal, "could not write the metadata database")
}

fn failed(operation: &'static str) -> impl Fn(redb::Error) -> Error {
    move |source| {
        Error::new(
            ErrorKind::Internal,
            format!("could not {operation} the metadata database"),
        )
        .caused_by(source)
    }
}

impl Rows {
    /// Makes the tables where they are missing. `dir`, of the exec root, has the rows that are not in the database yet:
    /// those that an earlier daemon has left are brought there.
    pub(crate) fn open(db: Arc<Database>, dir: PathBuf) -> Result<Self> {
        let prepare = || -> std::result::Result<Option<String>, redb::Error> {
            let change = db.begin_write()?;
            let found = {
                change.open_table(CONTAINERS)?;
                change.open_table(NETWORKS)?;
                change.open_table(VOLUMES)?;
                let mut meta = change.open_table(META)?;
                let found = meta.get("version")?.map(|value| value.value().to_owned());
                if found.is_none() {
                    meta.insert("version", VERSION)?;
                }
                found
            };
            change.commit()?;
            Ok(found)
        };
        let found = prepare().map_err(failed("open"))?;
        if let Some(version) = found.filter(|version| version != VERSION) {
            let text = format!(
                "the data root was written by another version of Hull (tables {version}, this one knows {VERSION})"
            );
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        let rows = Self {
            db,
            batch: Arc::default(),
            soon: Arc::new(Soon::new(dir)?),
        };
        let left = rows.soon.left()?;
        let changes = left.into_iter().map(|(id, row)| {
            Arc::new(Change {
                id,
                row: Some(row),
                generation: None,
                outcome: OnceLock::new(),
            })
        });
        let changes: Vec<_> = changes.collect();
        if !changes.is_empty() {
            rows.write(&changes).map_err(failed("write"))?;
            let ids = changes.iter().map(|change| change.id.clone());
            rows.soon.forget(ids);
        }
        Ok(rows)
    }

    /// All containers.
    pub(crate) fn containers(&self) -> Result<Vec<Record>> {
        let read = || -> std::result::Result<Vec<_>, redb::Error> {
            let table = self.db.begin_read()?.open_table(CONTAINERS)?;
            let rows = table.iter()?;
            rows.map(|row| Ok(serde_json::from_slice(row?.1.value())))
                .collect()
        };
        let rows = read().map_err(failed("read"))?.into_iter();
        rows.map(|row| {
            row.map_err(|e| {
                Error::new(ErrorKind::Internal, "a container's row cannot be read").caused_by(e)
            })
        })
        .collect()
    }

    /// Keeps a container, durably. One that is to be removed when it ends would be removed after a loss of power: it is
    /// kept over the daemon's end, and comes to the disk if it lives longer than a moment.
    pub(crate) fn put(&self, record: &Record) -> Result<()> {
        self.keep(record, None)
    }

    /// To be asked before something is written for a container that [`Rows::put_new`] is to make durable.
    pub(crate) fn generation(&self) -> u64 {
        self.db.generation()
    }

    /// Keeps a new container, with all that was written for it since `generation` was asked for.
    pub(crate) fn put_new(&self, record: &Record, generation: u64) -> Result<()> {
        self.keep(record, Some(generation))
    }

    fn keep(&self, record: &Record, generation: Option<u64>) -> Result<()> {
        // Its volumes are written down durably, and nobody would remove those that are its own.
        let volumes = record.mounts.iter().any(|point| point.kind == "volume");
        if record.config.auto_remove && !volumes {
            self.change_soon(&record.id, bytes_of(record)?)
        } else {
            self.change_both(&record.id, bytes_of(record)?, generation)
        }
    }

    /// Keeps how far a container has come: durably if its restart policy asks for that after the host's next start.
    pub(crate) fn put_progress(&self, record: &Record) -> Result<()> {
        if record.config.restart == RestartPolicy::No {
            self.change_soon(&record.id, bytes_of(record)?)
        } else {
            self.put(record)
        }
    }

    /// Keeps and forgets containers, durably and all at once.
    pub(crate) fn settle(&self, changed: &[Arc<Container>], gone: &[String]) -> Result<()> {
        if changed.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let rows = changed.iter().map(|container| container.read(bytes_of));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let write = || -> std::result::Result<(), redb::Error> {
            let change = self.db.begin_write()?;
            {
                let mut table = change.open_table(CONTAINERS)?;
                for (container, bytes) in changed.iter().zip(&rows) {
                    table.insert(container.id.as_str(), bytes.as_slice())?;
                }
                for id in gone {
                    table.remove(id.as_str())?;
                }
            }
            Ok(change.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// Forgets a container, durably.
    pub(crate) fn delete(&self, id: &str) -> Result<()> {
        if self.is_written(id) {
            return self.change(id, None, None);
        }
        self.tidy();
        Ok(())
    }

    fn has(&self, id: &str) -> std::result::Result<bool, redb::Error> {
        let table = self.db.begin_read()?.open_table(CONTAINERS)?;
        Ok(table.get(id)?.is_some())
    }

    /// Changes a container's row, with those of others who come at the same time; returns when it is durable.
    fn change(&self, id: &str, row: Option<Vec<u8>>, generation: Option<u64>) -> Result<()> {
        let change = Arc::new(Change {
            id: id.to_owned(),
            row,
            generation,
            outcome: OnceLock::new(),
        });
        lock(&self.batch.waiting).push(Arc::clone(&change));
        self.take_turn(Some(&change));
        self.tidy();
        match change.outcome.get() {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(not_written().caused_by(Arc::clone(error))),
            // Whoever had the turn panicked.
            None => Err(not_written()),
        }
    }

    /// Writes what waits, unless another has already written `own` meanwhile.
    fn take_turn(&self, own: Option<&Change>) {
        let _turn = lock(&self.batch.turn);
        if own.is_some_and(|own| own.outcome.get().is_some()) {
            return;
        }
        let all = std::mem::take(&mut *lock(&self.batch.waiting));
        let outcome = self.write(&all).map_err(Arc::new);
        for change in all {
            // Nobody else has it, but those that were refused already.
            let _ = change.outcome.set(outcome.clone());
        }
    }

    /// A container leaves a few kilobytes in memory between the many that its start needed for a moment.
    fn tidy(&self) {
        const OFTEN: u32 = 256;
        if self.batch.count.fetch_add(1, Ordering::Relaxed) % OFTEN == OFTEN - 1 {
            // Without a thread for it, the next time will do.
            let _ = std::thread::Builder::new()
                .name("tidy".to_owned())
                .spawn(hull_linux::memory::trim);
        }
    }

    /// All in one transaction, in their order, but those that mean nothing any more.
    fn write(&self, changes: &[Arc<Change>]) -> std::result::Result<(), redb::Error> {
        let transaction = self.db.begin_write()?;
        let generation = self.db.generation();
        {
            let mut table = transaction.open_table(CONTAINERS)?;
            for change in changes {
                if change.generation.is_some_and(|wanted| wanted != generation) {
                    let refused = Err(Arc::new(redb::Error::PreviousIo));
                    let _ = change.outcome.set(refused);
                    continue;
                }
                match &change.row {
                    Some(row) => table.insert(change.id.as_str(), row.as_slice())?,
                    None => table.remove(change.id.as_str())?,
                };
            }
        }
        Ok(transaction.commit()?)
    }

    /// All networks that users made.
    pub(crate) fn networks(&self) -> Result<Vec<NetworkRow>> {
        let read = || -> std::result::Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(NETWORKS)?;
            let rows = table.iter()?;
            rows.map(|row| Ok(row?.1.value().to_vec())).collect()
        };
        let parse = |row: &Vec<u8>| {
            serde_json::from_slice(row).map_err(|e| {
                Error::new(ErrorKind::Internal, "a network's row cannot be read").caused_by(e)
            })
        };
        read().map_err(failed("read"))?.iter().map(parse).collect()
    }

    /// Keeps a network, durably.
    pub(crate) fn put_network(&self, row: &NetworkRow) -> Result<()> {
        let bytes = serde_json::to_vec(row).map_err(|e| {
            Error::new(ErrorKind::Internal, "a network cannot be written down").caused_by(e)
        })?;
        let write = || -> std::result::Result<(), redb::Error> {
            let change = self.db.begin_write()?;
            change
                .open_table(NETWORKS)?
                .insert(row.id.as_str(), bytes.as_slice())?;
            Ok(change.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// Forgets a network, durably.
    pub(crate) fn delete_network(&self, id: &str) -> Result<()> {
        let write = || -> std::result::Result<(), redb::Error> {
            let change = self.db.begin_write()?;
            change.open_table(NETWORKS)?.remove(id)?;
            Ok(change.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// All volumes.
    pub(crate) fn volumes(&self) -> Result<Vec<VolumeRow>> {
        let read = || -> std::result::Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(VOLUMES)?;
            let rows = table.iter()?;
            rows.map(|row| Ok(row?.1.value().to_vec())).collect()
        };
        let parse = |row: &Vec<u8>| {
            serde_json::from_slice(row).map_err(|e| {
                Error::new(ErrorKind::Internal, "a volume's row cannot be read").caused_by(e)
            })
        };
        read().map_err(failed("read"))?.iter().map(parse).collect()
    }

    /// Keeps a volume, durably.
    pub(crate) fn put_volume(&self, row: &VolumeRow) -> Result<()> {
        let bytes = serde_json::to_vec(row).map_err(|e| {
            Error::new(ErrorKind::Internal, "a volume cannot be written down").caused_by(e)
        })?;
        let write = || -> std::result::Result<(), redb::Error> {
            let change = self.db.begin_write()?;
            change
                .open_table(VOLUMES)?
                .insert(row.name.as_str(), bytes.as_slice())?;
            Ok(change.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// Forgets a volume, durably.
    pub(crate) fn delete_volume(&self, name: &str) -> Result<()> {
        let write = || -> std::result::Result<(), redb::Error> {
            let change = self.db.begin_write()?;
            change.open_table(VOLUMES)?.remove(name)?;
            Ok(change.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// The address ranges that the default bridge had last.
    pub(crate) fn default_pools(&self) -> Result<Vec<hull_network::model::Pool>> {
        let read = || -> std::result::Result<Option<String>, redb::Error> {
            let meta = self.db.begin_read()?.open_table(META)?;
            Ok(meta
                .get("bridge-pools")?
                .map(|value| value.value().to_owned()))
        };
        let text = read().map_err(failed("read"))?.unwrap_or_default();
        // What cannot be read is chosen anew.
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Keeps the address ranges of the default bridge, durably.
    pub(crate) fn put_default_pools(&self, pools: &[hull_network::model::Pool]) -> Result<()> {
        let text = serde_json::to_string(pools).map_err(|e| {
            Error::new(ErrorKind::Internal, "a network cannot be written down").caused_by(e)
        })?;
        let write = || -> std::result::Result<(), redb::Error> {
            let change = self.db.begin_write()?;
            change
                .open_table(META)?
                .insert("bridge-pools", text.as_str())?;
            Ok(change.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// The engine's own id, made at its first start.
    pub(crate) fn engine_id(&self) -> Result<String> {
        let write = || -> std::result::Result<String, redb::Error> {
            let change = self.db.begin_write()?;
            let id = {
                let mut meta = change.open_table(META)?;
                let known = meta.get("id")?.map(|value| value.value().to_owned());
                match known {
                    Some(id) => id,
                    None => {
                        let id = crate::names::uuid();
                        meta.insert("id", id.as_str())?;
                        id
                    }
                }
            };
            change.commit()?;
            Ok(id)
        };
        write().map_err(failed("write"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_come_together_are_all_kept_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::open(directory.path().join("db")).unwrap());
        let files = directory.path().join("rows");
        fs_err::create_dir(&files).unwrap();
        let rows = Rows::open(Arc::clone(&database), files).unwrap();
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let rows = rows.clone();
                scope.spawn(move || {
                    for number in 0..20 {
                        let id = format!("{worker}-{number}");
                        rows.change(&id, Some(b"first".to_vec()), None).unwrap();
                        rows.change(&id, Some(b"last".to_vec()), None).unwrap();
                        if number % 2 == 0 {
                            rows.change(&id, None, None).unwrap();
                        }
                    }
                });
            }
        });
        assert!(lock(&rows.batch.waiting).is_empty());
        let table = database
            .begin_read()
            .unwrap()
            .open_table(CONTAINERS)
            .unwrap();
        let kept: Vec<_> = table
            .iter()
            .unwrap()
            .map(|row| row.unwrap().1.value().to_vec())
            .collect();
        assert_eq!(kept, vec![b"last".to_vec(); 80]);
    }
}
