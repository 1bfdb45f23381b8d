//! `volume rm` and `volume prune`.

use super::{LOCAL, Pruned, Row, local, mounted};
use crate::container::record::Record;
use crate::prune::Chosen;
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where in the directory of all volumes those are that go; no volume can have the name.
pub(super) const REMOVED: &str = ".removed";

impl Engine {
    /// Removes a volume that no container names. With `force` one that is not there is fine, and one
    /// whose driver cannot remove it is forgotten.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while containers name it.
    pub async fn volume_remove(self: &Arc<Self>, name: &str, force: bool) -> Result<()> {
        let (engine, name) = (Arc::clone(self), name.to_owned());
        blocking(move || match engine.drop_volume(&name, force) {
            Err(error) if force && error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        })
        .await
    }

    /// Removes the volumes that no container names: with the filter `all` all of them, without only
    /// those made without a name. More filters: `label`, `label!`.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that makes no sense, `Conflict` while another prune runs.
    pub async fn volume_prune(self: &Arc<Self>, mut filters: Filters) -> Result<Pruned> {
        let all = everything(filters.remove("all").as_deref().unwrap_or_default())?;
        if filters.contains_key("until") {
            let text = "invalid filter 'until'";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let chosen = Chosen::new(&filters, &[], ErrorKind::InvalidInput)?;
        let engine = Arc::clone(self);
        let pruned = blocking(move || {
            let _turn = engine.volume_prune.begin()?;
            let mut pruned = Pruned::default();
            for (row, users) in engine.volumes.all() {
                let takes = chosen.takes(Some(row.created), row.labels.as_ref());
                // One with options is more than its files, and its owner's to remove, as in dockerd.
                let kind = row.is_plain() && (all || row.is_anonymous());
                if users > 0 || !kind || !takes {
                    continue;
                }
                let size = hull_image::taken(&engine.volume_dir(&row.name)).unwrap_or(0);
                match engine.drop_volume(&row.name, false) {
                    Ok(()) => {
                        pruned.names.push(row.name.clone());
                        pruned.bytes += size;
                    }
                    Err(error) => tracing::debug!(volume = row.name, %error, "not pruned"),
                }
            }
            Ok(pruned)
        })
        .await?;
        self.tell_prune("volume", pruned.bytes);
        Ok(pruned)
    }

    /// A container that is gone names no volumes any more; with `anonymous`, its own ones go with it.
    pub(crate) fn release_volumes(&self, record: &Record, anonymous: bool) {
        for point in mounted::points(record) {
            self.volumes.drop_user(&point.name, &record.id);
        }
        for point in mounted::points(record).filter(|point| anonymous && point.anonymous) {
            match self.drop_volume(&point.name, false) {
                // Another container has it by --volumes-from.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                }
                Err(error) => {
                    tracing::warn!(volume = point.name, error = %error.full_message(), "an anonymous volume was not removed");
                }
                Ok(()) => {}
            }
        }
    }

    fn drop_volume(&self, name: &str, force: bool) -> Result<()> {
        let _held = self.volumes.hold(name);
        let Some(row) = self.volumes.get(name) else {
            let found = self.foreign_volume(name);
            let found = found.ok_or_else(|| super::missing(name))?;
            let removed = self.drivers().remove(&found.driver, name);
            return removed.map_err(|error| super::driver_error("remove", name, error));
        };
        let users = self.volumes.users(name);
        if !users.is_empty() {
            let text = format!("remove {name}: volume is in use - [{}]", users.join(", "));
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        if row.driver != LOCAL {
            match self.drivers().remove(&row.driver, name) {
                Err(error) if !force => return Err(super::driver_error("remove", name, error)),
                _ => self.rows.delete_volume(name)?,
            }
        } else {
            self.remove_local(&row)?;
        }
        self.volumes.forget(name);
        self.tell_volume(name, &row.driver, "destroy", &[]);
        Ok(())
    }

    fn remove_local(&self, row: &Row) -> Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        self.unmount_local(row);
        if hull_linux::mount::is_mounted(&self.volume_data(&row.name)).unwrap_or(false) {
            // Its files are those of whatever is mounted there.
            let text = format!("remove {}: volume has active mounts", row.name);
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let removed = self.config.data_root.join(local::DIRECTORY).join(REMOVED);
        let own = self.volume_dir(&row.name);
        let gone = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let gone = removed.join(format!("{number}-{}", row.name));
            if fs_err::symlink_metadata(&gone).is_err() {
                break gone;
            }
        };
        let failed = |error: io::Error| {
            let text = format!("remove {}: error removing volume path", row.name);
            Error::new(ErrorKind::Internal, text).caused_by(error)
        };
        fs_err::create_dir_all(&removed).map_err(failed)?;
        let moved = match fs_err::rename(&own, &gone) {
            Ok(()) => true,
            // Somebody took it away: what is left is the row.
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(error)),
        };
        if let Err(error) = self.rows.delete_volume(&row.name) {
            let _ = fs_err::rename(&gone, &own);
            return Err(error);
        }
        if moved {
            delete_later(vec![gone]);
        }
        Ok(())
    }
}

/// Deletes directories in a thread: nobody waits for that, and what is left the next start deletes.
pub(super) fn delete_later(paths: Vec<std::path::PathBuf>) {
    let work = move || {
        for path in paths {
            if let Err(error) = hull_image::delete::remove_tree(&path) {
                tracing::warn!(%error, "cannot delete a removed volume; the next start tries again");
            }
        }
    };
    let _ = std::thread::Builder::new()
        .name("volumes".to_owned())
        .spawn(work);
}

/// What the filter `all` says, as Go reads booleans.
fn everything(values: &[String]) -> Result<bool> {
    let invalid = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
    match values {
        [] => Ok(false),
        [value] => match value.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            other => invalid(format!(
                "invalid filter 'all': strconv.ParseBool: parsing {other:?}: invalid syntax"
            )),
        },
        _ => invalid("invalid filter 'all'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_all_is_a_boolean() {
        let all = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            everything(&values).map_err(|error| error.message().to_owned())
        };
        assert_eq!(all(&[]), Ok(false));
        assert_eq!(all(&["1"]), Ok(true));
        assert_eq!(
            all(&["maybe"]).unwrap_err(),
            "invalid filter 'all': strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert!(all(&["1", "0"]).is_err());
    }
}
