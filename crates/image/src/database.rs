//! The metadata database's file, on disks that run full.
//!
//! redb gives up a database for good at the first write that fails, as it cannot know what is on the disk then. So
//! that a full disk is no reason to start the daemon anew:
//!
//! ```text
//! the file's blocks are allocated    before the database counts on them: what it rewrites has its room
//! as many again wait behind its end  it can grow once more when nobody else can, so that removals still work
//! a database that failed             is opened again by the next transaction: its last durable one counts
//! ```
//!
//! Nothing locks the file: whoever opens it holds the lock of the data root.

use redb::{
    DatabaseError, ReadTransaction, ReadableDatabase as _, StorageBackend, TransactionError,
    WriteTransaction,
};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of the file that are kept in memory. Rows are read once, at the start; redb's own choice is a gigabyte.
const CACHE: usize = 4 << 20;

/// The most bytes that wait behind the file's end. A small database doubles when it grows, a large one has room.
const SPARE: u64 = 64 << 20;

/// The metadata database. Transactions are redb's.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    /// `None` when it failed and could not be opened again yet.
    opened: Option<Arc<Opened>>,
    generation: u64,
}

#[derive(Debug)]
struct Opened {
    database: redb::Database,
    disk: Arc<Disk>,
}

impl Opened {
    fn new(disk: Disk) -> Result<Arc<Self>, DatabaseError> {
        let disk = Arc::new(disk);
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE);
        let database = builder.create_with_backend(Shared(Arc::clone(&disk)))?;
        Ok(Arc::new(Self { database, disk }))
    }
}

impl Database {
    /// Opens the database at `path`, which is made if it is missing.
    ///
    /// # Errors
    /// redb's, also for a file that is no database.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DatabaseError> {
        let path = path.into();
        let current = RwLock::new(Current {
            opened: Some(Opened::new(Disk::open(&path, true)?)?),
            generation: 0,
        });
        Ok(Self { path, current })
    }

    /// How often it was opened again. When this has changed, transactions that were committed without being durable
    /// are lost.
    #[must_use]
    pub fn generation(&self) -> u64 {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Begins to write, when all others who write have ended.
    ///
    /// # Errors
    /// When the disk refuses; the next attempt may succeed.
    pub fn begin_write(&self) -> Result<WriteTransaction, redb::Error> {
        self.begin(redb::Database::begin_write)
    }

    /// Begins to read what is committed now.
    ///
    /// # Errors
    /// When the disk refuses; the next attempt may succeed.
    pub fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        self.begin(redb::Database::begin_read)
    }

    fn begin<T>(
        &self,
        begin: impl Fn(&redb::Database) -> Result<T, TransactionError>,
    ) -> Result<T, redb::Error> {
        // Not held while waiting for others: whoever has the turn may read, too.
        let opened = {
            let current = self.current.read();
            let current = current.unwrap_or_else(PoisonError::into_inner);
            current.opened.clone()
        };
        if let Some(opened) = opened.filter(|opened| !opened.disk.has_failed()) {
            match begin(&opened.database) {
                // Whoever had the turn has failed.
                _ if opened.disk.has_failed() => {}
                begun => return Ok(begun?),
            }
        }
        Ok(begin(&self.open_again()?.database)?)
    }

    /// The database as its last durable transaction left it, unless somebody else was faster.
    fn open_again(&self) -> Result<Arc<Opened>, redb::Error> {
        let current = self.current.write();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = current.opened.as_ref().filter(|o| !o.disk.has_failed()) {
            return Ok(Arc::clone(opened));
        }
        if let Some(failed) = current.opened.take() {
            // What it was writing when it failed has ended; from then on it writes nothing more, also if others
            // still have it.
            failed.disk.fail();
            tracing::warn!(path = %self.path.display(), "the metadata database failed, and is opened again");
        }
        let disk = Disk::open(&self.path, false)?;
        if disk.file.metadata()?.len() == 0 {
            // A new one in its place would know nothing, and what no row owns is removed.
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let opened = Opened::new(disk)?;
        current.opened = Some(Arc::clone(&opened));
        current.generation += 1;
        Ok(opened)
    }
}

/// The file. After the first failure everything fails.
#[derive(Debug)]
struct Disk {
    file: File,
    /// Held for reading by whoever is about to use the file.
    failed: RwLock<bool>,
}

impl Disk {
    fn open(path: &Path, create: bool) -> io::Result<Self> {
        let mut options = File::options();
        options
            .read(true)
            .write(true)
            .create(create)
            .truncate(false);
        let file = options.open(path)?;
        let length = file.metadata()?.len();
        if length > 0 {
            // Of a version that did not, or made when there was no room: what cannot be had is told by a write.
            let _ = allocate(&file, FallocateFlags::empty(), 0, length);
        }
        reserve(&file, length);
        let failed = RwLock::new(false);
        Ok(Self { file, failed })
    }

