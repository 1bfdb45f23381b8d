//! Volumes after a restart of the daemon.

use super::remove::{REMOVED, delete_later};
use super::{ANONYMOUS, LOCAL, Row, local, mounted};
use crate::container::record::Record;
use crate::{Engine, Result};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What versions without rows had beside the data of an anonymous volume.
const MARKER: &str = "anonymous";

impl Engine {
    /// Reads the rows and settles what a crash left: a removal whose row is still there did not happen,
    /// what has no row and holds nothing was never acknowledged, and what has no row but holds something
    /// is somebody's data, and becomes a volume.
    pub(crate) fn recover_volumes(&self) -> Result<()> {
        for row in self.rows.volumes()? {
            self.volumes.insert(Arc::new(row));
        }
        let directory = self.config.data_root.join(local::DIRECTORY);
        let mut gone = Vec::new();
        for entry in entries(&directory.join(REMOVED)) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let own = name.split_once('-').map(|(_, name)| directory.join(name));
            match (name.split_once('-'), own) {
                (Some((_, name)), Some(own))
                    if self.volumes.get(name).is_some() && !own.exists() =>
                {
                    if let Err(error) = fs_err::rename(entry.path(), own) {
                        tracing::warn!(%error, "a volume was not put back");
                    }
                }
                _ => gone.push(entry.path()),
            }
        }
        if !gone.is_empty() {
            delete_later(gone);
        }
        for entry in entries(&directory) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != REMOVED && self.volumes.get(&name).is_none() {
                self.adopt_volume(&name, &entry.path())?;
            }
        }
        Ok(())
    }

    fn adopt_volume(&self, name: &str, own: &Path) -> Result<()> {
        let data = own.join(local::DATA);
        if local::check_name(name).is_err() || !own.is_dir() {
            return Ok(());
        }
        let marked = own.join(MARKER).exists();
        if !marked && (!data.exists() || fs_err::remove_dir(&data).is_ok()) {
            let _ = fs_err::remove_dir(own);
            return Ok(());
        }
        tracing::warn!(volume = name, "files without a record become a volume");
        let made = fs_err::metadata(&data).and_then(|data| data.created());
        let made = made.ok().and_then(|at| Timestamp::try_from(at).ok());
        let row = Row {
            name: name.to_owned(),
            created: made.unwrap_or_else(Timestamp::now),
            labels: marked.then(|| BTreeMap::from([(ANONYMOUS.to_owned(), String::new())])),
            ..Row::default()
        };
        self.rows.put_volume(&row)?;
        self.volumes.insert(Arc::new(row));
        Ok(())
    }

    /// Notes which volumes a container names.
    pub(crate) fn name_volumes(&self, record: &Record) {
        for point in mounted::points(record) {
            self.volumes.add_user(&point.name, &record.id);
            if record.is_running() {
                self.volumes.note_mounted(&point.name, &record.id, true);
            }
        }
    }

    /// Unmounts what no container that runs has. Called once all containers are known.
    pub(crate) fn unmount_unused(&self) {
        for (row, _) in self.volumes.all() {
            if row.driver == LOCAL && row.needs_mount() && !self.volumes.is_mounted(&row.name) {
                self.unmount_local(&row);
            }
        }
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = std::fs::DirEntry> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.flatten()
}
