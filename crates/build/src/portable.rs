//! Results on their way to other machines: what a cache that is exported says. Files are named by the diffIDs of
//! layers; who carries the document says where these are.
//!
//! Keys and ids of results are made of what steps do and of what they work on, so that they mean the same everywhere.

use crate::cache::{Entry, Kind};
use crate::world::Piece;
use hull_spec::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Counted up when documents of before mean something else now.
pub const VERSION: u32 = 1;
/// No document has more of anything.
const MAX_ENTRIES: usize = 100_000;

/// A cache's results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Portable {
    /// See [`VERSION`].
    pub version: u32,
    /// The results.
    pub results: Vec<PortableResult>,
    /// What steps had mounted as caches.
    #[serde(default)]
    pub mounts: Vec<PortableMount>,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortableResult {
    /// What it is known by.
    pub id: String,
    /// The keys it is found by.
    pub keys: Vec<Digest>,
    /// The results it was made from.
    #[serde(default)]
    pub parents: Vec<String>,
    /// What is shown.
    #[serde(default)]
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
    /// The layers of each output, the lowest first; `None`: that it was made is all that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<Vec<Digest>>>,
}

/// A cache that steps have mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortableMount {
    /// What it is known by, with the number that keeps private ones apart.
    pub name: String,
    /// Its files.
    pub layer: Digest,
}

impl Portable {
    /// Results whose steps became layers. Of one with a step that is none of `layers` only its keys are told, by which
    /// what was made of it is found.
    #[must_use]
    pub fn of(entries: &[Entry], layers: &BTreeMap<String, Digest>) -> Self {
        let layer = |piece: &Piece| match piece {
            Piece::Layer(diff_id) => Some(diff_id.clone()),
            Piece::Step(step) => layers.get(step).cloned(),
        };
        let output = |pieces: &Vec<Piece>| pieces.iter().map(layer).collect::<Option<Vec<_>>>();
        let result = |entry: &Entry| PortableResult {
            id: entry.id.clone(),
            keys: entry.keys.clone(),
            parents: entry.parents.clone(),
            description: entry.description.clone(),
            created: entry.created,
            outputs: entry.outputs.iter().map(output).collect(),
        };
        Self {
            version: VERSION,
            results: entries.iter().map(result).collect(),
            mounts: Vec::new(),
        }
    }

    /// The layers that it names, each once.
    #[must_use]
    pub fn layers(&self) -> Vec<Digest> {
        let mut seen = std::collections::HashSet::new();
        let layers = self.results.iter().flat_map(PortableResult::layers);
        let all = layers.chain(self.mounts.iter().map(|mount| &mount.layer));
        all.filter(|layer| seen.insert((*layer).clone()))
            .cloned()
            .collect()
    }

    /// Reads a document of another machine's.
    ///
    /// # Errors
    /// For what is none, is of another version, or has too much in it.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidPortable> {
        let read: Self = serde_json::from_slice(bytes)?;
        if read.version != VERSION {
            return Err(InvalidPortable::Version(read.version));
        }
        let named = read.results.iter().flat_map(PortableResult::layers).count();
        let sizes = [read.results.len(), read.mounts.len(), named];
        if sizes.iter().any(|size| *size > MAX_ENTRIES) {
            return Err(InvalidPortable::TooLarge);
        }
        if read.results.iter().any(|result| result.id.is_empty()) {
            return Err(InvalidPortable::NoId);
        }
        Ok(read)
    }
}

/// Why a document is of no use.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPortable {
    /// It is no such document.
    #[error("invalid cache")]
    Json(#[from] serde_json::Error),
    /// Of another version.
    #[error("a cache of version {0}, not {VERSION}")]
    Version(u32),
    /// A result is known by nothing.
    #[error("a cache with a result that is known by nothing")]
    NoId,
    /// It has too much in it.
    #[error("a cache with too many results")]
    TooLarge,
}

/// Results of another machine, by key.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    results: HashMap<Digest, PortableResult>,
}

impl Elsewhere {
    /// From documents; of two results with one key the first counts.
    #[must_use]
    pub fn new(documents: Vec<Portable>) -> Self {
        let mut results = HashMap::new();
        for result in documents.into_iter().flat_map(|document| document.results) {
            for key in &result.keys {
                let known = results.entry(key.clone());
                known.or_insert_with(|| result.clone());
            }
        }
        Self { results }
    }

    /// The result of a key.
    #[must_use]
    pub fn find(&self, key: &Digest) -> Option<&PortableResult> {
        self.results.get(key)
    }
}

impl PortableResult {
    /// The layers that it names.
    pub fn layers(&self) -> impl Iterator<Item = &Digest> {
        self.outputs.iter().flatten().flatten()
    }

    /// As a result of this machine's, whose layers are in the store.
    #[must_use]
    pub fn entry(&self) -> Entry {
        let output = |layers: &Vec<Digest>| layers.iter().cloned().map(Piece::Layer).collect();
        Entry {
            id: self.id.clone(),
            outputs: self.outputs.iter().flatten().map(output).collect(),
            keys: self.keys.clone(),
            parents: self.parents.clone(),
            description: self.description.clone(),
            kind: Kind::Regular,
            created: self.created,
            last_used: None,
            uses: 0,
            layers: BTreeMap::new(),
            boot: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::from_sha256(&[number; 32])
    }

    fn entry(id: &str, key: u8, pieces: Vec<Piece>) -> Entry {
        let result = PortableResult {
            id: id.to_owned(),
            keys: vec![digest(key)],
            parents: vec![],
            description: format!("[1/2] RUN {id}"),
            created: Timestamp::UNIX_EPOCH,
            outputs: None,
        };
        Entry {
            outputs: vec![pieces],
            ..result.entry()
        }
    }

    #[test]
    fn results_go_to_another_machine() {
        let base = Piece::Layer(digest(1));
        let step = |name: &str| Piece::Step(name.to_owned());
        let entries = [
            entry("a", 10, vec![base.clone(), step("one")]),
            entry("b", 11, vec![base.clone(), step("one"), step("two")]),
            entry("gone", 12, vec![step("three")]),
        ];
        let layers = [("one", 2), ("two", 3)];
        let layers = layers.map(|(step, layer)| (step.to_owned(), digest(layer)));
        let document = Portable::of(&entries, &layers.into());
        assert_eq!(document.layers(), [digest(1), digest(2), digest(3)]);
        let bytes = serde_json::to_vec(&document).unwrap();
        let read = Portable::read(&bytes).unwrap();
        assert_eq!(read, document);
        let elsewhere = Elsewhere::new(vec![read]);
        let found = elsewhere.find(&digest(11)).unwrap();
        assert_eq!(found.entry().outputs[0].len(), 3);
        let gone = elsewhere.find(&digest(12)).unwrap();
        assert_eq!(gone.outputs, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(Portable::read(b"[]").is_err());
        let other = br#"{"version":2,"results":[]}"#;
        assert!(matches!(
            Portable::read(other),
            Err(InvalidPortable::Version(2))
        ));
        let mounts = vec![
            PortableMount {
                name: String::new(),
                layer: digest(0),
            };
            MAX_ENTRIES + 1
        ];
        let many = Portable {
            version: VERSION,
            mounts,
            ..Portable::default()
        };
        let bytes = serde_json::to_vec(&many).unwrap();
        assert!(matches!(
            Portable::read(&bytes),
            Err(InvalidPortable::TooLarge)
        ));
    }
}
