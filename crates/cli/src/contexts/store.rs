//! Contexts as they lie below `~/.docker/contexts`, where Docker's programs find them too.
//!
//! ```text
//! meta/<sha256 of the name>/meta.json          {"Name":…,"Metadata":{…},"Endpoints":{"docker":{…}}}
//! tls/<sha256 of the name>/docker/{ca,cert,key}.pem
//! ```

use crate::connection::Material;
use crate::failure::{Failure, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The context that is always there and lies nowhere.
pub(crate) const DEFAULT: &str = "default";
/// What is said of it.
pub(crate) const DEFAULT_ABOUT: &str = "Current DOCKER_HOST based configuration";
/// The endpoint that is Docker's.
const DOCKER: &str = "docker";
/// The most bytes of one file, Docker's limit for what is imported.
const MAX_FILE: u64 = 10 << 20;
/// Files of TLS, by what they are.
pub(crate) const TLS_FILES: &[(&str, &str)] =
    &[("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")];

/// A context as it is kept; members that are not ours stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) endpoints: Map<String, Value>,
}

/// A context's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Address {
    #[serde(rename = "Host", skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    #[serde(rename = "SkipTLSVerify")]
    pub(crate) skip_tls_verify: bool,
}

impl Meta {
    /// A context of this address.
    pub(crate) fn new(name: &str, about: &str, address: &Address) -> Self {
        let mut meta = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        meta.describe(about);
        meta.place(address);
        meta
    }

    pub(crate) fn about(&self) -> &str {
        let about = self.metadata.get("Description").and_then(Value::as_str);
        about.unwrap_or_default()
    }

    pub(crate) fn describe(&mut self, about: &str) {
        if about.is_empty() {
            self.metadata.remove("Description");
        } else {
            self.metadata.insert("Description".to_owned(), about.into());
        }
    }

    pub(crate) fn address(&self) -> Address {
        let found = self.endpoints.get(DOCKER).cloned().unwrap_or_default();
        serde_json::from_value(found).unwrap_or_default()
    }

    pub(crate) fn place(&mut self, address: &Address) {
        // A text and a boolean always serialize.
        let value = serde_json::to_value(address).unwrap_or_default();
        self.endpoints.insert(DOCKER.to_owned(), value);
    }
}

