//! Where plugins are found.

use hull_engine::volume::DriverError;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where to look.
#[derive(Clone, Debug)]
pub(super) struct Places {
    sockets: PathBuf,
    specs: Vec<PathBuf>,
}

/// Where a plugin listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this host's.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Default for Places {
    fn default() -> Self {
        Self {
            sockets: "/run/docker/plugins".into(),
            specs: vec![
                "/etc/docker/plugins".into(),
                "/usr/lib/docker/plugins".into(),
            ],
        }
    }
}

/// The most bytes of a file that says where a plugin listens.
const MAX_SPEC: u64 = 64 << 10;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Spec {
    addr: String,
    #[serde(rename = "TLSConfig")]
    tls_config: Option<serde_json::Value>,
}

impl Places {
    /// Everything in one directory.
    #[cfg(test)]
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self {
            sockets: directory.to_owned(),
            specs: vec![directory.to_owned()],
        }
    }

    /// The names of all plugins, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in self.specs.iter().chain([&self.sockets]) {
            for entry in fs_err::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let ends = [".sock", ".spec", ".json"];
                let plain = ends.iter().find_map(|end| name.strip_suffix(end));
                if let Some(name) = plain.map(str::to_owned).or_else(|| {
                    let inner = |end: &&&str| entry.path().join(format!("{name}{end}")).exists();
                    ends.iter().find(inner).map(|_| name.clone())
                }) {
                    names.push(name);
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Where a plugin listens; `None` of one that is not there.
    pub(super) fn find(&self, name: &str) -> Result<Option<Address>, DriverError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain)
        {
            return Ok(None);
        }
        let both = |directory: &Path, end: &str| {
            let file = format!("{name}.{end}");
            [directory.join(&file), directory.join(name).join(&file)]
        };
        let mut sockets = both(&self.sockets, "sock").into_iter();
        if let Some(socket) = sockets.find(|path| path.exists()) {
            return Ok(Some(Address::Unix(socket)));
        }
        for directory in &self.specs {
            for path in both(directory, "spec") {
                if let Some(text) = read(&path) {
                    return address(text.trim()).map(Some);
                }
            }
            for path in both(directory, "json") {
                if let Some(text) = read(&path) {
                    return described(&path, &text).map(Some);
                }
            }
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Option<String> {
    let length = fs_err::metadata(path).ok()?.len();
    (length <= MAX_SPEC)
        .then(|| fs_err::read_to_string(path).ok())
        .flatten()
}

fn described(path: &Path, text: &str) -> Result<Address, DriverError> {
    let spec: Spec = serde_json::from_str(text)
        .map_err(|error| DriverError::Failed(format!("{}: {error}", path.display())))?;
    if spec.tls_config.is_some() {
        let text = format!(
            "{}: Hull does not support plugins by TLS yet",
            path.display()
        );
        return Err(DriverError::Failed(text));
    }
    address(&spec.addr)
}

fn address(text: &str) -> Result<Address, DriverError> {
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Address::Unix(path.into())),
        Some(("tcp" | "http", host)) if !host.is_empty() => {
            Ok(Address::Tcp(host.trim_end_matches('/').to_owned()))
        }
        _ => Err(DriverError::Failed(format!(
            "no address of a plugin: {text:?}; expected unix:///path or tcp://host:port"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_where_plugins_listen() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs_err::write(dir.path().join(name), text).unwrap();
        write("a.spec", "unix:///run/a.sock\n");
        write("b.json", r#"{"Name":"b","Addr":"tcp://127.0.0.1:8000"}"#);
        write("c.json", r#"{"Addr":"https://c","TLSConfig":{}}"#);
        write("d.spec", "nonsense");
        fs_err::create_dir(dir.path().join("e")).unwrap();
        write("e/e.sock", "");
        let places = Places::in_directory(dir.path());
        assert_eq!(places.names(), ["a", "b", "c", "d", "e"]);
        let of = |name: &str| places.find(name);
        assert_eq!(of("a"), Ok(Some(Address::Unix("/run/a.sock".into()))));
        assert_eq!(of("b"), Ok(Some(Address::Tcp("127.0.0.1:8000".to_owned()))));
        assert!(of("c").unwrap_err().to_string().contains("TLS"));
        assert!(of("d").is_err());
        assert!(matches!(of("e"), Ok(Some(Address::Unix(_)))));
        for none in ["f", "", "../a", "x/y", ".a"] {
            assert_eq!(of(none), Ok(None), "{none}");
        }
    }
}
