use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;
use tar::{EntryType, Header};

/// Writes archives that the tar crate's builder refuses to write.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn header(kind: u8, name: &[u8], size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    fn push(mut self, mut header: Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &[u8]) -> Self {
        self.push(Self::header(b'0', name.as_bytes(), data.len() as u64), data)
    }

    fn dir(self, name: &str, mode: u32) -> Self {
        let mut header = Self::header(b'5', name.as_bytes(), 0);
        header.set_mode(mode);
        self.push(header, b"")
    }

    fn link(self, kind: u8, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, name.as_bytes(), 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.push(header, b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (keyword, value) in records {
            let body = keyword.len() + value.len() + 3;
            let mut length = body + 1;
            while length != body + length.to_string().len() {
                length = body + length.to_string().len();
            }
            data.extend_from_slice(format!("{length} {keyword}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.push(Self::header(b'x', b"pax", data.len() as u64), &data)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A directory to unpack into, with something beside it that must stay as it is.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("root")).unwrap();
        fs_err::write(dir.path().join("victim"), b"untouched").unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn unpack(&self, archive: &[u8]) -> Result<Summary, Error> {
        // Files get their times from the clock that lags behind.
        let started = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec;
        let result = unpack(&mut &archive[..], &self.root());
        crate::erofs::tests::check_same(archive, &result, &self.root(), started);
        let beside = fs_err::read_dir(self.dir.path()).unwrap().count();
        assert_eq!(beside, 2, "something was written outside");
        let victim = self.dir.path().join("victim");
        assert_eq!(fs_err::read(&victim).unwrap(), b"untouched");
        assert_eq!(fs_err::metadata(victim).unwrap().nlink(), 1);
        result
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn hostile_archives_are_refused_by_name() {
    let mut too_long = Raw::header(b'x', b"pax", 2 << 20);
    too_long.set_cksum();
    let mut negative = Raw::header(b'0', b"negative", 0);
    negative.as_old_mut().size = [0xff; 12];
    let mut huge = Raw::header(b'0', b"huge", 0);
    huge.as_old_mut().size = *b"\x80\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00";
    let mut checksum = Raw::header(b'0', b"checksum", 0);
    checksum.set_cksum();
    checksum.as_old_mut().name[0] = b'C';
    let victim = "../victim";
    for (what, archive, message) in [
        (
            "parent",
            Raw::default().file(victim, b"x"),
            "\"../victim\" is outside of the layer",
        ),
        (
            "parent in the middle",
            Raw::default().file("a/../../victim", b"x"),
            "\"a/../../victim\" is outside of the layer",
        ),
        (
            "through a symbolic link",
            Raw::default()
                .link(b'2', "up", "..")
                .file("up/victim", b"x"),
            "\"up/victim\": a part of its path is a symbolic link out of the layer",
        ),
        (
            "through a symbolic link to itself",
            Raw::default()
                .link(b'2', "a", "b")
                .link(b'2', "b", "a")
                .file("a/x", b"x"),
            "\"a/x\": too many symbolic links on its path",
        ),
        (
            "below a file",
            Raw::default().file("f", b"x").file("f/x", b"x"),
            "\"f/x\": a part of its path is a file in this layer",
        ),
        (
            "hard link out",
            Raw::default().link(b'1', "link", victim),
            "hard link \"link\" to \"../victim\": its target is outside of the layer",
        ),
        (
            "hard link through a symbolic link",
            Raw::default()
                .link(b'2', "up", "..")
                .link(b'1', "link", "up/victim"),
            "hard link \"link\" to \"up/victim\": its target is outside of the layer",
        ),
        (
            "hard link to nothing",
            Raw::default().link(b'1', "link", "lower"),
            "hard link \"link\" to \"lower\": its target is not in this layer",
        ),
        (
            "hard link to a directory",
            Raw::default().dir("d", 0o755).link(b'1', "link", "d"),
            "hard link \"link\" to \"d\": its target is a directory",
        ),
        (
            "whiteout of the directory itself",
            Raw::default().file("d/.wh..", b""),
            "\"d/.wh..\": a whiteout of nothing",
        ),
        (
            "whiteout of the parent",
            Raw::default().file("d/.wh...", b""),
            "\"d/.wh...\": a whiteout of nothing",
        ),
        (
            "root as a file",
            Raw::default().file("./", b""),
            "\"./\": the root can only be a directory",
        ),
        (
            "long pax",
            Raw(too_long.as_bytes().to_vec()),
            "an extended header larger than 1 MiB",
        ),
        (
            "negative",
            Raw::default().push(negative, b""),
            "a negative number",
        ),
        (
            "huge",
            Raw::default().push(huge, b""),
            "a number that is too large",
        ),
        (
            "checksum",
            Raw(checksum.as_bytes().to_vec()),
            "wrong checksum",
        ),
        (
            "kind",
            Raw::default().link(b'Z', "z", ""),
            "unhandled tar header type `Z`",
        ),
        (
            "NUL in a name",
            Raw::default().pax(&[("path", b"a\0b")]).file("a", b""),
            "a name with a NUL in it",
        ),
        (
            "user number",
            Raw::default().pax(&[("uid", b"4294967295")]).file("a", b""),
            "a user or group number that Linux does not have",
        ),
        (
            "sparse beyond the end",
            Raw::default()
                .pax(&[("GNU.sparse.size", b"1"), ("GNU.sparse.map", b"0,5")])
                .file("a", b"12345"),
            "a sparse map that contradicts itself",
        ),
        (
            "sparse longer than its data",
            Raw::default()
                .pax(&[("GNU.sparse.size", b"99"), ("GNU.sparse.map", b"0,5")])
                .file("a", b"1"),
            "a sparse map that contradicts itself",
        ),
    ] {
        let error = Place::new().unpack(&archive.end()).unwrap_err();
        assert!(error.to_string().contains(message), "{what}: {error}");
    }
    for path in [["a"; 3000].join("/"), "n".repeat(256)] {
        let archive = Raw::default()
            .pax(&[("path", path.as_bytes())])
            .file("x", b"");
        let error = Place::new().unpack(&archive.end()).unwrap_err();
        assert!(matches!(error, Error::Entry { .. }), "{error}");
    }
    let cut = Raw::default().file("a", &[1; 1000]).0;
    let error = Place::new().unpack(&cut[..900]).unwrap_err();
    assert!(matches!(error, Error::Truncated), "{error}");
}

#[test]
fn strange_but_harmless_paths_stay_inside() {
    let place = Place::new();
    let archive = Raw::default()
        .file("/absolute", b"1")
        .file("/../above", b"2")
        .file(".//dots/./x", b"3")
        .file("gone/../stays", b"4")
        .link(b'2', "passwd", "../../../../etc/passwd")
        .link(b'1', "hard", "/absolute");
    place.unpack(&archive.end()).unwrap();
    for (name, content) in [
        ("absolute", b"1"),
        ("above", b"2"),
        ("dots/x", b"3"),
        ("stays", b"4"),
        ("hard", b"1"),
    ] {
        assert_eq!(fs_err::read(place.path(name)).unwrap(), content, "{name}");
    }
    let link = fs_err::read_link(place.path("passwd")).unwrap();
    assert_eq!(link, Path::new("../../../../etc/passwd"));
}

#[test]
fn links_are_followed_inside_the_layer() {
    let place = Place::new();
    let archive = Raw::default()
        .dir("d", 0o700)
        .link(b'2', "rel", "d")
        .link(b'2', "abs", "/d/./deep/../")
        .link(b'2', "chain", "rel/sub")
        .link(b'2', "away", "/etc")
        .file("rel/1", b"1")
        .file("abs/2", b"2")
        .file("chain/3", b"3")
        .file("away/hull-was-here", b"4")
        .dir("rel/listed", 0o711)
        .file("abs/.wh.gone", b"")
        .file("rel/listed/.wh..wh..opq", b"")
        .link(b'1', "rel/same", "abs/1")
        // The last entry about a directory counts, by whichever name.
        .dir("d/sub", 0o750)
        .dir("chain/", 0o711)
        .dir("abs/sub", 0o755);
    place.unpack(&archive.end()).unwrap();
    let read = |name: &str| fs_err::read(place.path(name)).unwrap();
    assert_eq!((read("d/1"), read("d/2")), (b"1".to_vec(), b"2".to_vec()));
    assert_eq!(read("etc/hull-was-here"), b"4");
    assert_eq!(fs_err::metadata(place.path("d/1")).unwrap().nlink(), 2);
    let stat = |name: &str| fs_err::symlink_metadata(place.path(name)).unwrap();
    assert!(stat("d/gone").file_type().is_char_device());
    assert_eq!(stat("d/listed").mode() & 0o7777, 0o711);
    assert_eq!(stat("d/sub").mode() & 0o7777, 0o755);
    assert!(stat("chain").is_dir(), "replaced by its own entry");
}

#[test]
fn following_links_has_an_end() {
    let mut raw = Raw::default();
    for number in 0..39 {
        let target = format!("{}{}l{}", "x/".repeat(800), "../".repeat(800), number + 1);
        let header = Raw::header(b'2', format!("l{number}").as_bytes(), 0);
        raw = raw
            .pax(&[("linkpath", target.as_bytes())])
            .push(header, b"");
    }
    raw = raw.link(b'2', "l39", "d");
    Place::new()
        .unpack(&Raw(raw.0.clone()).file("l0/1", b"").end())
        .unwrap();
    let raw = (1..5).fold(raw, |raw, number| raw.file(&format!("l0/{number}"), b""));
    let error = Place::new().unpack(&raw.end()).unwrap_err().to_string();
    assert!(error.contains("lead on too long ways"), "{error}");
}

#[test]
fn the_last_padding_may_be_missing() {
    let first = Raw::default().file("a", &[1; 700]);
    let whole = first.file("b", &[2; 300]).0;
    let end = whole.len() - 512 + 300;
    for length in [end, end + 100, whole.len(), whole.len() + 512] {
        let mut archive = whole.clone();
        archive.resize(length, 0);
        let place = Place::new();
        place.unpack(&archive).unwrap();
        assert_eq!(fs_err::read(place.path("b")).unwrap(), [2; 300]);
    }
    for length in [end - 1, whole.len() + 1, whole.len() + 700] {
        let mut archive = whole.clone();
        archive.resize(length, 0);
        let error = Place::new().unpack(&archive).unwrap_err();
        assert!(matches!(error, Error::Truncated), "{length}: {error}");
    }
    let sparse = [
        ("GNU.sparse.size", b"900".as_slice()),
        ("GNU.sparse.map", b"10,700"),
    ];
    let mut archive = Raw::default().pax(&sparse).file("s", &[1; 700]).0;
    archive.truncate(archive.len() - 1024 + 700);
    let error = Place::new().unpack(&archive).unwrap_err();
    assert!(matches!(error, Error::Truncated), "sparse: {error}");
}

#[test]
fn targets_of_links_may_be_too_long() {
    let long = "n".repeat(300);
    for target in [format!("{long}/a"), format!("d/{long}")] {
        let header = Raw::header(b'1', b"link", 0);
        let archive = Raw::default().dir("d", 0o755);
        let archive = archive.pax(&[("linkpath", target.as_bytes())]);
        let archive = archive.push(header, b"").end();
        let root = Place::new();
        let unpacked = unpack(&mut &archive[..], &root.root()).unwrap_err();
        let indexed = crate::erofs::tests::Indexed::new(&archive).err().unwrap();
        assert_eq!(unpacked.to_string(), indexed.to_string());
    }
}

/// Attributes of every length end anywhere in a slot of the index, and what follows them takes nearly
/// a block.
#[test]
fn what_follows_attributes_has_room() {
    let mut raw = Raw::default();
    for (value, tail) in (0..8).flat_map(|n| (479..=514).map(move |tail| (1 + 4 * n, tail))) {
        let value = vec![b'v'; value];
        let attribute = ("SCHILY.xattr.trusted.a", value.as_slice());
        let name = format!("{}-{tail}", value.len());
        // Two own names and two others: 4 entries of 12 bytes.
        let directory = Raw::header(b'5', name.as_bytes(), 0);
        raw = raw.pax(&[attribute]).push(directory, b"");
        for length in [220, tail - 48 - 3 - 220] {
            let child = format!("{name}/{}", "n".repeat(length));
            let header = Raw::header(b'0', b"", 0);
            raw = raw.pax(&[("path", child.as_bytes())]).push(header, b"");
        }
        for size in [tail, tail + 512] {
            let target = "t".repeat(size);
            let header = Raw::header(b'2', format!("s{name}-{size}").as_bytes(), 0);
            let records = [attribute, ("linkpath", target.as_bytes())];
            raw = raw.pax(&records).push(header, b"");
        }
    }
    Place::new().unpack(&raw.end()).unwrap();
}

/// An ACL's value of entries of tag, permissions and id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

const NO_ID: u32 = u32::MAX;
const PLAIN: [(u16, u16, u32); 3] = [(1, 6, NO_ID), (4, 4, NO_ID), (0x20, 4, NO_ID)];
const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

fn with_attribute(attribute: &str, value: &[u8]) -> Raw {
    Raw::default().pax(&[(&format!("SCHILY.xattr.{attribute}"), value)])
}

#[test]
fn wrong_attributes_are_refused() {
    let unmasked = acl(&[PLAIN[0], (2, 7, 1000), PLAIN[1], PLAIN[2]]);
    let pax = with_attribute;
    for (what, archive) in [
        ("no name", pax("user.", b"1").file("x", b"")),
        (
            "an ACL without a mask",
            pax(ACCESS, &unmasked).file("x", b""),
        ),
        ("half an ACL", pax(ACCESS, &acl(&PLAIN)[..9]).file("x", b"")),
        (
            "a default ACL of a file",
            pax(DEFAULT, &acl(&PLAIN)).file("x", b""),
        ),
        (
            "capabilities",
            pax("security.capability", b"junk").file("x", b""),
        ),
        (
            "a long value",
            pax("user.a", &vec![b'x'; 70_000]).file("x", b""),
        ),
        (
            "a long name",
            pax(&format!("user.{}", "x".repeat(255)), b"1").file("x", b""),
        ),
    ] {
        let error = Place::new().unpack(&archive.end()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("set extended attribute"), "{what}: {text}");
    }
}

#[test]
fn odd_attributes_are_left_out() {
    let named = acl(&[PLAIN[0], (2, 7, 1000), PLAIN[1], (0x10, 7, NO_ID), PLAIN[2]]);
    let pax = with_attribute;
    for (attribute, value, kept) in [
        (ACCESS, named.as_slice(), true),
        (ACCESS, &acl(&PLAIN), false),
        (ACCESS, b"junk", false),
        (ACCESS, &acl(&[]), false),
        ("system.nfs4_acl", b"1", false),
        ("user.empty", b"", true),
        ("user.long", &[7; 3000], true),
    ] {
        let place = Place::new();
        let archive = pax(attribute, value).file("x", b"");
        place.unpack(&archive.end()).unwrap();
        let found = xattrs(&place.path("x"));
        assert_eq!(
            found.contains_key(attribute.as_bytes()),
            kept,
            "{attribute}"
        );
    }
    let place = Place::new();
    let link = pax("user.a", b"1").link(b'2', "x", "y");
    let default = link.pax(&[("SCHILY.xattr.system.posix_acl_default", &named)]);
    place.unpack(&default.dir("d", 0o755).end()).unwrap();
    assert!(xattrs(&place.path("x")).is_empty());
    assert_eq!(xattrs(&place.path("d")).len(), 1);
}

#[test]
fn whiteouts_become_overlayfss() {
    let place = Place::new();
    let archive = Raw::default()
        .file("d/.wh.hidden", b"")
        .file("o/.wh..wh..opq", b"")
        .file(".wh..wh.plnk/1.2", b"")
        .file(".wh..wh.aufs", b"")
        // Replaced in the same layer: nothing of the lower layers' directory may show.
        .file(".wh.new", b"")
        .dir("new", 0o700)
        .file(".wh.implied", b"")
        .file("implied/x", b"1")
        .dir("old", 0o755)
        .file(".wh.old", b"")
        .file("kept", b"1")
        .file(".wh.kept", b"");
    place.unpack(&archive.end()).unwrap();
    let hidden = fs_err::symlink_metadata(place.path("d/hidden")).unwrap();
    assert!(hidden.file_type().is_char_device() && hidden.rdev() == 0);
    let opaque = |name: &str| {
        let dir = fs_err::File::open(place.path(name)).unwrap();
        hull_linux::xattr::get(&dir, b"trusted.overlay.opaque").unwrap() == Some(b"y".to_vec())
    };
    for (name, expected) in [
        ("o", true),
        ("new", true),
        ("implied", true),
        ("old", true),
        ("d", false),
    ] {
        assert_eq!(opaque(name), expected, "{name}");
    }
    assert_eq!(fs_err::read(place.path("kept")).unwrap(), b"1");
    assert!(!place.path(".wh..wh.plnk").exists());
}

#[test]
fn the_last_of_several_entries_counts() {
    let place = Place::new();
    let archive = Raw::default()
        .file("a", b"first")
        .link(b'1', "same", "a")
        .file("a", b"second")
        .dir("d", 0o700)
        .file("d/below/deep", b"x")
        .dir("d/dir", 0o711)
        .file("d", b"now a file")
        .file("f", b"1")
        .dir("f", 0o711)
        .file("f/x", b"2")
        .link(b'2', "l", "f")
        .dir("l", 0o755)
        .file("l/y", b"3")
        .dir("twice", 0o700)
        .file("twice/kept", b"")
        .dir("twice", 0o711);
    let summary = place.unpack(&archive.end()).unwrap();
    let read = |name: &str| fs_err::read(place.path(name)).unwrap();
    assert_eq!(
        (read("a"), read("same")),
        (b"second".to_vec(), b"first".to_vec())
    );
    assert_eq!(read("d"), b"now a file");
    assert_eq!((read("f/x"), read("l/y")), (b"2".to_vec(), b"3".to_vec()));
    assert!(place.path("twice/kept").exists());
    assert_eq!(
        fs_err::metadata(place.path("twice")).unwrap().mode() & 0o7777,
        0o711
    );
    assert_eq!(summary.size, 6 + 5 + 10 + 1 + 1);
}

#[test]
fn attributes_are_those_of_the_archive() {
    let place = Place::new();
    let mut device = Raw::header(b'3', b"dev/null", 0);
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    device.set_mode(0o666);
    let mut setuid = Raw::header(b'0', b"bin/su", 2);
    setuid.set_mode(0o6755);
    setuid.set_uid(7);
    setuid.set_gid(3_000_000);
    let capability =
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let archive = Raw::default()
        .dir("./", 0o1770)
        .dir("ro", 0o555)
        .push(device, b"")
        .link(b'6', "pipe", "")
        .push(setuid, b"su")
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/elsewhere"),
            ("uid", b"100000"),
            ("mtime", b"-1.5"),
        ])
        .file("bin/ping", b"p")
        .file("ro/x", b"")
        .pax(&[("mtime", b"1234.000000007")])
        .dir("ro", 0o555);
    let summary = place.unpack(&archive.end()).unwrap();
    assert_eq!(summary.root.map(|r| r.mode), Some(0o1770));
    let stat = |name: &str| fs_err::symlink_metadata(place.path(name)).unwrap();
    assert_eq!(stat("").mode() & 0o7777, 0o1770);
    assert_eq!(
        (stat("dev/null").rdev(), stat("dev/null").mode() & 0o7777),
        (0x103, 0o666)
    );
    assert!(stat("pipe").file_type().is_fifo());
    let su = stat("bin/su");
    assert_eq!(
        (su.mode() & 0o7777, su.uid(), su.gid()),
        (0o6755, 7, 3_000_000)
    );
    let ping = stat("bin/ping");
    assert_eq!(
        (ping.uid(), ping.mtime(), ping.mtime_nsec()),
        (100_000, -2, 500_000_000)
    );
    let file = fs_err::File::open(place.path("bin/ping")).unwrap();
    let get = |name: &[u8]| hull_linux::xattr::get(&file, name).unwrap();
    assert_eq!(get(b"security.capability"), Some(capability.to_vec()));
    assert_eq!(get(b"trusted.overlay.redirect"), None);
    assert_eq!((stat("ro").mtime(), stat("ro").mtime_nsec()), (1234, 7));
    assert_eq!(stat("bin").mode() & 0o7777, 0o755, "implied");
}

#[test]
fn names_are_bytes_and_may_be_long() {
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(250));
    let deep = vec!["e"; 300].join("/");
    let archive = Raw::default()
        .pax(&[("path", b"not-\xff-utf8\n")])
        .file("x", b"1")
        .pax(&[("path", long.as_bytes())])
        .file("x", b"2")
        .push(
            Raw::header(b'L', b"././@LongLink", deep.len() as u64 + 1),
            format!("{deep}\0").as_bytes(),
        )
        .file("x", b"3")
        .file("e/e/e/f", b"4");
    place.unpack(&archive.end()).unwrap();
    let odd = place
        .root()
        .join(std::ffi::OsStr::from_bytes(b"not-\xff-utf8\n"));
    assert_eq!(fs_err::read(odd).unwrap(), b"1");
    assert_eq!(fs_err::read(place.path(&long)).unwrap(), b"2");
    assert_eq!(fs_err::read(place.path(&deep)).unwrap(), b"3");
    assert_eq!(fs_err::read(place.path("e/e/e/f")).unwrap(), b"4");
}

#[test]
fn no_truncation_panics() {
    let archive = Raw::default()
        .pax(&[("path", b"long"), ("SCHILY.xattr.user.a", b"1")])
        .file("x", &[1; 600])
        .link(b'2', "l", "x")
        .end();
    for length in 0..archive.len() {
        let _ = Place::new().unpack(&archive[..length]);
    }
}

/// Layers that can be fetched in parts are ordinary ones with something more at their end: an index as
/// one more file (eStargz), or frames that decompressors skip (zstd:chunked).
#[test]
fn layers_made_for_fetching_parts_are_ordinary_ones() {
    for (name, files) in [
        ("estargz", 3),
        ("zstd_chunked", 2),
        ("gzip", 2),
        ("zstd", 2),
    ] {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
        let bytes = fs_err::read(seeds.join("compressed_layer").join(name)).unwrap();
        let mut archive = Vec::new();
        let mut decoder = crate::decompress::Decoder::new(bytes.as_slice()).unwrap();
        std::io::Read::read_to_end(&mut decoder, &mut archive).unwrap();
        let place = Place::new();
        place.unpack(&archive).unwrap();
        let passwd = fs_err::read(place.path("etc/passwd")).unwrap();
        assert_eq!(passwd, b"root:x:0:0\n", "{name}");
        assert_eq!(
            fs_err::read_dir(place.root()).unwrap().count(),
            files,
            "{name}"
        );
    }
}

/// A tree with one of everything, made in the directory `$1`.
const TREE: &str = r#"
        set -e
        cd "$1"
        mkdir -p a/b/c empty "with space"
        echo hello > a/file; ln a/file a/b/hard; ln -s ../file a/b/soft; ln -s /abs abs
        head -c 700000 /dev/zero | tr '\0' x > a/big
        truncate -s 5M holes; printf mid | dd of=holes bs=1 seek=2000000 conv=notrunc status=none
        printf end | dd of=holes bs=1 seek=5242877 conv=notrunc status=none
        i=0; truncate -s 1M many; while [ $i -lt 40 ]; do
          printf x | dd of=many bs=1 seek=$((i * 24576)) conv=notrunc status=none; i=$((i+1)); done
        mkfifo pipe; mknod null c 1 3; chmod 4755 a/file; chmod 1777 empty; chmod 0500 a/b
        long=$(printf 'n%.0s' $(seq 1 180)); mkdir "$long"; echo x > "$long/$long"
        chown 1234:2345 a/big; chown -h 12:34 abs; touch -d '2001-02-03 04:05:06' a/b a/big
        setfattr -n user.test -v value a/big 2>/dev/null || true
    "#;

/// Makes a tree, has GNU tar archive it in one format, and compares what comes out.
fn against_gnu_tar(formats: &[&str]) {
    let source = tempfile::tempdir().unwrap();
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        let output = std::process::Command::new(program)
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    fn os<T: AsRef<std::ffi::OsStr> + ?Sized>(text: &T) -> &std::ffi::OsStr {
        text.as_ref()
    }
    run(
        "sh",
        &[os("-c"), os(TREE), os("sh"), source.path().as_os_str()],
    );
    let mut arguments = vec![os("--sparse")];
    arguments.extend(formats.iter().map(os));
    arguments.extend([
        os("-C"),
        source.path().as_os_str(),
        os("-cf"),
        os("-"),
        os("."),
    ]);
    let archive = run("tar", &arguments);
    let gnu = tempfile::tempdir().unwrap();
    let file = gnu.path().join("archive");
    fs_err::write(&file, &archive).unwrap();
    let theirs = gnu.path().join("tree");
    fs_err::create_dir(&theirs).unwrap();
    run(
        "tar",
        &[
            os("-C"),
            theirs.as_os_str(),
            os("--xattrs"),
            os("-xpf"),
            file.as_os_str(),
        ],
    );
    let place = Place::new();
    place.unpack(&archive).unwrap();
    let listed = listing(&place.root());
    assert!(listed.len() > 15);
    assert_eq!(listed, listing(&theirs), "{formats:?}");
    let holes = fs_err::metadata(place.path("holes")).unwrap();
    assert!(holes.blocks() * 512 < holes.len() / 2, "holes stay holes");
}

#[test]
fn trees_are_as_gnu_tar_extracts_them() {
    for format in ["--format=gnu", "--format=posix"] {
        against_gnu_tar(&[format]);
    }
    for version in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={version}");
        against_gnu_tar(&["--format=posix", &version]);
    }
}

/// What can be said about one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    pub(crate) device: u64,
    pub(crate) links: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// All files of a tree by path.
pub(crate) fn listing(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs_err::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_file() {
            fs_err::read(&path).unwrap()
        } else if kind.is_symlink() {
            fs_err::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_vec()
        } else {
            Vec::new()
        };
        if kind.is_dir() {
            pending.extend(fs_err::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        let seen = Seen {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            device: metadata.rdev(),
            links: if kind.is_dir() { 0 } else { metadata.nlink() },
            content,
            xattrs: xattrs(&path),
        };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), seen);
    }
    found
}

/// All attributes of what a path names, links not followed.
fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let (parent, name) = match path.file_name() {
        Some(name) if !path.as_os_str().as_bytes().ends_with(b"/.") => {
            (path.parent().unwrap(), name.as_bytes())
        }
        _ => (path, b".".as_slice()),
    };
    let parent = fs_err::File::open(parent).unwrap();
    let names = hull_linux::xattr::list_at(&parent, name).unwrap_or_default();
    let get = |attribute: &Vec<u8>| hull_linux::xattr::get_at(&parent, name, attribute).unwrap();
    let present = |attribute: Vec<u8>| get(&attribute).map(|value| (attribute, value));
    names.into_iter().filter_map(present).collect()
}

