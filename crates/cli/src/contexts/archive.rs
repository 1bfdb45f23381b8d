//! Contexts as archives, in the form that Docker's programs exchange:
//!
//! ```text
//! meta.json   tls/   tls/docker/   tls/docker/ca.pem …
//! ```

use super::store::{Files, Meta, TLS_FILES, read_limited};
use crate::failure::Failure;
use std::io::{self, Read, Write};
use tar::{Archive, Builder, EntryType, Header};

/// Writes a context.
pub(super) fn write(meta: &Meta, files: &Files, to: impl Write) -> io::Result<()> {
    let mut archive = Builder::new(to);
    let text = serde_json::to_vec(meta)?;
    append(&mut archive, "meta.json", EntryType::Regular, 0o644, &text)?;
    append(&mut archive, "tls", EntryType::Directory, 0o700, &[])?;
    if !files.is_empty() {
        append(&mut archive, "tls/docker", EntryType::Directory, 0o700, &[])?;
    }
    for (name, bytes) in files {
        let path = format!("tls/docker/{name}");
        append(&mut archive, &path, EntryType::Regular, 0o600, bytes)?;
    }
    archive.finish()
}

fn append<W: Write>(
    archive: &mut Builder<W>,
    path: &str,
    kind: EntryType,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_mtime(0);
    archive.append_data(&mut header, path, bytes)
}

/// Reads a context that is to be called `name`. Nothing else than the known files is taken.
pub(super) fn read(from: impl Read, name: &str) -> Result<(Meta, Files), Failure> {
    // The whole archive has the limit of a file.
    let bytes = read_limited(from)?;
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(Failure::new(
            "this is a zip file: pack what is in it as a tar archive",
        ));
    }
    let mut archive = Archive::new(bytes.as_slice());
    let (mut meta, mut files) = (None, Files::new());
    let invalid = |_| Failure::new("archive/tar: invalid tar header");
    for entry in archive.entries().map_err(invalid)? {
        let mut entry = entry.map_err(invalid)?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if path == "meta.json" {
            let parsed: Meta = serde_json::from_slice(&bytes)
                .map_err(|error| Failure::new(format!("meta.json: {error}")))?;
            meta = Some(parsed);
        } else if let Some(file) = path.strip_prefix("tls/docker/") {
            if !TLS_FILES.iter().any(|(_, known)| *known == file) {
                return Err(Failure::new(format!(
                    "{path}: unexpected file in a context"
                )));
            }
            files.insert(file.to_owned(), bytes);
        } else {
            return Err(Failure::new(format!(
                "{path}: unexpected file in a context"
            )));
        }
    }
    let mut meta = meta.ok_or_else(|| Failure::new("invalid context: no metadata found"))?;
    name.clone_into(&mut meta.name);
    Ok((meta, files))
}

#[cfg(test)]
mod tests {
    use super::super::store::Address;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let meta = Meta::new("ab", "about", &Address::default());
        let files = Files::from([("key.pem".to_owned(), b"secret".to_vec())]);
        let mut bytes = Vec::new();
        write(&meta, &files, &mut bytes).unwrap();
        let (read, found) = read(bytes.as_slice(), "cd").unwrap();
        assert_eq!(
            (read.name.as_str(), read.about(), found),
            ("cd", "about", files)
        );
    }

    #[test]
    fn strangers_files_are_refused() {
        for path in ["tls/docker/../../x", "x", "tls/other/ca.pem"] {
            let mut archive = Builder::new(Vec::new());
            let mut header = Header::new_ustar();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(0);
            header.set_entry_type(EntryType::Regular);
            header.set_cksum();
            archive.append(&header, io::empty()).unwrap();
            let bytes = archive.into_inner().unwrap();
            let failure = read(bytes.as_slice(), "ab").unwrap_err();
            assert!(
                failure.message().unwrap().contains("unexpected file"),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _ = read(bytes.as_slice(), "ab");
        }
    }
}
