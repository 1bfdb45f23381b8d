//! Containers' rows that do not wait for the disk.
//!
//! ```text
//! put_soon ─► <exec-root>/rows/<id>.json ─ acknowledged ─ a moment later, all in one transaction ─► hull.db
//! ```
//!
//! The file survives the daemon, as the container does; the next daemon brings it into the database. The exec root goes
//! with the boot, as processes do: what a loss of power takes with it in that moment is how far a container had come
//! that nothing would start again, or a container that was to be removed when it ends.

use super::{Change, Rows, lock};
use crate::{Error, ErrorKind, Result};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// How long rows gather. Most containers that are removed when they end live shorter.
const MOMENT: Duration = Duration::from_millis(100);

/// Rows that are not in the database yet.
#[derive(Debug)]
pub(super) struct Soon {
    dir: PathBuf,
    /// Which boot of the host this is. An exec root on a disk may outlive it.
    boot: String,
    waiting: Mutex<Waiting>,
    /// Held while rows are brought to the database.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    rows: HashMap<String, Vec<u8>>,
    /// Those that have a file.
    filed: HashSet<String>,
    /// Those on their way into the database.
    leaving: HashSet<String>,
    /// Somebody will come for them.
    awaited: bool,
}

impl Soon {
    /// Keeps files in `dir`, which exists.
    pub(super) fn new(dir: PathBuf) -> Result<Self> {
        let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id");
        let boot = boot.map_err(|error| failed("read", error))?;
        Ok(Self {
            dir,
            boot: boot.trim().to_owned(),
            waiting: Mutex::default(),
            writing: Mutex::default(),
        })
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    /// The rows that an earlier daemon of this boot has left in files; other files go.
    pub(super) fn left(&self) -> Result<HashMap<String, Vec<u8>>> {
        let mut rows = HashMap::new();
        let entries = fs_err::read_dir(&self.dir).map_err(|error| failed("read", error))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let id = path.file_stem().and_then(|name| name.to_str());
            let whole = path.extension().is_some_and(|end| end == "json");
            let row = read(&path, &self.boot);
            match (id, row) {
                (Some(id), Some(row)) if whole => {
                    rows.insert(id.to_owned(), row);
                }
                _ => remove(&path),
            }
        }
        Ok(rows)
    }

    /// The files of these are needed no more.
    pub(super) fn forget(&self, ids: impl Iterator<Item = String>) {
        for id in ids {
            remove(&self.path(&id));
        }
    }

    fn write(&self, id: &str, row: &[u8]) -> io::Result<()> {
        let mut text = self.boot.clone().into_bytes();
        text.push(b'\n');
        text.extend(row);
        let unfinished = self.dir.join(format!("{id}.tmp"));
        fs_err::write(&unfinished, text)?;
        fs_err::rename(unfinished, self.path(id))
    }
}

fn read(path: &Path, boot: &str) -> Option<Vec<u8>> {
    let text = fs_err::read(path).ok()?;
    let row = text.strip_prefix(boot.as_bytes())?.strip_prefix(b"\n")?;
    // After a crash of the host a file may have its length and nothing in it.
    serde_json::from_slice::<serde::de::IgnoredAny>(row).ok()?;
    Some(row.to_vec())
}

fn remove(path: &Path) {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "a file of a container's row was not removed");
        }
        _ => {}
    }
}

fn failed(operation: &str, source: io::Error) -> Error {
    let text = format!("could not {operation} the containers' rows in the exec root");
    Error::new(ErrorKind::Internal, text).caused_by(source)
}

impl Rows {
    /// Keeps a row over the daemon's end at once, and in the database in a moment.
    pub(super) fn change_soon(&self, id: &str, row: Vec<u8>) -> Result<()> {
        let soon = &self.soon;
        let mut waiting = lock(&soon.waiting);
        if let Err(error) = soon.write(id, &row) {
            tracing::debug!(%error, "a row goes to the disk at once");
            drop(waiting);
            return self.change(id, Some(row), None);
        }
        waiting.filed.insert(id.to_owned());
        waiting.rows.insert(id.to_owned(), row);
        if !std::mem::replace(&mut waiting.awaited, true) {
            self.come_for_them(&mut waiting);
        }
        drop(waiting);
        self.tidy();
        Ok(())
    }

    fn come_for_them(&self, waiting: &mut Waiting) {
        let rows = Arc::downgrade(&self.soon);
        let (database, batch) = (Arc::downgrade(&self.db), Arc::downgrade(&self.batch));
        let later = move || {
            // It may be shorter: nothing depends on it.
            std::thread::park_timeout(MOMENT);
            // The engine may be gone: then the files are the next one's.
            if let (Some(soon), Some(db), Some(batch)) =
                (rows.upgrade(), database.upgrade(), batch.upgrade())
            {
                Rows { db, batch, soon }.bring();
            }
        };
        let thread = std::thread::Builder::new().name("rows".to_owned());
        // Without a thread the next row tries again.
        waiting.awaited = thread.spawn(later).is_ok();
    }

