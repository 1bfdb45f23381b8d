//! Directories with blobs and an index, as the OCI image specification has them (`image-layout.md`): exported caches,
//! and images that stages begin with.

use crate::failure::{Failure, Outcome};
use fs_err::File;
use hull_api::build::Blob;
use hull_api::client::{Body, Hijacked};
use hull_spec::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const INDEX: &str = "index.json";
/// The annotation of a manifest in an index that is its name.
const NAME: &str = "org.opencontainers.image.ref.name";
/// The longest index that is read, bytes.
const MAX_INDEX: u64 = 4 << 20;

/// The directories that a build may read and write blobs of, by the names that it knows them by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stores(BTreeMap<String, PathBuf>);

impl Stores {
    pub(super) fn insert(&mut self, name: String, directory: PathBuf) {
        self.0.insert(name, directory);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where a blob is or would be; `None` for what no store of the build has.
    pub(super) fn path(&self, blob: &Blob) -> Option<PathBuf> {
        let digest: Digest = blob.digest.parse().ok()?;
        let directory = self.0.get(&blob.store)?;
        Some(directory.join("blobs/sha256").join(digest.hex()))
    }
}

/// Sends a blob.
///
/// # Errors
/// What could not be read or sent, with a text for people.
pub(super) fn send(mut connection: Hijacked, mut file: File) -> Result<(), String> {
    let sent = io::copy(&mut file, &mut connection.socket);
    let name = file.path().display();
    sent.map(drop)
        .map_err(|error| format!("could not send {name}: {error}"))
}

/// Opens a blob; `None` when it is not there.
///
/// # Errors
/// What else the file system says.
pub(super) fn open(path: Option<PathBuf>) -> Result<Option<File>, String> {
    let Some(path) = path else { return Ok(None) };
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Takes a blob. It has its name only when it is whole, what its name says, and on the disk: no loss of power leaves one
/// that looks whole and is not.
pub(super) async fn take(mut body: Body, path: &Path) -> Outcome {
    let mut blob = NewBlob::begin(path)?;
    while let Some(piece) = body.chunk().await? {
        blob.write_all(&piece)?;
    }
    blob.finish()
}

/// A blob that is being written, gone with this unless it is finished.
struct NewBlob<'a> {
    path: &'a Path,
    scratch: PathBuf,
    file: File,
    hash: Sha256,
    finished: bool,
}

impl<'a> NewBlob<'a> {
    fn begin(path: &'a Path) -> Result<Self, Failure> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let scratch = path.with_extension(format!("{}-{number}", std::process::id()));
        if let Some(directory) = path.parent() {
            fs_err::create_dir_all(directory)?;
        }
        Ok(Self {
            path,
            file: File::create(&scratch)?,
            scratch,
            hash: Sha256::new(),
            finished: false,
        })
    }

