//! Files of a client's on this machine.

use super::WorldResult;
use hull_spec::Digest;
use std::fmt;
use std::path::{Path, PathBuf};

/// Files of a client's on this machine. They do not change while this value lives.
pub trait LocalFiles: Send + Sync + fmt::Debug {
    /// The directory they are in.
    fn path(&self) -> &Path;

    /// A digest of a regular file's bytes when it is known already, by its path below the directory.
    fn digest(&self, _path: &Path) -> Option<Digest> {
        None
    }

    /// Tells of all that is below a directory, in the order of a walk: the names in each by their bytes, and what is in a
    /// directory right behind it. `false`, and nothing is told, where that is not known without a look at the files.
    ///
    /// # Errors
    /// Those of `tell`.
    fn each_below(
        &self,
        _directory: &Path,
        _tell: &mut dyn FnMut(LocalEntry<'_>) -> WorldResult<()>,
    ) -> WorldResult<bool> {
        Ok(false)
    }
}

/// One of a client's files, as it is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEntry<'a> {
    /// Below the files' directory.
    pub path: &'a str,
    /// Kind and permissions, as in stat(2).
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Which device it is, as in stat(2); 0 for what is none.
    pub device: u64,
    /// Where a symbolic link leads.
    pub link: &'a str,
    /// Extended attributes, by their names.
    pub attributes: Vec<(&'a str, &'a [u8])>,
    /// The SHA-256 of a regular file's bytes.
    pub digest: Option<[u8; 32]>,
}

/// Files of a client's that are simply there, in a directory nobody changes.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

impl LocalFiles for Directory {
    fn path(&self) -> &Path {
        &self.0
    }
}
