//! The metadata database's file: opened, or refused with what to do about it.
//!
//! What no row owns is removed at the start. So a database that is gone, empty or damaged must stop the
//! daemon before that: with the rows everything else would go.

use crate::{Error, ErrorKind, Result};
use hull_image::Database;
use redb::{DatabaseError, StorageError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// What holds data that a new database would know nothing of.
const OWNED: [&str; 5] = [
    "layers",
    "blobs/sha256",
    "snapshots",
    "containers",
    "ingest",
];

const HINT: &str = "restore hull.db from a backup; or, to begin anew, move the data root away: images are \
                    pulled again, but what containers wrote is only there";

/// Opens the database of a data root, which holds the environment of containers: it is root's alone.
pub(crate) fn open(data_root: &Path) -> Result<Arc<Database>> {
    let path = data_root.join("hull.db");
    let length = prepare(&path).map_err(|error| refused(error, false))?;
    if length == 0
        && let Some(dir) = OWNED.iter().find(|dir| has_entries(&data_root.join(dir)))
    {
        let text = format!(
            "the metadata database {} is missing or empty, but {dir} is not: {HINT}",
            path.display()
        );
        return Err(Error::new(ErrorKind::Internal, text));
    }
    // redb checks what it reads by checksums, and some of its structure by assertions.
    match catch_unwind(|| Database::open(&path)) {
        Ok(Ok(database)) => Ok(Arc::new(database)),
        Ok(Err(error)) => {
            let damaged = is_damage(&error);
            Err(refused(error, damaged))
        }
        Err(_) => Err(refused("it cannot be read", true)),
    }
}

/// Reads with `read`, for the first time: what is damaged shows here at the latest.
pub(crate) fn first_look<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(read));
    outcome.unwrap_or_else(|_| Err(refused("it cannot be read", true)))
}

fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>, damaged: bool) -> Error {
    let text = if damaged {
        format!("the metadata database hull.db is damaged ({HINT})")
    } else {
        "could not open the metadata database hull.db".to_owned()
    };
    Error::new(ErrorKind::Internal, text).caused_by(error)
}

fn is_damage(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::RepairAborted => true,
        DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        // Not a database at all, or one that ends too early.
        DatabaseError::Storage(StorageError::Io(error)) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

/// Makes the file unless it is there; gives its length.
fn prepare(path: &Path) -> io::Result<u64> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file.metadata()?.len())
}

fn has_entries(dir: &Path) -> bool {
    fs_err::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::TableDefinition;

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("t");

    fn message(root: &Path) -> String {
        open(root).map(drop).unwrap_err().full_message()
    }

    fn filled(root: &Path) -> Vec<u8> {
        let database = open(root).unwrap();
        let change = database.begin_write().unwrap();
        {
            let mut table = change.open_table(TABLE).unwrap();
            for number in 0..2000 {
                table.insert(number, number).unwrap();
            }
        }
        change.commit().unwrap();
        drop(database);
        fs_err::read(root.join("hull.db")).unwrap()
    }

    #[test]
    fn a_database_that_is_gone_takes_nothing_with_it() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("layers")).unwrap();
        filled(dir.path());
        fs_err::write(dir.path().join("layers/x"), "").unwrap();
        assert!(open(dir.path()).is_ok());
        fs_err::write(dir.path().join("hull.db"), "").unwrap();
        assert!(message(dir.path()).contains("is missing or empty, but layers is not: restore"));
        fs_err::remove_file(dir.path().join("hull.db")).unwrap();
        assert!(message(dir.path()).contains("is missing or empty"));
        fs_err::remove_file(dir.path().join("layers/x")).unwrap();
        assert!(
            open(dir.path()).is_ok(),
            "an empty data root gets a new one"
        );
    }

    #[test]
    fn damage_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled(dir.path());
        let file = dir.path().join("hull.db");
        for length in [1, 100, 4096, whole.len() / 2] {
            fs_err::write(&file, &whole[..length]).unwrap();
            let said = message(dir.path());
            assert!(
                said.contains("hull.db is damaged (restore"),
                "{length}: {said}"
            );
        }
        fs_err::write(&file, vec![b'x'; 100_000]).unwrap();
        assert!(message(dir.path()).contains("hull.db is damaged"));
        // Wherever it is overwritten: an answer, and no other end.
        for at in (0..whole.len()).step_by(16384) {
            let mut bytes = whole.clone();
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0xff);
            fs_err::write(&file, &bytes).unwrap();
            let Ok(database) = open(dir.path()) else {
                continue;
            };
            let _ = first_look(|| {
                let read = || -> std::result::Result<u64, redb::Error> {
                    let table = database.begin_read()?.open_table(TABLE)?;
                    Ok(redb::ReadableTableMetadata::len(&table)?)
                };
                read().map_err(|error| refused(error, true))
            });
        }
    }
}
