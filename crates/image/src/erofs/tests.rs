mod trees;

use super::*;
use crate::unpack::tests::{Seen, listing};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

/// An index and its archive as files.
pub(crate) struct Indexed {
    dir: tempfile::TempDir,
    pub(crate) summary: Summary,
}

impl Indexed {
    pub(crate) fn new(archive: &[u8]) -> Result<Self, Error> {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("archive"), archive).unwrap();
        let mut out = File::create(dir.path().join("index")).unwrap();
        let summary = index(&mut &archive[..], &mut out)?;
        let this = Self { dir, summary };
        let bytes = fs_err::read(this.index()).unwrap();
        assert_eq!(check::check(&bytes, archive.len() as u64), Ok(()));
        Ok(this)
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    /// The index mounted, but nowhere to be seen; `None` where that is not possible.
    pub(crate) fn mount(&self) -> Option<Mounted> {
        static SKIPPED: Once = Once::new();
        let device = format!("device={}", self.archive().display());
        let index = self.index();
        let options = [device.as_str(), "ro"].into_iter();
        match hull_linux::mount::new_file_system("erofs", index.to_str().unwrap(), options, 1) {
            Ok(mount) => Some(Mounted(mount)),
            // Not allowed, no EROFS, or none that is mounted from files.
            Err(error) if matches!(error.raw_os_error(), Some(1 | 15 | 19)) => {
                SKIPPED.call_once(|| println!("skipped: mounting EROFS from a file: {error}"));
                None
            }
            Err(error) => panic!("mount the index: {error}"),
        }
    }
}

/// Has `fsck.erofs` look at an index, where there is one that knows blocks of 512 bytes and devices.
pub(crate) fn fsck(indexed: &Indexed) {
    static SKIPPED: Once = Once::new();
    let skip = |why: &str| SKIPPED.call_once(|| println!("skipped: fsck.erofs: {why}"));
    let version = match Command::new("fsck.erofs").arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => return skip(&error.to_string()),
    };
    let numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok());
    let numbers: Vec<u32> = numbers.take(2).collect();
    if numbers < vec![1, 8] {
        return skip(&version);
    }
    let mut device = std::ffi::OsString::from("--device=");
    device.push(indexed.archive());
    let output = Command::new("fsck.erofs")
        .arg(device)
        .arg(indexed.index())
        .output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A mount that ends with its descriptor.
pub(crate) struct Mounted(OwnedFd);

impl Mounted {
    pub(crate) fn root(&self) -> PathBuf {
        format!("/proc/self/fd/{}/.", self.0.as_raw_fd()).into()
    }
}

/// Checks that the index of an archive means what was unpacked from it to `root`, after `started`.
pub(crate) fn check_same(
    archive: &[u8],
    unpacked: &Result<Summary, Error>,
    root: &Path,
    started: i64,
) {
    let indexed = match (Indexed::new(archive), unpacked) {
        (Ok(indexed), Ok(summary)) => {
            assert_eq!(indexed.summary, *summary);
            indexed
        }
        // What is removed before a link fails makes a difference to the reason.
        (Err(ours), Err(theirs)) if is_link(&ours) || is_link(theirs) => return,
        (Err(ours), Err(theirs)) => {
            assert_eq!(ours.to_string(), theirs.to_string());
            return;
        }
        (ours, theirs) => panic!("indexed: {:?}, unpacked: {theirs:?}", ours.err()),
    };
    let Some(mounted) = indexed.mount() else {
        return;
    };
    let mut expected = listing(root);
    let mut found = listing(&mounted.root());
    // What is implied has the time of unpacking there and the layer's usual time here.
    for (path, seen) in &mut expected {
        if seen.mtime.0 >= started {
            seen.mtime = (0, 0);
            if let Some(other) = found.get_mut(path) {
                other.mtime = (0, 0);
            }
        }
    }
    compare(&found, &expected);
}

fn is_link(error: &Error) -> bool {
    matches!(error, Error::Link { .. })
}

/// Shows only what differs.
pub(crate) fn compare(found: &BTreeMap<PathBuf, Seen>, expected: &BTreeMap<PathBuf, Seen>) {
    for (path, seen) in expected {
        assert_eq!(found.get(path), Some(seen), "{}", path.display());
    }
    let more: Vec<_> = found
        .keys()
        .filter(|p| !expected.contains_key(*p))
        .collect();
    assert!(more.is_empty(), "{more:?}");
}

/// Archives that no file system of ours unpacks so quickly, or at all.
fn header(name: &str, kind: u8, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    header
}

