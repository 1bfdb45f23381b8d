//! Files that belong to nothing.

use super::{Check, Finding, GRACE, Problem, Step};
use crate::remove::RESUME_WINDOW;
use crate::rows::{blob_names, layer_names};
use crate::store::Error;
use hull_spec::Digest;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// An entry of one of the store's directories.
struct Entry {
    name: String,
    path: PathBuf,
    age: Duration,
}

impl Check<'_> {
    /// Looks through the store's directories.
    pub(super) fn strays(&mut self) -> Step {
        let root = self.store.inner.root.clone();
        let blobs = self.store.inner.blobs.dir().to_owned();
        let directories: [(PathBuf, Owned); 4] = [
            (root.join("layers"), |check| check.layer_names()),
            (blobs, |check| check.owned_blobs()),
            (root.join("snapshots"), |check| check.snapshot_names()),
            (root.join("ingest"), |_| Ok(BTreeSet::new())),
        ];
        for (dir, owned) in directories {
            let ingest = dir.ends_with("ingest");
            let known = owned(self)?;
            let mut strays = entries(&dir)?;
            strays.retain(|entry| {
                !known.contains(&entry.name)
                    && if ingest {
                        self.is_old_download(entry)
                    } else {
                        self.options.young || entry.age > GRACE
                    }
            });
            if strays.is_empty() {
                continue;
            }
            // What is moved into place gets its row in the same breath: nothing is until these are
            // discarded. They are told afterwards, because who listens may be slow.
            let documents = self.store.inner.documents();
            let quiet = self.store.inner.ingest.between_commits();
            let known = owned(self)?;
            strays.retain(|entry| !known.contains(&entry.name) && entry.path.exists());
            let findings: Vec<Finding> = strays.iter().map(|e| self.stray(&root, e)).collect();
            drop((quiet, documents));
            for finding in findings {
                self.found(finding)?;
            }
        }
        Ok(())
    }

    fn stray(&self, root: &Path, entry: &Entry) -> Finding {
        let path = entry.path.strip_prefix(root).unwrap_or(&entry.path);
        let id = path.display().to_string();
        let mut finding = Finding::new(Problem::Unowned, "file", id, "nothing refers to it");
        self.repair_stray(&entry.path, &mut finding);
        finding
    }

    fn layer_names(&self) -> Step<BTreeSet<String>> {
        Ok(layer_names(&self.store.inner.rows.layers()?))
    }

    fn owned_blobs(&self) -> Step<BTreeSet<String>> {
        let rows = &self.store.inner.rows;
        Ok(blob_names(&rows.layers()?, &rows.catalog()))
    }

    fn snapshot_names(&self) -> Step<BTreeSet<String>> {
        Ok(self.store.inner.rows.snapshots()?.into_keys().collect())
    }

    /// A download that nobody continues any more, or what was made of one.
    fn is_old_download(&self, entry: &Entry) -> bool {
        let download = Digest::from_hex(&entry.name).ok();
        if download.as_ref().is_some_and(|d| self.store.is_arriving(d)) {
            return false;
        }
        entry.age > RESUME_WINDOW || (self.options.young && download.is_none())
    }
}

type Owned = fn(&Check<'_>) -> Step<BTreeSet<String>>;

fn entries(dir: &Path) -> Result<Vec<Entry>, Error> {
    let failed = |source| Error::io("list directory of image store", source);
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // What is gone again is nobody's.
        let Ok(changed) = entry.metadata().and_then(|found| found.modified()) else {
            continue;
        };
        let age = SystemTime::now().duration_since(changed);
        found.push(Entry {
            name: entry.file_name().to_string_lossy().into_owned(),
            path: entry.path(),
            age: age.unwrap_or_default(),
        });
    }
    Ok(found)
}