/// Files of TLS by name, `ca.pem` and so on.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The folder of contexts.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// Below the folder of the configuration.
    pub(crate) fn new(config: &Path) -> Self {
        Self {
            root: config.join("contexts"),
        }
    }

    pub(crate) fn meta_folder(&self, name: &str) -> PathBuf {
        self.root.join("meta").join(id(name))
    }

    pub(crate) fn tls_folder(&self, name: &str) -> PathBuf {
        self.root.join("tls").join(id(name))
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.meta_folder(name).join("meta.json").exists()
    }

    /// One context.
    pub(crate) fn get(&self, name: &str) -> Result<Meta, Failure> {
        let path = self.meta_folder(name).join("meta.json");
        let text = read(&path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                Failure::new(format!(
                    "context \"{name}\": context not found: open {}: no such file or directory",
                    path.display()
                ))
            } else {
                Failure::new(format!("context \"{name}\": {error}"))
            }
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            Failure::new(format!(
                "context \"{name}\": parsing {}: {error}",
                path.display()
            ))
        })
    }

    /// All that are kept, by name.
    pub(crate) fn all(&self) -> Result<Vec<Meta>, Failure> {
        let folder = self.root.join("meta");
        let entries = match fs_err::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path().join("meta.json");
            if !path.exists() {
                continue;
            }
            let parsed: Meta = serde_json::from_slice(&read(&path)?)
                .map_err(|error| Failure::new(format!("parsing {}: {error}", path.display())))?;
            found.push(parsed);
        }
        found.sort_by(|a, b| crate::format::natural_cmp(&a.name, &b.name));
        Ok(found)
    }

    /// Writes a context; the file is whole or not there.
    pub(crate) fn put(&self, meta: &Meta) -> Outcome {
        let folder = self.meta_folder(&meta.name);
        make_folder(&folder, 0o755)?;
        let text = serde_json::to_vec(meta).map_err(io::Error::other)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        io::Write::write_all(&mut file, &text)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode)?;
        file.persist(folder.join("meta.json"))
            .map_err(|error| error.error)?;
        Ok(())
    }

    /// The files of TLS that a context has.
    pub(crate) fn tls(&self, name: &str) -> Result<Files, Failure> {
        let folder = self.tls_folder(name).join(DOCKER);
        let mut files = Files::new();
        for (_, file) in TLS_FILES {
            match read(&folder.join(file)) {
                Ok(bytes) => drop(files.insert((*file).to_owned(), bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(files)
    }

    /// Replaces the files of TLS.
    pub(crate) fn put_tls(&self, name: &str, files: &Files) -> Outcome {
        remove(&self.tls_folder(name))?;
        if files.is_empty() {
            return Ok(());
        }
        let folder = self.tls_folder(name).join(DOCKER);
        make_folder(&folder, 0o700)?;
        for (file, bytes) in files {
            let mut options = fs_err::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            options.options_mut().mode(0o600);
            let mut file = options.open(folder.join(file))?;
            io::Write::write_all(&mut file, bytes)?;
        }
        Ok(())
    }

    /// Removes a context.
    pub(crate) fn remove(&self, name: &str) -> Outcome {
        remove(&self.meta_folder(name))?;
        remove(&self.tls_folder(name))
    }

    /// What a connection to a context is proven with; `None` where TLS is not spoken.
    pub(crate) fn material(&self, name: &str, address: &Address) -> Option<Material> {
        let folder = self.tls_folder(name).join(DOCKER);
        let file = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        let (ca, pair) = (file("ca.pem"), file("cert.pem").zip(file("key.pem")));
        if ca.is_none() && pair.is_none() && !address.skip_tls_verify {
            return None;
        }
        Some(Material {
            ca,
            pair,
            unverified: address.skip_tls_verify,
        })
    }
}

/// Reads a file of limited size.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs_err::File::open(path)?;
    read_limited(file)
}

/// Reads what a context may have at most.
pub(crate) fn read_limited(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut from.take(MAX_FILE + 1), &mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("longer than 10 MiB"));
    }
    Ok(bytes)
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(mode).create(path)
}

fn remove(folder: &Path) -> Outcome {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The name of a context's folder.
fn id(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses names that Docker's programs refuse.
pub(crate) fn check_name(name: &str) -> Outcome {
    if name.is_empty() {
        return Err(Failure::new("context name cannot be empty"));
    }
    if name == DEFAULT {
        return Err(Failure::new("\"default\" is a reserved context name"));
    }
    check_form(name)
}

/// Refuses what cannot be a name.
pub(crate) fn check_form(name: &str) -> Outcome {
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_.+-".contains(&b);
    if first && name.len() > 1 && letters.all(good) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "context name \"{name}\" is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_lie_where_docker_looks() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let address = Address {
            host: "tcp://h:1".into(),
            skip_tls_verify: false,
        };
        store.put(&Meta::new("cc", "new", &address)).unwrap();
        let path = dir.path().join("contexts/meta/355b1bbfc96725cdce8f4a2708fda310a80e6d13315aec4e5eed2a75fe8032ce/meta.json");
        assert_eq!(
            fs_err::read_to_string(path).unwrap(),
            r#"{"Name":"cc","Metadata":{"Description":"new"},"Endpoints":{"docker":{"Host":"tcp://h:1","SkipTLSVerify":false}}}"#
        );
        assert_eq!(store.material("cc", &address), None);
        let files = Files::from([("ca.pem".to_owned(), b"x".to_vec())]);
        store.put_tls("cc", &files).unwrap();
        assert_eq!(store.tls("cc").unwrap(), files);
        assert!(store.material("cc", &address).unwrap().ca.is_some());
        assert_eq!(store.all().unwrap().len(), 1);
        store.remove("cc").unwrap();
        assert!(!store.exists("cc") && store.tls("cc").unwrap().is_empty());
    }

    #[test]
    fn names_are_dockers() {
        for good in ["ab", "a.b-c+d_e", "1x"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "default", "-a", "a b", "a/b", "..", "ä1"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