fn archive(headers: impl Iterator<Item = tar::Header>) -> Vec<u8> {
    let mut bytes: Vec<u8> = headers.flat_map(|header| *header.as_bytes()).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn directories_may_be_huge_and_files_have_many_names() {
    let names = |count: u32| (0..count).map(|i| format!("d/{i}-{}", "n".repeat(i as usize % 80)));
    let first = std::iter::once(header("d/x", b'0', 0));
    let links = names(70_000).map(|name| {
        let mut header = header(&name, b'1', 0);
        header.set_link_name("d/x").unwrap();
        header.set_cksum();
        header
    });
    let bytes = archive(first.chain(links));
    let indexed = Indexed::new(&bytes).unwrap();
    fsck(&indexed);
    let again = Indexed::new(&bytes).unwrap();
    let read = |of: &Indexed| fs_err::read(of.index()).unwrap();
    assert!(
        read(&indexed) == read(&again),
        "equal archives give equal indexes"
    );
    let Some(mounted) = indexed.mount() else {
        return;
    };
    let directory = mounted.root().join("d");
    assert_eq!(fs_err::read_dir(&directory).unwrap().count(), 70_001);
    for name in names(70_000).step_by(997) {
        let found = fs_err::metadata(mounted.root().join(name)).unwrap();
        assert_eq!(found.nlink(), 70_001);
    }
    assert!(fs_err::metadata(directory.join("0-x")).is_err());
}

#[test]
fn directories_have_many_directories() {
    let names = (0..66_000).map(|i| header(&format!("d{i}/"), b'5', 0));
    let indexed = Indexed::new(&archive(names)).unwrap();
    if let Some(mounted) = indexed.mount() {
        assert_eq!(fs_err::metadata(mounted.root()).unwrap().nlink(), 66_002);
        assert!(
            fs_err::metadata(mounted.root().join("d65999"))
                .unwrap()
                .is_dir()
        );
    }
}

/// A header, and then zeros without end.
struct Zeros {
    head: Vec<u8>,
    at: usize,
}

impl std::io::Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Zeros {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        match self.head.get(self.at..) {
            Some(rest) if !rest.is_empty() => Ok(rest),
            _ => Ok(&ZEROS),
        }
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

#[test]
fn files_may_be_larger_than_4_gib() {
    const SIZE: u64 = (5 << 30) + 1;
    let head = header("large", b'0', SIZE).as_bytes().to_vec();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let data = File::create(at("archive")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&data, &head, 0).unwrap();
    let end = 512 + SIZE - 1;
    std::os::unix::fs::FileExt::write_all_at(&data, b"!", end).unwrap();
    data.set_len(end.next_multiple_of(512) + 1024).unwrap();
    let mut out = File::create(at("index")).unwrap();
    let mut zeros = Zeros { head, at: 0 };
    let summary = index(&mut zeros, &mut out).unwrap();
    assert_eq!(summary.size, SIZE);
    let summary = Summary::default();
    let indexed = Indexed { dir, summary };
    if let Some(mounted) = indexed.mount() {
        let file = fs_err::File::open(mounted.root().join("large")).unwrap();
        assert_eq!(file.metadata().unwrap().len(), SIZE);
        let mut last = [0; 3];
        std::os::unix::fs::FileExt::read_exact_at(file.file(), &mut last, SIZE - 3).unwrap();
        assert_eq!(&last, b"\0\0!");
    }
}

#[test]
fn what_takes_too_much_is_refused() {
    // Each of these costs the archive little and the index much.
    let sparse = |size: &str, map: &str| {
        let mut records = Vec::new();
        for (keyword, value) in [("GNU.sparse.size", size), ("GNU.sparse.map", map)] {
            let body = format!(" {keyword}={value}\n");
            let mut length = body.len() + 1;
            while length != body.len() + length.to_string().len() {
                length = body.len() + length.to_string().len();
            }
            records.extend_from_slice(format!("{length}{body}").as_bytes());
        }
        let mut bytes = header("pax", b'x', records.len() as u64)
            .as_bytes()
            .to_vec();
        bytes.extend_from_slice(&records);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        let stored = map
            .split(',')
            .skip(1)
            .step_by(2)
            .map(|n| n.parse::<u64>().unwrap_or(0))
            .sum();
        bytes.extend_from_slice(header("sparse", b'0', stored).as_bytes());
        bytes.resize(
            bytes.len() + usize::try_from(stored.next_multiple_of(512)).unwrap() + 1024,
            7,
        );
        let end = bytes.len() - 1024;
        bytes[end..].fill(0);
        bytes
    };
    let error = Indexed::new(&sparse("9223372036854775807", "0,1"))
        .err()
        .unwrap();
    assert!(error.to_string().contains("create file"), "{error}");
    // 16 TB with one part in the middle that is not aligned: a table and a copy of bounded size.
    let indexed = Indexed::new(&sparse("16000000000000", "0,0,7999999999999,3")).unwrap();
    let taken = fs_err::metadata(indexed.index()).unwrap();
    assert!(taken.blocks() * 512 < 4 << 20, "{taken:?}");
    assert!(taken.len() < 1 << 28, "{taken:?}");
    if let Some(mounted) = indexed.mount() {
        let file = fs_err::File::open(mounted.root().join("sparse")).unwrap();
        let mut found = [1; 5];
        std::os::unix::fs::FileExt::read_exact_at(file.file(), &mut found, 7_999_999_999_998)
            .unwrap();
        assert_eq!(found, [0, 7, 7, 7, 0]);
    }
}

#[test]
fn text_may_not_fill_the_memory() {
    let mut tree = tree::Tree::new(0o755);
    let target = [b't'; 4096];
    for _ in 0..(64 << 20) / target.len() {
        tree.keep(&target).unwrap();
    }
    let error = tree.keep(b"t").unwrap_err().to_string();
    assert!(error.contains("more than 64 MiB"), "{error}");
}
