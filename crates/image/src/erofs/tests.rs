use super::*;
use crate::unpack::tests::{Seen, listing};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// An index and its archive as files.
pub(crate) struct Indexed {
    dir: tempfile::TempDir,
    pub(crate) summary: Summary,
}

impl Indexed {
    pub(crate) fn new(archive: &[u8]) -> Result<Self, Error> {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("archive"), archive).unwrap();
        let mut out = File::create(dir.path().join("index")).unwrap();
        let summary = index(&mut &archive[..], &mut out)?;
        Ok(Self { dir, summary })
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    /// The index mounted, but nowhere to be seen; `None` where that is not possible.
    pub(crate) fn mount(&self) -> Option<Mounted> {
        static SKIPPED: Once = Once::new();
        let device = format!("device={}", self.archive().display());
        let index = self.index();
        let options = [device.as_str(), "ro"].into_iter();
        match hull_linux::mount::new_file_system("erofs", index.to_str().unwrap(), options, 1) {
            Ok(mount) => Some(Mounted(mount)),
            // Not allowed, no EROFS, or none that is mounted from files.
            Err(error) if matches!(error.raw_os_error(), Some(1 | 15 | 19)) => {
                SKIPPED.call_once(|| println!("skipped: mounting EROFS from a file: {error}"));
                None
            }
            Err(error) => panic!("mount the index: {error}"),
        }
    }
}

/// A mount that ends with its descriptor.
pub(crate) struct Mounted(OwnedFd);

impl Mounted {
    pub(crate) fn root(&self) -> PathBuf {
        format!("/proc/self/fd/{}/.", self.0.as_raw_fd()).into()
    }
}

/// Checks that the index of an archive means what was unpacked from it to `root`, after `started`.
pub(crate) fn check_same(
    archive: &[u8],
    unpacked: &Result<Summary, Error>,
    root: &Path,
    started: i64,
) {
    let indexed = match (Indexed::new(archive), unpacked) {
        (Ok(indexed), Ok(summary)) => {
            assert_eq!(indexed.summary, *summary);
            indexed
        }
        (Err(ours), Err(theirs)) => {
            assert_eq!(ours.to_string(), theirs.to_string());
            return;
        }
        (ours, theirs) => panic!("indexed: {:?}, unpacked: {theirs:?}", ours.err()),
    };
    let Some(mounted) = indexed.mount() else {
        return;
    };
    let mut expected = listing(root);
    let mut found = listing(&mounted.root());
    // What is implied has the time of unpacking there and the layer's usual time here.
    for (path, seen) in &mut expected {
        if seen.mtime.0 >= started {
            seen.mtime = (0, 0);
            if let Some(other) = found.get_mut(path) {
                other.mtime = (0, 0);
            }
        }
    }
    compare(&found, &expected);
}

/// Shows only what differs.
pub(crate) fn compare(found: &BTreeMap<PathBuf, Seen>, expected: &BTreeMap<PathBuf, Seen>) {
    for (path, seen) in expected {
        assert_eq!(found.get(path), Some(seen), "{}", path.display());
    }
    let more: Vec<_> = found
        .keys()
        .filter(|p| !expected.contains_key(*p))
        .collect();
    assert!(more.is_empty(), "{more:?}");
}
