//! What is known of the files that came from a client, and how it is kept.
//!
//! ```text
//!   hull-context 1\n
//!   <the id of the machine's boot>\n        what was written before a loss of power may not be on the disk
//!   <length><entry> …                       protobuf, in the order of the walk
//! ```

use bollard_buildkit_proto::fsutil::types::Stat;
use fs_err as fs;
use prost::Message;
use std::io::{self, Write as _};
use std::path::Path;

const HEAD: &str = "hull-context 1\n";
/// An index is not longer, bytes: that of two million files has some 400 MB.
const MAX_INDEX: u64 = 1 << 30;

/// A file as its client told of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    /// The client's words.
    #[prost(message, required, tag = "1")]
    pub(super) stat: Stat,
    /// The digest of what came, of regular files.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) sha256: Vec<u8>,
    /// How many bytes came.
    #[prost(uint64, tag = "3")]
    pub(super) size: u64,
}

impl Entry {
    /// Whether the file is still as the client says now. Directories change their time with their files.
    pub(super) fn is(&self, stat: &Stat) -> bool {
        let known = &self.stat;
        let times = known.mode & super::mode::DIR != 0
            || known.size == stat.size && known.mod_time == stat.mod_time;
        times
            && known.mode == stat.mode
            && known.uid == stat.uid
            && known.gid == stat.gid
            && known.linkname == stat.linkname
            && known.devmajor == stat.devmajor
            && known.devminor == stat.devminor
            && known.xattrs == stat.xattrs
    }
}

/// Reads what [`write()`] wrote in this boot; `None` when there is nothing to be trusted.
pub(super) fn read(path: &Path, boot: &str) -> Option<Vec<Entry>> {
    let length = fs::symlink_metadata(path).ok()?.len();
    if length > MAX_INDEX {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let rest = bytes.strip_prefix(HEAD.as_bytes())?;
    let rest = rest.strip_prefix(boot.as_bytes())?;
    let mut rest = rest.strip_prefix(b"\n")?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        entries.push(Entry::decode_length_delimited(&mut rest).ok()?);
    }
    Some(entries)
}

/// Writes an index, in whole or not at all.
///
/// # Errors
/// What the file system says.
pub(super) fn write(path: &Path, boot: &str, entries: &[Entry]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = io::BufWriter::new(fs::File::create(&new)?);
    file.write_all(format!("{HEAD}{boot}\n").as_bytes())?;
    let mut buffer = Vec::new();
    for entry in entries {
        buffer.clear();
        entry
            .encode_length_delimited(&mut buffer)
            .map_err(io::Error::other)?;
        file.write_all(&buffer)?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry {
            stat: Stat {
                path: path.to_owned(),
                mode: 0o644,
                size: 3,
                mod_time: 17,
                xattrs: [("user.a".to_owned(), vec![1, 2])].into(),
                ..Stat::default()
            },
            sha256: vec![7; 32],
            size: 3,
        }
    }

    #[test]
    fn what_is_written_is_read_in_the_same_boot_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        assert_eq!(read(&path, "boot"), None);
        let entries = vec![entry("a"), entry("b")];
        write(&path, "boot", &entries).unwrap();
        assert_eq!(read(&path, "boot"), Some(entries));
        assert_eq!(read(&path, "other"), None);
        let mut bytes = fs::read(&path).unwrap();
        bytes.pop();
        fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path, "boot"), None);
    }

    #[test]
    fn a_file_has_changed_when_anything_of_it_has() {
        let known = entry("a");
        assert!(known.is(&known.stat));
        let change: [fn(&mut Stat); 8] = [
            |s| s.mode = 0o600,
            |s| s.uid = 1,
            |s| s.gid = 1,
            |s| s.size = 4,
            |s| s.mod_time = 18,
            |s| s.linkname = "b".to_owned(),
            |s| s.devminor = 1,
            |s| s.xattrs.clear(),
        ];
        for change in change {
            let mut stat = known.stat.clone();
            change(&mut stat);
            assert!(!known.is(&stat), "{stat:?}");
        }
    }
}
