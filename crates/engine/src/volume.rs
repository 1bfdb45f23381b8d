//! Volumes: directories that outlive containers, `volumes/<name>/_data`.

use crate::{Engine, Error, ErrorKind, Result, blocking};
use jiff::Timestamp;
use std::io;
use std::path::{Path, PathBuf};

/// Anonymous volumes have a file beside their data, so that they can go with their container.
const ANONYMOUS: &str = "anonymous";

/// Checks a volume's name; empty stands for an anonymous one. The text is dockerd's.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_none_or(|b| b.is_ascii_alphanumeric());
    if first
        && name.len() != 1
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    {
        return Ok(());
    }
    let text = format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    );
    Err(Error::new(ErrorKind::InvalidInput, text))
}

/// Where a volume's data is.
pub(crate) fn data(data_root: &Path, name: &str) -> PathBuf {
    data_root.join("volumes").join(name).join("_data")
}

/// Makes a volume if there is none of this name; tells whether it is new.
///
/// # Errors
/// What making directories gives.
pub(crate) fn ensure(data_root: &Path, name: &str, anonymous: bool) -> Result<bool> {
    let data = data(data_root, name);
    let make = || -> io::Result<bool> {
        if data.exists() {
            return Ok(false);
        }
        fs_err::create_dir_all(&data)?;
        if anonymous {
            fs_err::write(data.with_file_name(ANONYMOUS), "")?;
        }
        Ok(true)
    };
    make().map_err(|e| {
        Error::new(
            ErrorKind::Internal,
            format!("could not create volume {name}"),
        )
        .caused_by(e)
    })
}

/// Removes a volume if it is an anonymous one.
///
/// # Errors
/// What removing directories gives.
pub(crate) fn remove_anonymous(data_root: &Path, name: &str) -> io::Result<()> {
    let directory = data_root.join("volumes").join(name);
    if directory.join(ANONYMOUS).exists() {
        fs_err::remove_dir_all(directory)
    } else {
        Ok(())
    }
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeDetails {
    /// Its name; 64 hexadecimal digits for an anonymous one.
    pub name: String,
    /// Where its data is on the host.
    pub mountpoint: PathBuf,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it goes with its container.
    pub anonymous: bool,
}

/// The volume of this name, if there is one.
fn details(data_root: &Path, name: &str) -> Option<VolumeDetails> {
    let mountpoint = data(data_root, name);
    let made = fs_err::metadata(&mountpoint).and_then(|data| data.created());
    let created = made.ok().and_then(|at| Timestamp::try_from(at).ok());
    mountpoint.is_dir().then(|| VolumeDetails {
        name: name.to_owned(),
        // A file system that does not know is rare; Docker's zero is as good as any answer.
        created: created.unwrap_or(Timestamp::UNIX_EPOCH),
        anonymous: mountpoint.with_file_name(ANONYMOUS).exists(),
        mountpoint,
    })
}

impl Engine {
    /// The volumes, by name.
    ///
    /// # Errors
    /// What reading directories gives.
    pub async fn volumes(&self) -> Result<Vec<VolumeDetails>> {
        let data_root = self.config.data_root.clone();
        blocking(move || {
            let entries = match fs_err::read_dir(data_root.join("volumes")) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => {
                    let text = "could not list the volumes";
                    return Err(Error::new(ErrorKind::Internal, text).caused_by(error));
                }
            };
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let mut volumes: Vec<_> = names
                .filter_map(|name| details(&data_root, &name))
                .collect();
            volumes.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(volumes)
        })
        .await
    }

    /// One volume.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn volume_inspect(&self, name: &str) -> Result<VolumeDetails> {
        let data_root = self.config.data_root.clone();
        let name = name.to_owned();
        blocking(move || {
            let known = !name.is_empty() && check_name(&name).is_ok();
            known
                .then(|| details(&data_root, &name))
                .flatten()
                .ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, format!("get {name}: no such volume"))
                })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_anonymous_volumes_go_with_their_container() {
        let root = tempfile::tempdir().unwrap();
        assert!(ensure(root.path(), "kept", false).unwrap());
        assert!(!ensure(root.path(), "kept", false).unwrap());
        ensure(root.path(), "gone", true).unwrap();
        remove_anonymous(root.path(), "kept").unwrap();
        remove_anonymous(root.path(), "gone").unwrap();
        assert!(details(root.path(), "kept").is_some_and(|volume| !volume.anonymous));
        assert_eq!(details(root.path(), "gone"), None);
        assert!(data(root.path(), "kept").exists() && !data(root.path(), "gone").exists());
    }

    #[test]
    fn names_are_checked() {
        assert!(check_name("data_1.x").is_ok() && check_name("").is_ok());
        for bad in ["a", "../x", "a/b", "-x", "a b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
