//! Writing many values to one group, so that all of them can be taken back.

use super::{Cgroup, Error, read, write};
use std::cell::RefCell;
use std::path::PathBuf;

/// A file and what it held.
#[derive(Debug)]
struct Before {
    path: PathBuf,
    /// Values that take back what was written, in this order. A file of many lines takes one a time.
    values: Vec<String>,
}

/// Writes to the files of one group.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) group: &'a Cgroup,
    /// Newest last; `None` where nobody will want to undo.
    before: Option<RefCell<Vec<Before>>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(group: &'a Cgroup) -> Self {
        Self {
            group,
            before: None,
        }
    }

    /// One that reads every file before it writes to it.
    pub(super) fn remembering(group: &'a Cgroup) -> Self {
        Self {
            group,
            before: Some(RefCell::default()),
        }
    }

    /// Writes a value to a file of `controller`.
    pub(super) fn set(
        &self,
        controller: &'static str,
        file: &str,
        value: &str,
    ) -> Result<(), Error> {
        self.set_entry(controller, file, value, None)
    }

    /// Writes an entry to a file that has many; `removal` is what takes an entry of this key away.
    pub(super) fn set_entry(
        &self,
        controller: &'static str,
        file: &str,
        value: &str,
        removal: Option<String>,
    ) -> Result<(), Error> {
        let directory = self
            .group
            .directory(controller)
            .ok_or(Error::NoLimit(controller))?;
        let path = directory.join(file);
        // What cannot be read cannot be put back; the write will tell what is wrong with the file.
        let old = self.before.as_ref().and_then(|_| read(&path).ok());
        write(&path, value)?;
        if let (Some(before), Some(old)) = (&self.before, old) {
            let lines = old.lines().map(str::to_owned);
            let mut values: Vec<String> = removal.into_iter().chain(lines).collect();
            if values.is_empty() {
                // An empty value is written as an empty line: nothing at all would be no write.
                values.push("\n".to_owned());
            }
            before.borrow_mut().push(Before { path, values });
        }
        Ok(())
    }

    /// Puts back what was there, the newest first. Every step back was a step forth, so the kernel has
    /// no reason to refuse one; if it does, the other files are still put back.
    pub(super) fn undo(&self) {
        let Some(before) = &self.before else { return };
        while let Some(Before { path, values }) = before.borrow_mut().pop() {
            for value in values {
                let _ = write(&path, &value);
            }
        }
    }
}
