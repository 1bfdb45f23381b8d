//! Removal that nobody waits for: what goes is renamed into `trash/` and deleted by one thread.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};

/// The trash directory and the thread that empties it. The thread ends when this is dropped and
/// all that was discarded until then is gone.
#[derive(Debug)]
pub(crate) struct Trash {
    dir: PathBuf,
    next: AtomicU64,
    queue: Sender<PathBuf>,
}

impl Trash {
    /// Opens the trash at `dir` and begins to delete what an earlier process left there.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        fs_err::create_dir_all(&dir)?;
        let (queue, discarded) = channel::<PathBuf>();
        for entry in fs_err::read_dir(&dir)? {
            // The receiver lives in this function, so sending cannot fail yet.
            let _ = queue.send(entry?.path());
        }
        std::thread::Builder::new()
            .name("trash".to_owned())
            .spawn(move || {
                for path in discarded {
                    if let Err(error) = delete(&path) {
                        tracing::warn!(%error, "cannot delete discarded files; the next start tries again");
                    }
                }
            })?;
        // Names must differ from those that an earlier process left: its count began at its own start.
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0));
        Ok(Self {
            dir,
            next: AtomicU64::new(start),
            queue,
        })
    }

    /// Makes `path` disappear at once and deletes it in the background. It must be on the file
    /// system of the trash. A path that does not exist is fine.
    pub(crate) fn discard(&self, path: &Path) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let target = self.dir.join(format!("{number:x}"));
        match fs_err::rename(path, &target) {
            Ok(()) => {
                // Should the thread be gone the next start deletes it.
                let _ = self.queue.send(target);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn delete(path: &Path) -> io::Result<()> {
    if fs_err::symlink_metadata(path)?.is_dir() {
        crate::delete::remove_tree(path)
    } else {
        fs_err::remove_file(path)
    }
}
