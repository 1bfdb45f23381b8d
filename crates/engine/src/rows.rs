//! The engine's table in the metadata database.

use crate::container::record::Record;
use crate::network::Row as NetworkRow;
use crate::{Error, ErrorKind, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::sync::Arc;

/// Container id → [`Record`] as JSON.
const CONTAINERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine.containers");
/// Network id → [`NetworkRow`] as JSON.
const NETWORKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine.networks");
/// Name → value: the engine's own id, the version of the tables.
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("engine.meta");
/// Counted up when rows can no longer be read as they are.
const VERSION: &str = "1";

/// The rows.
#[derive(Clone, Debug)]
pub(crate) struct Rows(Arc<Database>);

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
    /// Makes the tables where they are missing.
    pub(crate) fn open(db: Arc<Database>) -> Result<Self> {
        let prepare = || -> std::result::Result<Option<String>, redb::Error> {
            let change = db.begin_write()?;
            let found = {
                change.open_table(CONTAINERS)?;
                change.open_table(NETWORKS)?;
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
        match prepare().map_err(failed("open"))? {
            Some(version) if version != VERSION => {
                let text = format!(
                    "the data root was written by another version of Hull (tables {version}, this one knows {VERSION})"
                );
                Err(Error::new(ErrorKind::Unavailable, text))
            }
            _ => Ok(Self(db)),
        }
    }

    /// All containers.
    pub(crate) fn containers(&self) -> Result<Vec<Record>> {
        let read = || -> std::result::Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.0.begin_read()?.open_table(CONTAINERS)?;
            table
                .iter()?
                .map(|row| Ok(row?.1.value().to_vec()))
                .collect()
        };
        let rows = read().map_err(failed("read"))?;
        rows.iter()
            .map(|row| {
                serde_json::from_slice(row).map_err(|e| {
                    Error::new(ErrorKind::Internal, "a container's row cannot be read").caused_by(e)
                })
            })
            .collect()
    }

    /// Keeps a container, durably.
    pub(crate) fn put(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record).map_err(|e| {
            Error::new(ErrorKind::Internal, "a container cannot be written down").caused_by(e)
        })?;
        let write = || -> std::result::Result<(), redb::Error> {
            let change = self.0.begin_write()?;
            change
                .open_table(CONTAINERS)?
                .insert(record.id.as_str(), bytes.as_slice())?;
            Ok(change.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// Forgets a container, durably.
    pub(crate) fn delete(&self, id: &str) -> Result<()> {
        let write = || -> std::result::Result<(), redb::Error> {
            let change = self.0.begin_write()?;
            change.open_table(CONTAINERS)?.remove(id)?;
            Ok(change.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// All networks that users made.
    pub(crate) fn networks(&self) -> Result<Vec<NetworkRow>> {
        let read = || -> std::result::Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.0.begin_read()?.open_table(NETWORKS)?;
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
            let change = self.0.begin_write()?;
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
            let change = self.0.begin_write()?;
            change.open_table(NETWORKS)?.remove(id)?;
            Ok(change.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// The address ranges that the default bridge had last.
    pub(crate) fn default_pools(&self) -> Result<Vec<hull_network::model::Pool>> {
        let read = || -> std::result::Result<Option<String>, redb::Error> {
            let meta = self.0.begin_read()?.open_table(META)?;
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
            let change = self.0.begin_write()?;
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
            let change = self.0.begin_write()?;
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
