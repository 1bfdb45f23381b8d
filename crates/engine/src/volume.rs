//! Volumes: directories that outlive containers, `volumes/<name>/_data`.

use crate::{Error, ErrorKind, Result};
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
