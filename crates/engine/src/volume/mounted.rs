//! Volumes of containers that run: mounted at the start, let go at the end.

use super::{LOCAL, Row};
use crate::container::MountPoint;
use crate::container::record::Record;
use crate::{Engine, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

impl Engine {
    /// Mounts all volumes of a container; gives where each is, by name. When one fails, the others are
    /// let go again.
    pub(crate) fn mount_volumes(&self, record: &Record) -> Result<BTreeMap<String, PathBuf>> {
        let mut places: BTreeMap<String, PathBuf> = BTreeMap::new();
        for point in points(record) {
            let place = match places.get(&point.name) {
                Some(place) => Ok(place.clone()),
                None => self.mount_volume(&point.name, &record.id),
            };
            match place {
                Ok(place) => places.insert(point.name.clone(), place),
                Err(error) => {
                    self.unmount_volumes(record);
                    return Err(error);
                }
            };
            let access = if point.read_only { "false" } else { "true" };
            let more = [
                ("container", record.id.as_str()),
                ("destination", &point.target),
                ("read/write", access),
                ("propagation", &point.propagation),
            ];
            self.tell_volume(&point.name, &point.driver, "mount", &more);
        }
        Ok(places)
    }

    /// Whether a container has volumes whose drivers are programs of their own, which take as long as they like.
    pub(crate) fn has_foreign_volumes(&self, record: &Record) -> bool {
        points(record).any(|point| {
            let row = self.volumes.get(&point.name);
            row.is_some_and(|row| row.driver != LOCAL)
        })
    }

    /// Lets go of all volumes of a container that does not run any more.
    pub(crate) fn unmount_volumes(&self, record: &Record) {
        for point in points(record) {
            let _held = self.volumes.hold(&point.name);
            let Some(row) = self.volumes.get(&point.name) else {
                continue;
            };
            if self.volumes.note_mounted(&point.name, &record.id, false) {
                self.let_go(&row, &record.id);
                let more = [("container", record.id.as_str())];
                self.tell_volume(&point.name, &point.driver, "unmount", &more);
            }
        }
    }

    /// Mounts a volume for a container that names it.
    fn mount_volume(&self, name: &str, container: &str) -> Result<PathBuf> {
        let _held = self.volumes.hold(name);
        let row = self.volumes.get(name).ok_or_else(|| super::missing(name))?;
        let place = self.mounted(&row, container)?;
        self.volumes.note_mounted(name, container, true);
        Ok(place)
    }

    /// Has a volume's files mounted for a while. `user` must not have it mounted: it is a container that
    /// does not run.
    pub(crate) fn visit_volume(&self, name: &str, user: &str) -> Result<Visit<'_>> {
        let _held = self.volumes.hold(name);
        let row = self.volumes.get(name).ok_or_else(|| super::missing(name))?;
        let user = format!("{user}-visit-{}", VISITS.fetch_add(1, Ordering::Relaxed));
        let place = self.mounted(&row, &user)?;
        // Noted as a user of its own, so that nobody's end unmounts it.
        self.volumes.add_user(name, &user);
        self.volumes.note_mounted(name, &user, true);
        Ok(Visit {
            engine: self,
            row,
            user,
            place,
        })
    }

    /// The name is held.
    fn mounted(&self, row: &Arc<Row>, user: &str) -> Result<PathBuf> {
        if row.driver == LOCAL {
            return self.mount_local(row);
        }
        let place = self.drivers().mount(&row.driver, &row.name, user);
        place.map_err(|error| {
            let text = format!("error while mounting volume '{}': {error}", row.name);
            Error::new(ErrorKind::Internal, text)
        })
    }

    /// The name is held, and `user` noted as one that has it not mounted.
    pub(super) fn let_go(&self, row: &Arc<Row>, user: &str) {
        if row.driver != LOCAL {
            if let Err(error) = self.drivers().unmount(&row.driver, &row.name, user) {
                tracing::warn!(volume = row.name, %error, "a driver did not unmount a volume");
            }
        } else if row.needs_mount() && !self.volumes.is_mounted(&row.name) {
            self.unmount_local(row);
        }
    }
}

static VISITS: AtomicU64 = AtomicU64::new(0);

/// A volume that is mounted for a while.
#[derive(Debug)]
pub(crate) struct Visit<'e> {
    engine: &'e Engine,
    row: Arc<Row>,
    user: String,
    place: PathBuf,
}

impl Visit<'_> {
    /// Where it is.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let _held = self.engine.volumes.hold(&self.row.name);
        self.engine.volumes.drop_user(&self.row.name, &self.user);
        self.engine.let_go(&self.row, &self.user);
    }
}

/// The mount points of a container that are volumes.
pub(super) fn points(record: &Record) -> impl Iterator<Item = &MountPoint> {
    record.mounts.iter().filter(|point| point.kind == "volume")
}