#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>, u32, u32),
    Link(Vec<u8>),
    Dir(u32, Vec<(Vec<u8>, Node)>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![Just(b'a'), Just(b'b'), Just(b'.'), Just(0xff), Just(b' ')],
        1..120,
    )
    .prop_filter("a name", |n| {
        n != b"." && n != b".." && !n.starts_with(b".wh.")
    })
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        (
            prop::collection::vec(any::<u8>(), 0..2000),
            0..0o10000u32,
            0..70_000u32
        )
            .prop_map(|(content, mode, uid)| Node::File(content, mode, uid)),
        name().prop_map(Node::Link),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        (0..0o10000u32, prop::collection::vec((name(), inner), 0..6))
            .prop_map(|(mode, children)| Node::Dir(mode, children))
    })
}

fn write(
    builder: &mut tar::Builder<Vec<u8>>,
    path: &Path,
    node: &Node,
    seen: &mut BTreeMap<PathBuf, Seen>,
) {
    let mut header = Header::new_gnu();
    header.set_mtime(1_600_000_000);
    header.set_size(0);
    let (kind, mode, uid, content) = match node {
        Node::File(content, mode, uid) => {
            header.set_mode(*mode);
            header.set_uid(u64::from(*uid));
            header.set_size(content.len() as u64);
            builder
                .append_data(&mut header, path, content.as_slice())
                .unwrap();
            (0o100_000, *mode, *uid, content.clone())
        }
        Node::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            builder
                .append_link(&mut header, path, std::ffi::OsStr::from_bytes(target))
                .unwrap();
            (0o120_000, 0o777, 0, target.clone())
        }
        Node::Dir(mode, children) => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            builder
                .append_data(&mut header, path, [].as_slice())
                .unwrap();
            let mut names = std::collections::BTreeSet::new();
            for (name, child) in children {
                if names.insert(name) {
                    write(
                        builder,
                        &path.join(std::ffi::OsStr::from_bytes(name)),
                        child,
                        seen,
                    );
                }
            }
            (0o040_000, *mode, 0, Vec::new())
        }
    };
    let links = u64::from(kind != 0o040_000);
    let entry = Seen {
        mode: kind | mode,
        owner: (uid, 0),
        mtime: (1_600_000_000, 0),
        device: 0,
        links,
        content,
        xattrs: BTreeMap::new(),
    };
    seen.insert(path.to_owned(), entry);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tree_comes_out_as_it_went_in(node in node()) {
        let mut builder = tar::Builder::new(Vec::new());
        let mut expected = BTreeMap::new();
        write(&mut builder, Path::new("top"), &node, &mut expected);
        let place = Place::new();
        place.unpack(&builder.into_inner().unwrap()).unwrap();
        let mut found = listing(&place.root());
        found.remove(Path::new(""));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn random_bytes_never_panic_nor_escape(
        pieces in prop::collection::vec((prop::sample::select(b"0123456gxLKSD\0".to_vec()), "[./a-c\\-]{0,20}", "[./a-c]{0,12}", prop::collection::vec(any::<u8>(), 0..600)), 0..12),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        fix in any::<bool>(),
    ) {
        let mut raw = Raw::default();
        for (kind, name, link, data) in pieces {
            let mut header = Raw::header(kind, name.as_bytes(), data.len() as u64);
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            raw = raw.push(header, &data);
        }
        let mut bytes = raw.0;
        for (index, byte) in noise {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = byte;
                // With a right checksum the damage reaches the parser.
                let start = at / 512 * 512;
                if fix && bytes.len() >= start + 512 {
                    let mut header = Header::new_old();
                    header.as_mut_bytes().copy_from_slice(&bytes[start..start + 512]);
                    header.set_cksum();
                    bytes[start..start + 512].copy_from_slice(header.as_bytes());
                }
            }
        }
        let _ = Place::new().unpack(&bytes);
    }

    /// What comes out is compared by `Place::unpack`: the directory and the mounted index.
    #[test]
    fn any_layer_means_the_same_in_both_formats(
        entries in prop::collection::vec(
            (
                prop::sample::select(b"00001122345556\0S".to_vec()),
                "(\\./|/)?(a|b|\\.wh\\.(a|b|\\.wh\\.\\.opq))(/(a|b|\\.\\.|\\.wh\\.(a|b|\\.wh\\.\\.opq))){0,3}/?",
                "(/|\\.\\./)?(a|b)(/(a|b|\\.\\.)){0,3}",
                0..1500usize,
                0..0o10000u32,
                prop::option::of(("(user|trusted|security|system)\\.[a-c]", "[a-z]{0,40}")),
            ),
            0..14,
        ),
    ) {
        let mut raw = Raw::default();
        for (kind, name, link, size, mode, xattr) in entries {
            if let Some((attribute, value)) = &xattr {
                raw = raw.pax(&[(&format!("SCHILY.xattr.{attribute}"), value.as_bytes())]);
            }
            let data = vec![b'd'; if matches!(kind, b'0' | 0) { size } else { 0 }];
            let mut header = Raw::header(kind, name.as_bytes(), data.len() as u64);
            header.set_mode(mode);
            if matches!(kind, b'1' | b'2') {
                header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            }
            raw = raw.push(header, &data);
        }
        let _ = Place::new().unpack(&raw.end());
    }

    #[test]
    fn any_sparse_file_is_the_same_in_both_formats(
        unit in prop::sample::select(vec![1, 7, 512, 4096]),
        parts in prop::collection::vec((0..300u64, 1..30u64), 0..20),
        rest in 0..100_000u64,
        old in any::<bool>(),
    ) {
        let mut map = Vec::new();
        let (mut at, mut data) = (0, Vec::new());
        for (number, (gap, length)) in (1..=255).zip(&parts) {
            at += gap * unit;
            map.push(format!("{at},{}", length * unit));
            data.resize(data.len() + usize::try_from(length * unit).unwrap(), number);
            at += length * unit;
        }
        let size = (at + rest).to_string();
        let size = size.as_bytes();
        let archive = if old {
            // Format 1.0: the map is text before the data.
            let mut text = format!("{}\n", map.len());
            for part in &map {
                text += &part.replace(',', "\n");
                text.push('\n');
            }
            let mut stored = text.into_bytes();
            stored.resize(stored.len().next_multiple_of(512), 0);
            stored.extend_from_slice(&data);
            let version = ("GNU.sparse.major", b"1".as_slice());
            let records = [version, ("GNU.sparse.name", b"s"), ("GNU.sparse.realsize", size)];
            Raw::default().pax(&records).file("x", &stored)
        } else {
            map.push(format!("{at},0"));
            let map = map.join(",");
            let records = [("GNU.sparse.size", size), ("GNU.sparse.map", map.as_bytes())];
            Raw::default().pax(&records).file("s", &data)
        };
        let place = Place::new();
        place.unpack(&archive.end()).unwrap();
        prop_assert_eq!(fs_err::metadata(place.path("s")).unwrap().len(), at + rest);
    }

    #[test]
    fn pax_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = pax::Pax::parse(&bytes);
        let _ = sparse::parse_map(&bytes);
    }
}
