//! Where clients' files are between builds.
//!
//! ```text
//!   <root>/<key>/tree/    the files           <key>: the digest of what makes a source the same
//!   <root>/<key>/index    what they are; not there while they change
//!   <root>/<key>.<n>/     as that, for one build, when another has the first
//! ```

use super::index::{self, Entry};
use fs_err as fs;
use std::collections::HashSet;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// As many sources are kept; the longest unused goes first.
const MAX_KEPT: usize = 64;

/// All of them.
#[derive(Debug)]
pub(crate) struct ContextStore {
    root: PathBuf,
    boot: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: HashSet<String>,
    next: u64,
}

/// A source's files, for one build. They change only by its doing.
#[derive(Debug)]
pub(super) struct Lease {
    store: Arc<ContextStore>,
    /// Its name below the root.
    name: String,
    kept: bool,
}

/// What is kept of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What it is known by.
    pub(crate) id: String,
    /// The bytes of its files.
    pub(crate) size: u64,
    /// Whether a build has it.
    pub(crate) in_use: bool,
    /// When it was made.
    pub(crate) created: SystemTime,
    /// When a build last had it.
    pub(crate) last_used: SystemTime,
}

impl ContextStore {
    /// The store below `root`, which is made. What a daemon that was killed left half-done goes.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn open(root: PathBuf) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&root)?;
        fs::set_permissions(&root, Permissions::from_mode(0o700))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            let private = entry.file_name().as_encoded_bytes().contains(&b'.');
            if private || !entry.path().join("index").exists() {
                remove(&entry.path())?;
            }
        }
        Ok(Arc::new(Self {
            root,
            boot: boot.trim().to_owned(),
            state: Mutex::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for the files of `key`, with those that came last time, unless another build has them. Without
    /// a key nothing is kept.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn lease(self: &Arc<Self>, key: Option<&str>) -> io::Result<Lease> {
        let lease = {
            let mut state = self.state();
            state.next += 1;
            let private = format!("{}.{}", key.unwrap_or("none"), state.next);
            let kept = key.filter(|key| state.used.insert((*key).to_owned()));
            Lease {
                store: Arc::clone(self),
                name: kept.map_or(private, str::to_owned),
                kept: kept.is_some(),
            }
        };
        fs::create_dir_all(lease.dir())?;
        // When it was used: directories change their time only with what is in them.
        fs::File::open(lease.dir())?
            .file()
            .set_modified(SystemTime::now())?;
        Ok(lease)
    }

    /// What is kept.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let Ok(id) = entry.file_name().into_string() else {
                continue;
            };
            let index = entry.path().join("index");
            let Some(entries) = index::read(&index, &self.boot) else {
                continue;
            };
            let used = entry.metadata()?.modified()?;
            all.push(Kept {
                size: entries.iter().map(|entry| entry.size).sum(),
                in_use: self.state().used.contains(&id),
                created: index.metadata()?.modified()?,
                last_used: used,
                id,
            });
        }
        all.sort_by_key(|kept| kept.last_used);
        Ok(all)
    }

    /// Removes what is kept of one source; `false` when there is nothing, or a build has it.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn remove(&self, id: &str) -> io::Result<bool> {
        // Held: no build may take it meanwhile.
        let state = self.state();
        let there = !id.contains(['.', '/']) && self.root.join(id).exists();
        if !there || state.used.contains(id) {
            return Ok(false);
        }
        let dying = self.root.join(format!("{id}.dying"));
        fs::rename(self.root.join(id), &dying)?;
        drop(state);
        remove(&dying)?;
        Ok(true)
    }

    fn release(&self, lease: &Lease) -> io::Result<()> {
        if !lease.kept {
            return remove(&lease.dir());
        }
        self.state().used.remove(&lease.name);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && !name.contains('.')
            {
                names.push((entry.metadata()?.modified()?, name));
            }
        }
        names.sort();
        for (_, name) in names.iter().take(names.len().saturating_sub(MAX_KEPT)) {
            self.remove(name)?;
        }
        Ok(())
    }
}

impl Lease {
    fn dir(&self) -> PathBuf {
        self.store.root.join(&self.name)
    }

    /// Where the files are.
    pub(super) fn tree(&self) -> PathBuf {
        self.dir().join("tree")
    }

    /// What says what the files are.
    pub(super) fn index(&self) -> PathBuf {
        self.dir().join("index")
    }

    /// What the files are; without an index there are none.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn begin(&self) -> io::Result<Vec<Entry>> {
        if let Some(entries) = index::read(&self.index(), &self.store.boot)
            && self.tree().is_dir()
        {
            return Ok(entries);
        }
        self.change()?;
        remove(&self.tree())?;
        fs::create_dir(self.tree())?;
        Ok(Vec::new())
    }

    /// From now on the files are not what the index says.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn change(&self) -> io::Result<()> {
        match fs::remove_file(self.index()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The files are these.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn finish(&self, entries: &[Entry]) -> io::Result<()> {
        if !self.kept {
            return Ok(());
        }
        index::write(&self.index(), &self.store.boot, entries)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Err(error) = self.store.release(self) {
            tracing::warn!(%error, source = self.name, "could not put a build's files away");
        }
    }
}

/// Removes a directory with all that is in it, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<_> = entries.map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_build_has_what_is_kept_and_others_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = ContextStore::open(dir.path().join("c")).unwrap();
        let first = store.lease(Some("k")).unwrap();
        assert_eq!(first.begin().unwrap(), []);
        fs::write(first.tree().join("file"), "x").unwrap();
        first.finish(&[Entry::default()]).unwrap();
        let second = store.lease(Some("k")).unwrap();
        assert_eq!(second.begin().unwrap(), []);
        assert!(!second.tree().join("file").exists());
        assert!(!store.remove("k").unwrap());
        drop(second);
        drop(first);
        assert_eq!(names(&store.root), ["k"]);
        let again = store.lease(Some("k")).unwrap();
        assert_eq!(again.begin().unwrap(), [Entry::default()]);
        assert!(again.tree().join("file").exists());
        drop(again);
        assert_eq!(store.kept().unwrap().len(), 1);
        assert!(store.remove("k").unwrap());
        assert!(!store.remove("k").unwrap());
        assert_eq!(names(&store.root), [""; 0]);
    }

    #[test]
    fn what_was_left_half_done_goes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("c");
        let store = ContextStore::open(root.clone()).unwrap();
        let done = store.lease(Some("done")).unwrap();
        done.begin().unwrap();
        done.finish(&[]).unwrap();
        let half = store.lease(Some("half")).unwrap();
        half.begin().unwrap();
        let private = store.lease(None).unwrap();
        private.begin().unwrap();
        // As if the daemon were killed.
        for lease in [done, half, private] {
            std::mem::forget(lease);
        }
        drop(store);
        let store = ContextStore::open(root).unwrap();
        assert_eq!(names(&store.root), ["done"]);
    }

    #[test]
    fn the_longest_unused_go_when_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let store = ContextStore::open(dir.path().join("c")).unwrap();
        for number in 0..=MAX_KEPT {
            let lease = store.lease(Some(&format!("k{number}"))).unwrap();
            lease.begin().unwrap();
            lease.finish(&[]).unwrap();
        }
        assert_eq!(names(&store.root).len(), MAX_KEPT);
        assert!(!store.root.join("k0").exists());
    }
}
