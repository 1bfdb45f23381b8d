//! Single files and directories of trees, looked at.

use super::find::{self, cleaned};
use super::tree::Reading;
use crate::Engine;
use hull_build::world::{Tree, WorldError, WorldResult};
use hull_linux::path::Root;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::io::{self, Read as _};

/// Whether it says that there is nothing of that name.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR)
    )
}

impl Engine {
    /// The root of a tree to read; of an empty one, `None`.
    pub(super) fn open_tree(
        &self,
        tree: &Tree,
    ) -> WorldResult<Option<(Root, Option<Reading<'_>>)>> {
        match tree {
            Tree::Local(files) => {
                let opened = Root::open(files.path());
                let root = opened.map_err(|e| WorldError::caused("open the client's files", e))?;
                Ok(Some((root, None)))
            }
            Tree::Pieces(pieces) if pieces.is_empty() => Ok(None),
            Tree::Pieces(pieces) => {
                let reading = self.reading(pieces)?;
                Ok(Some((reading.open()?, Some(reading))))
            }
        }
    }

    /// The beginning of a regular file of a tree.
    pub(super) fn read_file(
        &self,
        tree: &Tree,
        path: &str,
        limit: u64,
    ) -> WorldResult<Option<Vec<u8>>> {
        let failed = |error: io::Error| WorldError::caused(format!("read {path}"), error);
        let Some((root, _reading)) = self.open_tree(tree)? else {
            return Ok(None);
        };
        // Looked at before it is opened: a device would hear of that.
        let found = match find::find(&root, &cleaned(path).0, true) {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if !found.is_file() {
            let text = format!("read {path}: not a regular file");
            return Err(WorldError::NotAFile(text));
        }
        let file = std::fs::File::from(found.open().map_err(failed)?);
        let mut bytes = Vec::new();
        io::Read::take(file, limit)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Ok(Some(bytes))
    }

    /// The names in a directory of a tree, sorted; those that are no text are left out.
    pub(super) fn names_in(&self, tree: &Tree, path: &str) -> WorldResult<Vec<String>> {
        let failed = |error: io::Error| WorldError::caused(format!("list {path}"), error);
        let Some((root, _reading)) = self.open_tree(tree)? else {
            return Ok(Vec::new());
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match root.open_at(&cleaned(path).0, flags) {
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            opened => opened.map_err(failed)?,
        };
        let names = find::names(directory).map_err(failed)?;
        let text = names.into_iter().filter_map(|name| name.into_string().ok());
        Ok(text.collect())
    }
}