    fn has_failed(&self) -> bool {
        *self.failed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for those who use the file, and lets nobody use it any more.
    fn fail(&self) {
        *self.failed.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn attempt<T>(&self, work: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let done = {
            let failed = self.failed.read().unwrap_or_else(PoisonError::into_inner);
            if *failed {
                return Err(io::Error::other("the database has failed before"));
            }
            work(&self.file)
        };
        done.inspect_err(|_| self.fail())
    }
}

/// redb's way to the file, which both it and the [`Database`] have.
#[derive(Debug)]
struct Shared(Arc<Disk>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.attempt(|file| Ok(file.metadata()?.len()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.attempt(|file| file.read_exact_at(out, offset))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.attempt(|file| resize(file, length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.attempt(File::sync_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.attempt(|file| file.write_all_at(data, offset))
    }
}

/// Changes the file's length; what is new has its blocks.
fn resize(file: &File, length: u64) -> io::Result<()> {
    let before = file.metadata()?.len();
    if length > before {
        match allocate(file, FallocateFlags::empty(), before, length - before) {
            Ok(()) => {}
            // A file system that cannot: then a write tells.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(length)?,
            Err(error) => {
                // It may have got a part.
                let _ = file.set_len(before);
                return Err(error.into());
            }
        }
    } else {
        file.set_len(length)?;
    }
    reserve(file, length);
    Ok(())
}

/// Has the file own blocks behind its end, if there are any.
fn reserve(file: &File, length: u64) {
    let spare = length.min(SPARE);
    if spare > 0 {
        let _ = allocate(file, FallocateFlags::KEEP_SIZE, length, spare);
    }
}

/// fallocate(2), which also makes the file longer unless told otherwise.
fn allocate(file: &File, flags: FallocateFlags, from: u64, length: u64) -> Result<(), Errno> {
    retry_on_intr(|| fallocate(file, flags, from, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{Durability, ReadableTable as _, ReadableTableMetadata as _, TableDefinition};

    const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("t");

    fn put(database: &Database, key: u64, durability: Durability) -> Result<(), redb::Error> {
        let mut change = database.begin_write()?;
        change.set_durability(durability)?;
        change
            .open_table(TABLE)?
            .insert(key, [7; 1000].as_slice())?;
        Ok(change.commit()?)
    }

    fn keys(database: &Database) -> Vec<u64> {
        let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
        assert_eq!(table.iter().unwrap().count() as u64, table.len().unwrap());
        let rows = table.iter().unwrap();
        rows.map(|row| row.unwrap().0.value()).collect()
    }

    #[test]
    fn what_failed_is_opened_again_with_all_that_was_durable() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path().join("db")).unwrap();
        put(&database, 1, Durability::Immediate).unwrap();
        put(&database, 2, Durability::None).unwrap();
        let opened = || database.current.read().unwrap().opened.clone().unwrap();
        let old = opened();
        // In the middle of a transaction, which others wait for.
        let mut change = database.begin_write().unwrap();
        change.set_durability(Durability::Immediate).unwrap();
        change
            .open_table(TABLE)
            .unwrap()
            .insert(3, [].as_slice())
            .unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| put(&database, 4, Durability::Immediate));
            old.disk.fail();
            change.commit().unwrap_err();
            waiting.join().unwrap().unwrap();
        });
        assert_eq!(database.generation(), 1);
        assert_eq!(keys(&database), [1, 4]);
        // The old one writes no more.
        assert!(old.database.begin_write().is_err());
        assert!(Shared(Arc::clone(&old.disk)).write(0, b"x").is_err());
        drop(old);
        drop(database);
        let database = Database::open(dir.path().join("db")).unwrap();
        assert_eq!(keys(&database), [1, 4]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_is_tried_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let database = Database::open(&path).unwrap();
        put(&database, 1, Durability::Immediate).unwrap();
        let disk = Arc::clone(
            &database
                .current
                .read()
                .unwrap()
                .opened
                .as_ref()
                .unwrap()
                .disk,
        );
        disk.fail();
        fs_err::rename(&path, dir.path().join("away")).unwrap();
        database.begin_read().map(drop).unwrap_err();
        fs_err::write(&path, "").unwrap();
        put(&database, 2, Durability::Immediate).unwrap_err();
        fs_err::remove_file(&path).unwrap();
        fs_err::create_dir(&path).unwrap();
        put(&database, 2, Durability::Immediate).unwrap_err();
        fs_err::remove_dir(&path).unwrap();
        fs_err::rename(dir.path().join("away"), &path).unwrap();
        assert_eq!(keys(&database), [1]);
        put(&database, 2, Durability::Immediate).unwrap();
        assert_eq!(keys(&database), [1, 2]);
    }

    #[test]
    fn blocks_are_there_before_they_are_needed() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let database = Database::open(&path).unwrap();
        put(&database, 1, Durability::Immediate).unwrap();
        let found = fs_err::metadata(&path).unwrap();
        let probe = File::create(dir.path().join("probe")).unwrap();
        if allocate(&probe, FallocateFlags::KEEP_SIZE, 0, 4096).is_ok() {
            assert!(found.blocks() * 512 >= 2 * found.len(), "{found:?}");
        }
    }
}