    fn finish(mut self) -> Outcome {
        let digest = Digest::from_sha256(&std::mem::take(&mut self.hash).finalize().into());
        let name = self.path.file_name().unwrap_or_default();
        if name != digest.hex() {
            let path = self.path.display();
            return Err(Failure::new(format!("{path} would have digest {digest}")));
        }
        self.file.sync_data()?;
        fs_err::rename(&self.scratch, self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl io::Write for NewBlob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewBlob<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // It may never have been made.
            let _ = fs_err::remove_file(&self.scratch);
        }
    }
}

/// Brings the names in a directory to the disk.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The index of a directory; `None` when there is none.
fn index(directory: &Path) -> Result<Option<Value>, String> {
    let file = match File::open(directory.join(INDEX)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    let read = file.take(MAX_INDEX).read_to_end(&mut text);
    let parsed = read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    let wrong = |why| format!("invalid {}: {why}", directory.join(INDEX).display());
    parsed.map(Some).map_err(wrong)
}

fn is_named(manifest: &Value, name: &str) -> bool {
    manifest["annotations"][NAME] == name
}

/// The digest of the manifest that an index has under a name.
///
/// # Errors
/// For an index that cannot be read.
pub(super) fn named(directory: &Path, name: &str) -> Result<Option<Digest>, String> {
    digest_of(directory, |manifests| {
        manifests.iter().find(|one| is_named(one, name))
    })
}

/// As [`named`], or the only one there is.
///
/// # Errors
/// For an index that cannot be read.
pub(super) fn named_or_only(directory: &Path, name: &str) -> Result<Option<Digest>, String> {
    digest_of(directory, |manifests| {
        let found = manifests.iter().find(|one| is_named(one, name));
        found.or(match manifests {
            [only] => Some(only),
            _ => None,
        })
    })
}

fn digest_of(
    directory: &Path,
    choose: impl FnOnce(&[Value]) -> Option<&Value>,
) -> Result<Option<Digest>, String> {
    let Some(index) = index(directory)? else {
        let path = directory.join(INDEX);
        return Err(format!("{}: no such file or directory", path.display()));
    };
    let manifests = index["manifests"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(found) = choose(manifests) else {
        return Ok(None);
    };
    let text = found["digest"].as_str().unwrap_or_default();
    let digest = text
        .parse()
        .map_err(|_| format!("invalid digest {text:?} in {INDEX}"));
    digest.map(Some)
}

/// Gives a manifest a name in the index of a directory, which is made where there is none.
pub(super) fn set_named(directory: &Path, name: &str, mut manifest: Value) -> Outcome {
    let known = index(directory).map_err(Failure::new)?;
    let mut index = known.unwrap_or_else(|| json!({"schemaVersion": 2, "manifests": []}));
    manifest["annotations"][NAME] = name.into();
    match index["manifests"].as_array_mut() {
        Some(manifests) => {
            manifests.retain(|one| !is_named(one, name));
            manifests.push(manifest);
        }
        None => index["manifests"] = json!([manifest]),
    }
    fs_err::create_dir_all(directory)?;
    fs_err::write(
        directory.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    let blobs = directory.join("blobs/sha256");
    if blobs.is_dir() {
        // What the index names is there before it.
        sync_directory(&blobs)?;
    }
    let scratch = directory.join(format!("{INDEX}.{}", std::process::id()));
    let mut file = File::create(&scratch)?;
    file.write_all(index.to_string().as_bytes())?;
    file.sync_data()?;
    fs_err::rename(&scratch, directory.join(INDEX))?;
    sync_directory(directory)?;
    Ok(())
}

/// Puts the blobs of an image's archive into a directory, and its manifests into the index there.
pub(super) fn unpack(archive: &mut dyn Read, directory: &Path) -> Outcome {
    let blobs = directory.join("blobs/sha256");
    fs_err::create_dir_all(&blobs)?;
    let mut archive = tar::Archive::new(archive);
    let mut index = Value::Null;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8_lossy(&path);
        if path == INDEX {
            index = serde_json::from_reader((&mut entry).take(MAX_INDEX))
                .map_err(|error| Failure::new(format!("invalid {INDEX}: {error}")))?;
        } else if let Some(hex) = path.strip_prefix("blobs/sha256/")
            && let Ok(digest) = Digest::from_hex(hex)
            && !blobs.join(digest.hex()).exists()
        {
            let path = blobs.join(digest.hex());
            let mut blob = NewBlob::begin(&path)?;
            io::copy(&mut entry, &mut blob)?;
            blob.finish()?;
        }
    }
    for manifest in index["manifests"].as_array().into_iter().flatten() {
        let name = manifest["annotations"][NAME].as_str().unwrap_or("latest");
        set_named(directory, name, manifest.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_set_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        assert!(named(&path, "latest").is_err());
        let digest = |byte| Digest::from_sha256(&[byte; 32]);
        let manifest = |byte| json!({"digest": digest(byte).to_string(), "size": 1});
        set_named(&path, "latest", manifest(1)).unwrap();
        assert_eq!(named(&path, "latest"), Ok(Some(digest(1))));
        assert_eq!(named(&path, "v2"), Ok(None));
        assert_eq!(named_or_only(&path, "v2"), Ok(Some(digest(1))));
        set_named(&path, "v2", manifest(2)).unwrap();
        set_named(&path, "latest", manifest(3)).unwrap();
        assert_eq!(named(&path, "latest"), Ok(Some(digest(3))));
        assert_eq!(named(&path, "v2"), Ok(Some(digest(2))));
        assert_eq!(named_or_only(&path, "v3"), Ok(None));
        fs_err::write(path.join(INDEX), "x").unwrap();
        assert!(named(&path, "v2").is_err());
    }

    #[test]
    fn an_archive_becomes_a_layout() {
        let mut builder = tar::Builder::new(Vec::new());
        let hex = Digest::from_sha256(&Sha256::digest("a blob").into());
        let hex = hex.hex().to_owned();
        let index = json!({"manifests": [{"digest": format!("sha256:{hex}")}]}).to_string();
        for (name, text) in [
            (format!("blobs/sha256/{hex}"), "a blob"),
            ("blobs/sha256/x".to_owned(), "none"),
            (INDEX.to_owned(), index.as_str()),
            ("manifest.json".to_owned(), "[]"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_cksum();
            let added = builder.append_data(&mut header, name, text.as_bytes());
            added.unwrap();
        }
        let archive = builder.into_inner().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let other = json!({"digest": "sha256:x", "annotations": {NAME: "other"}});
        set_named(dir.path(), "other", other).unwrap();
        for _ in 0..2 {
            unpack(&mut archive.as_slice(), dir.path()).unwrap();
        }
        let blobs = fs_err::read_dir(dir.path().join("blobs/sha256")).unwrap();
        assert_eq!(blobs.count(), 1);
        assert!(!dir.path().join("manifest.json").exists());
        let found = named(dir.path(), "latest").unwrap().unwrap();
        assert_eq!(found.hex(), hex);
        let index = index_of(dir.path());
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_blob_is_what_its_name_says() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest::from_sha256(&Sha256::digest("whole").into());
        let path = dir.path().join("blobs").join(digest.hex());
        let left = || fs_err::read_dir(dir.path().join("blobs")).unwrap().count();
        let mut blob = NewBlob::begin(&path).unwrap();
        blob.write_all(b"who").unwrap();
        assert!(blob.finish().is_err());
        assert_eq!(left(), 0);
        let mut blob = NewBlob::begin(&path).unwrap();
        blob.write_all(b"whole").unwrap();
        blob.finish().unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"whole");
        assert_eq!(left(), 1);
    }

    fn index_of(directory: &Path) -> Value {
        index(directory).unwrap().unwrap()
    }

    #[test]
    fn only_blobs_of_stores_that_were_named_are_found() {
        let mut stores = Stores::default();
        stores.insert("local:d".to_owned(), "/d".into());
        let digest = Digest::from_sha256(&[7; 32]);
        let blob = |store: &str, digest: &str| Blob {
            store: store.to_owned(),
            digest: digest.to_owned(),
        };
        let found = stores.path(&blob("local:d", digest.as_str())).unwrap();
        assert_eq!(found, Path::new("/d/blobs/sha256").join("07".repeat(32)));
        assert_eq!(stores.path(&blob("local:e", digest.as_str())), None);
        assert_eq!(stores.path(&blob("local:d", "sha256:../../x")), None);
    }
}
