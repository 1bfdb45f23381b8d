//! An image as its archive has it: its config, and the files of layers.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use tar::{Archive, EntryType};

/// The longest config, bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// An image, as far as it is compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub(super) id: String,
    pub(super) config: Value,
    /// The digests of its layers.
    pub(super) layers: Vec<String>,
    /// The files of those that the other image does not have, by their digests.
    pub(super) files: BTreeMap<String, Files>,
}

/// A layer's entries by their paths.
pub(super) type Files = BTreeMap<Vec<u8>, Entry>;

/// An entry of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: &'static str,
    pub(super) mode: u32,
    pub(super) owner: (u64, u64),
    /// As a device has it.
    pub(super) device: (u32, u32),
    /// Where a link leads.
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    /// Of what is in it.
    pub(super) digest: String,
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
    /// As the archive has it, in seconds.
    pub(super) time: String,
}

impl Contents {
    /// Reads an archive of one image, with what is in the layers `wanted`.
    pub(super) fn read(
        archive: &mut dyn Read,
        id: String,
        layers: Vec<String>,
        wanted: &BTreeSet<String>,
    ) -> io::Result<Self> {
        let mut contents = Self {
            id,
            layers,
            ..Self::default()
        };
        let mut archive = Archive::new(archive);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path_bytes().into_owned();
            let Some(name) = path.strip_prefix(b"blobs/sha256/") else {
                continue;
            };
            let digest = format!("sha256:{}", String::from_utf8_lossy(name));
            if digest == contents.id {
                contents.config = serde_json::from_reader((&mut entry).take(MAX_CONFIG))?;
            } else if wanted.contains(&digest) {
                contents.files.insert(digest, files(&mut entry)?);
            }
        }
        match contents.config.is_object()
            && wanted.iter().all(|one| contents.files.contains_key(one))
        {
            true => Ok(contents),
            false => Err(io::Error::other("its archive is not whole")),
        }
    }
}

fn files(layer: &mut dyn Read) -> io::Result<Files> {
    let mut files = Files::new();
    let mut archive = Archive::new(layer);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let path = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
        let mut read = described(&entry);
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            match extension.key_bytes() {
                b"mtime" => {
                    read.time = String::from_utf8_lossy(extension.value_bytes()).into_owned();
                }
                key => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        let name = String::from_utf8_lossy(name).into_owned();
                        read.attributes
                            .insert(name, extension.value_bytes().to_vec());
                    }
                }
            }
        }
        if read.kind == "file" {
            let mut sum = Sha256::new();
            read.size = io::copy(&mut entry, &mut Sum(&mut sum))?;
            let sum = sum.finalize();
            read.digest = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        }
        files.insert(path, read);
    }
    Ok(files)
}

/// What the header says; a number that is none is 0, as for who unpacks it.
fn described<R: Read>(entry: &tar::Entry<'_, R>) -> Entry {
    let header = entry.header();
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => "file",
        EntryType::Link => "hard link",
        EntryType::Symlink => "symbolic link",
        EntryType::Char => "character device",
        EntryType::Block => "block device",
        EntryType::Directory => "directory",
        EntryType::Fifo => "pipe",
        _ => "entry of an unknown kind",
    };
    let number = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or_default();
    Entry {
        kind,
        mode: header.mode().unwrap_or_default(),
        owner: (
            header.uid().unwrap_or_default(),
            header.gid().unwrap_or_default(),
        ),
        device: match kind {
            "character device" | "block device" => {
                (number(header.device_major()), number(header.device_minor()))
            }
            _ => (0, 0),
        },
        link: entry.link_name_bytes().unwrap_or_default().into_owned(),
        time: header.mtime().unwrap_or_default().to_string(),
        ..Entry::default()
    }
}

struct Sum<'a>(&'a mut Sha256);

impl io::Write for Sum<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(5);
        header.set_cksum();
        builder.append_data(&mut header, name, bytes).unwrap();
    }

    #[test]
    fn an_archive_is_read() {
        let mut layer = tar::Builder::new(Vec::new());
        layer
            .append_pax_extensions([("mtime", &b"5.25"[..]), ("SCHILY.xattr.user.a", b"b")])
            .unwrap();
        file(&mut layer, "d/f", b"text");
        let layer = layer.into_inner().unwrap();
        let digests = ["11", "22", "33"].map(|hex| format!("sha256:{}", hex.repeat(32)));
        let mut archive = tar::Builder::new(Vec::new());
        let path = |digest: &str| digest.replace("sha256:", "blobs/sha256/");
        file(&mut archive, &path(&digests[0]), b"{\"os\":\"linux\"}");
        file(&mut archive, &path(&digests[1]), &layer);
        file(&mut archive, &path(&digests[2]), b"no archive");
        let archive = archive.into_inner().unwrap();
        let read = |wanted: &[&String]| {
            let wanted = wanted.iter().map(|one| (*one).clone()).collect();
            Contents::read(
                &mut archive.as_slice(),
                digests[0].clone(),
                digests[1..].to_vec(),
                &wanted,
            )
        };
        let found = read(&[&digests[1]]).unwrap();
        assert_eq!(found.config["os"], "linux");
        let entry = &found.files[&digests[1]][&b"d/f"[..]];
        assert_eq!((entry.kind, entry.size, &*entry.time), ("file", 4, "5.25"));
        assert_eq!(entry.attributes["user.a"], b"b");
        assert!(entry.digest.starts_with("982d9e3eb996f559"));
        let missing = format!("sha256:{}", "44".repeat(32));
        assert!(read(&[&missing]).is_err());
    }
}
