//! Indexes under way: a directory for each, a file for each of its manifests, with Docker's names and form.

use super::{DOCKER_LIST, OCI_INDEX, OCI_MANIFEST};
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_api::manifest::{Descriptor, Platform, RemoteManifest};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io;
use std::path::PathBuf;

/// A manifest of an index under way, or of a registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The reference in full.
    #[serde(rename = "Ref")]
    pub(super) reference: String,
    #[serde(rename = "Descriptor")]
    pub(super) descriptor: Descriptor,
    /// The document, base64.
    #[serde(rename = "Raw")]
    raw: String,
    /// The document once more, for readers: one of these.
    #[serde(
        rename = "SchemaV2Manifest",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    docker: Option<Box<RawValue>>,
    #[serde(
        rename = "OCIManifest",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    oci: Option<Box<RawValue>>,
}

impl Entry {
    /// Makes one of what the daemon found.
    pub(super) fn new(name: &str, found: RemoteManifest) -> Result<Self, Failure> {
        let entry = Self {
            reference: name.to_owned(),
            descriptor: found.descriptor,
            raw: found.raw,
            docker: None,
            oci: None,
        };
        let document = Some(entry.document()?);
        Ok(match entry.descriptor.media_type.as_str() {
            OCI_MANIFEST => Self {
                oci: document,
                ..entry
            },
            _ => Self {
                docker: document,
                ..entry
            },
        })
    }

    /// The document itself.
    pub(super) fn document(&self) -> Result<Box<RawValue>, Failure> {
        let bytes = STANDARD.decode(&self.raw).map_err(|_| self.damaged())?;
        let text = String::from_utf8(bytes).map_err(|_| self.damaged())?;
        RawValue::from_string(text.trim().to_owned()).map_err(|_| self.damaged())
    }

    fn damaged(&self) -> Failure {
        Failure::new(format!("the manifest of {} cannot be read", self.reference))
    }

    /// Whether it is an index itself.
    pub(super) fn is_index(&self) -> bool {
        [OCI_INDEX, DOCKER_LIST].contains(&self.descriptor.media_type.as_str())
    }
}

/// An index as it is pushed and shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index<'a> {
    schema_version: u8,
    pub(super) media_type: &'a str,
    manifests: Vec<IndexEntry<'a>>,
}

/// The order of the members is Docker's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexEntry<'a> {
    media_type: &'a str,
    size: i64,
    digest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a Platform>,
}

impl<'a> Index<'a> {
    /// Of manifests; its kind is that of the first.
    pub(super) fn of(entries: impl IntoIterator<Item = &'a Descriptor>) -> Self {
        let manifests: Vec<IndexEntry<'a>> = entries
            .into_iter()
            .map(|descriptor| IndexEntry {
                media_type: &descriptor.media_type,
                size: descriptor.size,
                digest: &descriptor.digest,
                platform: descriptor.platform.as_ref(),
            })
            .collect();
        let media_type = match manifests.first() {
            Some(first) if first.media_type == OCI_MANIFEST => OCI_INDEX,
            _ => DOCKER_LIST,
        };
        Self {
            schema_version: 2,
            media_type,
            manifests,
        }
    }

    /// Its text.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let text = serde_json::to_string(self).map_err(io::Error::other)?;
        Ok(crate::format::indent_by(&text, "   "))
    }
}

/// The folder of all indexes under way.
#[derive(Debug)]
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    fn folder(&self, list: &str) -> PathBuf {
        self.0.join(file_name(list))
    }

    /// The manifests of an index, by the names of their files; none when there is no such index.
    pub(super) fn list(&self, list: &str) -> Result<Vec<Entry>, Failure> {
        let files = match fs_err::read_dir(self.folder(list)) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut paths = Vec::new();
        for file in files {
            paths.push(file?.path());
        }
        paths.sort();
        paths.iter().map(|path| read(path)).collect()
    }

    /// One manifest of an index.
    pub(super) fn get(&self, list: &str, name: &str) -> Result<Option<Entry>, Failure> {
        match self.folder(list).join(file_name(name)) {
            path if path.exists() => read(&path).map(Some),
            _ => Ok(None),
        }
    }

    /// Puts a manifest into an index, which begins with it.
    pub(super) fn put(&self, list: &str, entry: &Entry) -> Result<(), Failure> {
        let folder = self.folder(list);
        fs_err::create_dir_all(&folder)?;
        let text = serde_json::to_vec(entry).map_err(io::Error::other)?;
        let path = folder.join(file_name(&entry.reference));
        // Beside the folder: everything in it is a manifest.
        let fresh = self.0.join(format!(".{}", std::process::id()));
        fs_err::write(&fresh, text)?;
        Ok(fs_err::rename(&fresh, path)?)
    }

    /// Removes an index; false when there was none.
    pub(super) fn remove(&self, list: &str) -> Result<bool, Failure> {
        match fs_err::remove_dir_all(self.folder(list)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn read(path: &std::path::Path) -> Result<Entry, Failure> {
    let text = fs_err::read(path)?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// A reference as the name of a file.
fn file_name(reference: &str) -> String {
    reference.replace(':', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        let found = RemoteManifest {
            raw: STANDARD.encode("{\"a\": 1}\n"),
            ..RemoteManifest::default()
        };
        Entry::new(name, found).unwrap()
    }

    #[test]
    fn what_is_put_is_found_under_dockers_names() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("manifests"));
        assert!(store.list("r:1/list:1").unwrap().is_empty());
        store.put("r:1/list:1", &entry("r:1/b:1")).unwrap();
        store.put("r:1/list:1", &entry("r:1/a:1")).unwrap();
        store.put("r:1/list:1", &entry("r:1/a:1")).unwrap();
        assert!(folder.path().join("manifests/r-1_list-1/r-1_a-1").is_file());
        let names: Vec<String> = store
            .list("r:1/list:1")
            .unwrap()
            .into_iter()
            .map(|entry| entry.reference)
            .collect();
        assert_eq!(names, ["r:1/a:1", "r:1/b:1"]);
        assert!(store.get("r:1/list:1", "r:1/c:1").unwrap().is_none());
        let found = store.get("r:1/list:1", "r:1/b:1").unwrap().unwrap();
        assert_eq!(found.document().unwrap().get(), "{\"a\": 1}");
        assert!(store.remove("r:1/list:1").unwrap() && !store.remove("r:1/list:1").unwrap());
    }
}
