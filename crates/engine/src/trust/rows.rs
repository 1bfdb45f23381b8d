//! Signatures that came with images, kept for when they are run: the check then needs no registry.

use super::evaluate::Signature;
use crate::{Error, ErrorKind, Result};
use hull_spec::Digest;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// `repository@digest` of what was pulled → [`Kept`] as JSON. It goes with the image's name of that form.
const SIGNATURES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine.signatures");

/// What is known about one pulled name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The manifests that pin the content: of one index several platforms may be here.
    pub(super) digests: Vec<Digest>,
    pub(super) signatures: Vec<Signature>,
}

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Rows(Arc<Database>);

fn failed(operation: &'static str) -> impl Fn(redb::Error) -> Error {
    move |source| {
        let text = format!("could not {operation} the signatures in the metadata database");
        Error::new(ErrorKind::Internal, text).caused_by(source)
    }
}

impl Rows {
    /// Makes the table where it is missing.
    pub(super) fn open(database: Arc<Database>) -> Result<Self> {
        let prepare = || -> std::result::Result<(), redb::Error> {
            let change = database.begin_write()?;
            change.open_table(SIGNATURES)?;
            Ok(change.commit()?)
        };
        prepare().map_err(failed("open"))?;
        Ok(Self(database))
    }

    /// What is kept for a name; a row that cannot be read is no signature.
    pub(super) fn get(&self, name: &str) -> Result<Option<Kept>> {
        let read = || -> std::result::Result<Option<Kept>, redb::Error> {
            let table = self.0.begin_read()?.open_table(SIGNATURES)?;
            let row = table.get(name)?;
            Ok(row.and_then(|row| serde_json::from_slice(row.value()).ok()))
        };
        read().map_err(failed("read"))
    }

    /// Changes what is kept for a name, durably and with nobody in between; `None` removes it.
    pub(super) fn change(
        &self,
        name: &str,
        change: impl FnOnce(Kept) -> Option<Kept>,
    ) -> Result<()> {
        let write = || -> std::result::Result<(), redb::Error> {
            let transaction = self.0.begin_write()?;
            {
                let mut table = transaction.open_table(SIGNATURES)?;
                let before: Kept = table
                    .get(name)?
                    .and_then(|row| serde_json::from_slice(row.value()).ok())
                    .unwrap_or_default();
                let after = change(before.clone());
                if after.as_ref() == Some(&before) {
                    return Ok(());
                }
                // A list of strings is always JSON.
                match after.and_then(|kept| serde_json::to_vec(&kept).ok()) {
                    Some(bytes) => table.insert(name, bytes.as_slice())?,
                    None => table.remove(name)?,
                };
            }
            Ok(transaction.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// Removes what is kept for names that no image has any more.
    pub(super) fn retain(&self, names: &BTreeSet<String>) -> Result<()> {
        let known = || -> std::result::Result<Vec<String>, redb::Error> {
            let table = self.0.begin_read()?.open_table(SIGNATURES)?;
            table
                .iter()?
                .map(|row| Ok(row?.0.value().to_owned()))
                .collect()
        };
        for name in known().map_err(failed("read"))? {
            if !names.contains(&name) {
                self.change(&name, |_| None)?;
            }
        }
        Ok(())
    }
}
