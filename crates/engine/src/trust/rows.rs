//! Where images came from, and the signatures that came with them, kept for when they are run: the
//! check then needs no registry.

use super::evaluate::Signature;
use crate::{Error, ErrorKind, Reference, Result};
use hull_image::Database;
use hull_spec::Digest;
use redb::{Durability, ReadableTable as _, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

type Table = TableDefinition<'static, &'static str, &'static [u8]>;

/// `repository@digest` of what was pulled → its [`Signature`]s as JSON. They stay as long as an image
/// that was pulled under it.
const SIGNATURES: Table = TableDefinition::new("engine.signatures");
/// Id of an image → its [`Origin`]s as JSON. They stay as long as the image, whatever it is called:
/// another name is no other origin.
const ORIGINS: Table = TableDefinition::new("engine.origins");

/// What an image was pulled as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// `repository@digest`, the digest of what the repository's tag stood for.
    #[serde(with = "as_text")]
    pub(super) name: Reference,
    /// The image's own manifest, if that is known; not one of another platform of the same index.
    pub(super) manifest: Option<Digest>,
}

/// References as JSON strings.
mod as_text {
    use crate::Reference;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(name: &Reference, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Reference, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The tables.
#[derive(Clone, Debug)]
pub(super) struct Rows(Arc<Database>);

fn failed(operation: &'static str) -> impl Fn(redb::Error) -> Error {
    move |source| {
        let text = format!("could not {operation} the signatures in the metadata database");
        Error::new(ErrorKind::Internal, text).caused_by(source)
    }
}

impl Rows {
    /// Makes the tables where they are missing.
    pub(super) fn open(database: Arc<Database>) -> Result<Self> {
        let prepare = || -> std::result::Result<(), redb::Error> {
            let change = database.begin_write()?;
            for table in [SIGNATURES, ORIGINS] {
                change.open_table(table)?;
            }
            Ok(change.commit()?)
        };
        prepare().map_err(failed("open"))?;
        Ok(Self(database))
    }

    /// The signatures that are kept for a name.
    pub(super) fn signatures(&self, name: &Reference) -> Result<Vec<Signature>> {
        self.get(SIGNATURES, &name.to_string())
    }

    /// Keeps signatures beside those that are there, at most `most`.
    pub(super) fn add_signatures(
        &self,
        name: &Reference,
        found: &[Signature],
        most: usize,
    ) -> Result<()> {
        self.add(SIGNATURES, &name.to_string(), found, most)
    }

    /// What an image was pulled as.
    pub(super) fn origins(&self, image: &str) -> Result<Vec<Origin>> {
        self.get(ORIGINS, image)
    }

    /// Notes what an image is being pulled as, beside what is known, at most `most`. It reaches the disk with
    /// the next durable change, which is the image's own.
    pub(super) fn add_origin(&self, image: &str, origin: Origin, most: usize) -> Result<()> {
        self.add(ORIGINS, image, &[origin], most)
    }

    fn get<T: DeserializeOwned>(&self, table: Table, key: &str) -> Result<Vec<T>> {
        let read = || -> std::result::Result<Vec<T>, redb::Error> {
            let rows = self.0.begin_read()?.open_table(table)?;
            let row = rows.get(key)?;
            Ok(row.map(|row| list(row.value())).unwrap_or_default())
        };
        read().map_err(failed("read"))
    }

    /// Adds to a row's list what is not in it, the newest first.
    fn add<T: Serialize + DeserializeOwned + PartialEq + Clone>(
        &self,
        table: Table,
        key: &str,
        new: &[T],
        most: usize,
    ) -> Result<()> {
        let merged = |before: &[T]| {
            let mut after: Vec<T> = Vec::new();
            for item in new.iter().chain(before) {
                if after.len() < most && !after.contains(item) {
                    after.push(item.clone());
                }
            }
            after
        };
        let known: Vec<T> = self.get(table, key)?;
        if new.iter().all(|item| known.contains(item)) {
            return Ok(());
        }
        let write = || -> std::result::Result<(), redb::Error> {
            let mut transaction = self.0.begin_write()?;
            transaction.set_durability(Durability::None)?;
            {
                let mut rows = transaction.open_table(table)?;
                let before = rows.get(key)?;
                let before: Vec<T> = before.map(|row| list(row.value())).unwrap_or_default();
                // Lists of strings are always JSON.
                let bytes = serde_json::to_vec(&merged(&before)).unwrap_or_default();
                rows.insert(key, bytes.as_slice())?;
            }
            Ok(transaction.commit()?)
        };
        write().map_err(failed("write"))
    }

    /// Removes the origins of images that `is_here` does not know, and the signatures of names under
    /// which no image was pulled and that are not in `names`. What the disk keeps of them goes at the
    /// next start.
    pub(super) fn retain(
        &self,
        is_here: impl Fn(&str) -> bool,
        names: BTreeSet<String>,
    ) -> Result<()> {
        let mut used = names;
        let mut remove = || -> std::result::Result<(), redb::Error> {
            let mut transaction = self.0.begin_write()?;
            transaction.set_durability(Durability::None)?;
            transaction.open_table(ORIGINS)?.retain(|image, row| {
                let here = is_here(image);
                if here {
                    let origins = list::<Origin>(row).into_iter();
                    used.extend(origins.map(|origin| origin.name.to_string()));
                }
                here
            })?;
            let mut signatures = transaction.open_table(SIGNATURES)?;
            signatures.retain(|name, _| used.contains(name))?;
            drop(signatures);
            Ok(transaction.commit()?)
        };
        remove().map_err(failed("write"))
    }
}

/// A row's list; one that cannot be read is empty, which admits nothing.
fn list<T: DeserializeOwned>(row: &[u8]) -> Vec<T> {
    serde_json::from_slice(row).unwrap_or_default()
}