    /// Brings what waits into the database.
    pub(crate) fn bring(&self) {
        let _writing = lock(&self.soon.writing);
        let rows: Vec<Arc<Change>> = {
            let mut waiting = lock(&self.soon.waiting);
            waiting.awaited = false;
            let rows = std::mem::take(&mut waiting.rows);
            waiting.leaving.extend(rows.keys().cloned());
            let rows = rows.into_iter().map(|(id, row)| {
                Arc::new(Change {
                    id,
                    row: Some(row),
                    generation: None,
                    outcome: OnceLock::new(),
                })
            });
            let rows: Vec<_> = rows.collect();
            // While nobody else can: a later change of one of them has to come after.
            lock(&self.batch.waiting).extend(rows.iter().cloned());
            rows
        };
        self.take_turn(None);
        let mut waiting = lock(&self.soon.waiting);
        for change in rows {
            waiting.leaving.remove(&change.id);
            if waiting.rows.contains_key(&change.id) {
                continue;
            }
            match (change.outcome.get(), &change.row) {
                (Some(Ok(())), _) => {
                    if waiting.filed.remove(&change.id) {
                        remove(&self.soon.path(&change.id));
                    }
                }
                (outcome, row) => {
                    let error = outcome.and_then(|outcome| outcome.as_ref().err());
                    tracing::warn!(
                        ?error,
                        id = change.id,
                        "a container's row is not in the database yet"
                    );
                    if let Some(row) = row
                        && waiting.filed.contains(&change.id)
                    {
                        waiting.rows.insert(change.id.clone(), row.clone());
                    }
                }
            }
        }
    }

    /// Keeps a row durably that may have a file: the file says the same before the database does, and goes after.
    pub(super) fn change_both(
        &self,
        id: &str,
        row: Vec<u8>,
        generation: Option<u64>,
    ) -> Result<()> {
        {
            let mut waiting = lock(&self.soon.waiting);
            if waiting.filed.contains(id) {
                let written = self.soon.write(id, &row);
                written.map_err(|error| failed("write", error))?;
            }
            waiting.rows.remove(id);
        }
        self.change(id, Some(row), generation)?;
        let mut waiting = lock(&self.soon.waiting);
        if !waiting.rows.contains_key(id) && waiting.filed.remove(id) {
            remove(&self.soon.path(id));
        }
        Ok(())
    }

    /// Whether forgetting a container needs the database; its file is gone then.
    pub(super) fn is_written(&self, id: &str) -> bool {
        let mut waiting = lock(&self.soon.waiting);
        waiting.rows.remove(id);
        if waiting.filed.remove(id) {
            remove(&self.soon.path(id));
        }
        waiting.leaving.contains(id) || !matches!(self.has(id), Ok(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_image::Database;

    fn open(dir: &Path) -> Rows {
        let rows = dir.join("rows");
        fs_err::create_dir_all(&rows).unwrap();
        let database = Arc::new(Database::open(dir.join("db")).unwrap());
        Rows::open(database, rows).unwrap()
    }

    fn files(dir: &Path) -> usize {
        fs_err::read_dir(dir.join("rows")).unwrap().count()
    }

    /// The engine ends without a word.
    fn kill(rows: Rows) {
        let _no_thread_brings_them = lock(&rows.soon.writing);
        lock(&rows.soon.waiting).rows.clear();
    }

    #[test]
    fn what_was_acknowledged_outlives_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let rows = open(dir.path());
        rows.change_soon("a", b"1".to_vec()).unwrap();
        rows.change_soon("a", b"2".to_vec()).unwrap();
        rows.change_soon("b", b"3".to_vec()).unwrap();
        assert!(!rows.is_written("b"), "it had no time to be");
        kill(rows);
        fs_err::write(dir.path().join("rows/c.json"), "another boot\n4").unwrap();
        fs_err::write(dir.path().join("rows/d.tmp"), "5").unwrap();
        let rows = open(dir.path());
        assert!(rows.has("a").unwrap());
        assert!(!rows.has("b").unwrap());
        assert!(!rows.has("c").unwrap());
        assert_eq!(files(dir.path()), 0, "the database has them");
    }

    #[test]
    fn rows_come_into_the_database_and_lose_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let rows = open(dir.path());
        rows.change_soon("a", b"1".to_vec()).unwrap();
        rows.bring();
        assert!(rows.has("a").unwrap());
        assert_eq!(files(dir.path()), 0);
        rows.change_soon("a", b"2".to_vec()).unwrap();
        rows.change_both("a", b"3".to_vec(), None).unwrap();
        assert_eq!(files(dir.path()), 0);
        rows.bring();
        let table = rows.db.begin_read().unwrap();
        let table = table.open_table(super::super::CONTAINERS).unwrap();
        let kept = table.get("a").unwrap().unwrap().value().to_vec();
        assert_eq!(kept, b"3", "not the older one");
        rows.change_soon("a", b"4".to_vec()).unwrap();
        assert!(rows.is_written("a"));
        rows.change("a", None, None).unwrap();
        rows.bring();
        assert!(!rows.has("a").unwrap());
    }
}
