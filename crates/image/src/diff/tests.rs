use super::*;
use crate::unpack::unpack;
use proptest::prelude::*;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

/// A lower and an upper directory, and the two mounted while there is something to be done.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["lower", "upper", "work", "merged", "applied"] {
            fs_err::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Does something in the merged tree; `false` where mounting is not allowed.
    fn change(&self, change: impl FnOnce(&Path)) -> bool {
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off",
            self.path("lower").display(),
            self.path("upper").display(),
            self.path("work").display()
        );
        let options = CString::new(options).unwrap();
        let merged = self.path("merged");
        if let Err(error) = mount(
            "overlay",
            &merged,
            "overlay",
            MountFlags::empty(),
            Some(options.as_c_str()),
        ) {
            println!("skipped: cannot mount an overlay here: {error}");
            return false;
        }
        change(&merged);
        unmount(&merged, UnmountFlags::empty()).unwrap();
        true
    }

    fn layer(&self) -> Vec<u8> {
        self.layer_of("upper")
    }

    fn layer_of(&self, directory: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let lower = open(&self.path("lower"));
        layer(
            open(&self.path(directory)).as_fd(),
            Some(lower.as_fd()),
            &mut out,
        )
        .unwrap();
        out
    }

    fn changes(&self) -> Vec<String> {
        let lower = open(&self.path("lower"));
        let all = changes(open(&self.path("upper")).as_fd(), Some(lower.as_fd())).unwrap();
        all.iter()
            .map(|change| {
                let kind = match change.kind {
                    ChangeKind::Modified => "C",
                    ChangeKind::Added => "A",
                    ChangeKind::Deleted => "D",
                };
                format!("{kind} {}", String::from_utf8_lossy(&change.path))
            })
            .collect()
    }
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    archive
        .entries()
        .unwrap()
        .map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned())
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story")]
fn what_a_container_did_becomes_a_layer_and_a_list() {
    let place = Place::new();
    let lower = place.path("lower");
    for directory in ["bin", "dir/sub", "gone", "same", "etc"] {
        fs_err::create_dir_all(lower.join(directory)).unwrap();
    }
    for file in ["bin/a", "bin/b", "dir/sub/f", "gone/x", "same/f", "kind"] {
        fs_err::write(lower.join(file), file).unwrap();
    }
    let done = place.change(|root| {
        fs_err::write(root.join("new"), b"1").unwrap();
        fs_err::remove_file(root.join("bin/a")).unwrap();
        fs_err::write(root.join("bin/b"), b"longer than before").unwrap();
        fs_err::remove_dir_all(root.join("dir/sub")).unwrap();
        fs_err::create_dir(root.join("dir/sub")).unwrap();
        fs_err::write(root.join("dir/sub/g"), b"2").unwrap();
        fs_err::remove_dir_all(root.join("gone")).unwrap();
        fs_err::write(root.join("same/tmp"), b"").unwrap();
        fs_err::remove_file(root.join("same/tmp")).unwrap();
        fs_err::remove_file(root.join("kind")).unwrap();
        fs_err::create_dir(root.join("kind")).unwrap();
        for stub in ["proc", "sys", "dev"] {
            fs_err::create_dir(root.join(stub)).unwrap();
        }
        for stub in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
            fs_err::write(root.join(stub), b"").unwrap();
        }
        std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    });
    if !done {
        return;
    }
    assert_eq!(
        place.changes(),
        [
            "C /bin",
            "C /bin/b",
            "D /bin/a",
            "C /dir",
            "C /dir/sub",
            "A /dir/sub/g",
            "D /dir/sub/f",
            "C /kind",
            "A /new",
            "A /socket",
            "D /gone",
        ]
    );
    assert_eq!(
        names(&place.layer()),
        [
            "bin/",
            "bin/.wh.a",
            "bin/b",
            "dir/",
            "dir/sub/",
            "dir/sub/.wh..wh..opq",
            "dir/sub/g",
            ".wh.gone",
            "kind/",
            "kind/.wh..wh..opq",
            "new",
            "same/",
        ]
    );
}

#[test]
fn untouched_containers_have_no_changes() {
    let place = Place::new();
    assert_eq!(place.changes(), Vec::<String>::new());
    // dockerd knows this one as the empty layer.
    assert_eq!(place.layer(), vec![0; 1024]);
}

#[test]
fn headers_are_those_of_go() {
    let place = Place::new();
    let upper = place.path("upper");
    let long = "n".repeat(200);
    fs_err::create_dir(upper.join("dir")).unwrap();
    fs_err::write(upper.join("dir").join(&long), b"").unwrap();
    fs_err::write(upper.join("ünï"), b"x").unwrap();
    let time = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: 1_795_286_619,
            tv_nsec: 5,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: 1_795_286_619,
            tv_nsec: 789_000_000,
        },
    };
    for path in [
        upper.join("dir").join(&long),
        upper.join("dir"),
        upper.join("ünï"),
    ] {
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        rustix::fs::utimensat(CWD, &path, &time, rustix::fs::AtFlags::empty()).unwrap();
    }
    let archive = place.layer();
    let field = |block: usize, range: std::ops::Range<usize>| {
        String::from_utf8_lossy(&archive[block * 512 + range.start..block * 512 + range.end])
            .into_owned()
    };
    assert_eq!(
        field(0, 100..148),
        "0000755\x000000000\x000000000\x0000000000000\x0015300363133\x00"
    );
    assert_eq!(field(0, 257..265), "ustar\x0000");
    assert_eq!(field(0, 329..345), "0000000\x000000000\x00");
    assert_eq!(
        field(1, 0..100),
        format!("dir/PaxHeaders.0/{}", "n".repeat(83))
    );
    assert_eq!(field(1, 156..157), "x");
    assert_eq!(field(1, 329..345), "\x00".repeat(16));
    assert!(field(2, 0..18).starts_with("214 path=dir/nnnnn"));
    assert_eq!(field(3, 0..100), format!("dir/{}", "n".repeat(96)));
    assert_eq!(names(&archive), ["dir/", &format!("dir/{long}"), "ünï"]);
}

#[test]
fn long_paths_are_split_where_ustar_can() {
    let header = |path: &str| writer::Header::new(writer::Type::File, path, 0o644, 0).to_bytes();
    let split = header(&format!("{}/{}", "d".repeat(90), "f".repeat(90)));
    assert_eq!(split.len(), 512);
    assert_eq!(&split[..90], "f".repeat(90).as_bytes());
    assert_eq!(&split[345..435], "d".repeat(90).as_bytes());
    assert_eq!(
        header(&format!("{}/{}", "d".repeat(90), "f".repeat(101))).len(),
        1536
    );
    assert_eq!(header(&"f".repeat(100)).len(), 512);
    let mut large = writer::Header::new(writer::Type::File, "f", 0o644, 1 << 33);
    assert_eq!(large.to_bytes().len(), 1536);
    (large.size, large.mtime) = (0, -1);
    assert_eq!(large.to_bytes().len(), 1536);
}

#[test]
fn references_into_lower_layers_are_refused() {
    let place = Place::new();
    let upper = place.path("upper");
    fs_err::create_dir(upper.join("renamed")).unwrap();
    let set =
        hull_linux::xattr::set_at(open(&upper), b"renamed", b"trusted.overlay.redirect", b"x");
    if let Err(error) = set {
        println!("skipped: trusted attributes: {error}");
        return;
    }
    let result = layer(open(&upper).as_fd(), None, &mut Vec::new());
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with("\"renamed\": overlayfs renamed"), "{text}");
}

#[test]
fn deep_trees_end_with_an_error() {
    let place = Place::new();
    let mut here = open(&place.path("upper"));
    let name = "d".repeat(200);
    for _ in 0..30 {
        rustix::fs::mkdirat(&here, &name, Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let error = layer(open(&place.path("upper")).as_fd(), None, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::TooDeep { .. }), "{error}");
    let mut dir = place.dir.path().to_owned();
    dir.push("upper");
    // Too deep for path-based removal as well.
    fs_err::remove_dir_all(dir).unwrap();
}

#[test]
fn whole_trees_are_exported_with_their_links() {
    let place = Place::new();
    let root = place.path("lower");
    fs_err::create_dir(root.join("d")).unwrap();
    fs_err::write(root.join("d/a"), b"data").unwrap();
    fs_err::hard_link(root.join("d/a"), root.join("z")).unwrap();
    symlink("d/a", root.join("s")).unwrap();
    let mut out = Vec::new();
    tree(open(&root).as_fd(), Times::Own, &mut out).unwrap();
    assert_eq!(names(&out), ["d/", "d/a", "s", "z"]);
    let mut archive = tar::Archive::new(out.as_slice());
    let last = archive.entries().unwrap().last().unwrap().unwrap();
    assert!(last.header().entry_type().is_hard_link());
    assert_eq!(last.link_name_bytes().unwrap().as_ref(), b"d/a");
}

#[test]
fn attributes_that_pax_cannot_name_are_left_out() {
    let place = Place::new();
    let root = place.path("lower");
    let file = fs_err::File::create(root.join("a")).unwrap();
    for name in ["trusted.a=b", "trusted.c"] {
        if let Err(error) = hull_linux::xattr::set(&file, name.as_bytes(), b"value") {
            println!("skipped: cannot set attributes here: {error}");
            return;
        }
    }
    let mut out = Vec::new();
    tree(open(&root).as_fd(), Times::Own, &mut out).unwrap();
    let mut archive = tar::Archive::new(out.as_slice());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let records = entry.pax_extensions().unwrap().unwrap();
    let records: Vec<String> = records
        .map(|r| r.unwrap().key().unwrap().to_owned())
        .collect();
    assert_eq!(records, ["SCHILY.xattr.trusted.c"]);
}

/// One thing done to a tree.
#[derive(Clone, Debug)]
enum Deed {
    File(usize, usize, u16),
    Directory(usize, u16),
    Symlink(usize),
    Fifo(usize),
    Device(usize),
    Link(usize, usize),
    Remove(usize),
    Mode(usize, u16),
    Owner(usize, u32),
    Time(usize, i32, u32),
    Attribute(usize, u8),
}

/// Names that meet often, some that need care.
const NAMES: [&str; 10] = [
    "a", "b", "a/x", "a/y", "a/x/deep", "b/ü", "b/c d", "b/-", "c", "a/y/z",
];

fn long(index: usize) -> String {
    match index {
        10 => format!("a/{}", "l".repeat(150)),
        11 => format!("{}/{}", "p".repeat(120), "q".repeat(90)),
        _ => NAMES[index].to_owned(),
    }
}

fn deeds(count: usize) -> impl Strategy<Value = Vec<Deed>> {
    let at = || 0..12_usize;
    let deed = prop_oneof![
        (at(), 0..2000_usize, 0..0o7777_u16).prop_map(|(a, b, c)| Deed::File(a, b, c)),
        (at(), 0..0o7777_u16).prop_map(|(a, b)| Deed::Directory(a, b)),
        at().prop_map(Deed::Symlink),
        at().prop_map(Deed::Fifo),
        at().prop_map(Deed::Device),
        (at(), at()).prop_map(|(a, b)| Deed::Link(a, b)),
        at().prop_map(Deed::Remove),
        (at(), 0..0o7777_u16).prop_map(|(a, b)| Deed::Mode(a, b)),
        (at(), 0..3_000_000_u32).prop_map(|(a, b)| Deed::Owner(a, b)),
        (at(), any::<i32>(), 0..1_000_000_000_u32).prop_map(|(a, b, c)| Deed::Time(a, b, c)),
        (at(), any::<u8>()).prop_map(|(a, b)| Deed::Attribute(a, b)),
    ];
    proptest::collection::vec(deed, 0..count)
}

/// Does it if it can be done; what cannot is as good a case as any.
#[expect(clippy::too_many_lines, reason = "a table")]
fn act(root: &Path, deed: &Deed) {
    let path = |index: usize| {
        let path = root.join(long(index));
        let _ = path.parent().map(fs_err::create_dir_all);
        path
    };
    let mode = |mode: u16| Mode::from_raw_mode(mode.into());
    match deed {
        Deed::File(at, size, bits) => {
            let path = path(*at);
            if fs_err::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
                return;
            }
            if fs_err::write(&path, vec![7; *size]).is_ok() {
                let _ = fs_err::set_permissions(&path, PermissionsExt::from_mode((*bits).into()));
            }
        }
        Deed::Directory(at, bits) => {
            let path = path(*at);
            if fs_err::create_dir(&path).is_ok() {
                let _ = fs_err::set_permissions(&path, PermissionsExt::from_mode((*bits).into()));
            }
        }
        Deed::Symlink(at) => {
            let _ = symlink("t/".repeat(*at * 6 + 1), path(*at));
        }
        Deed::Fifo(at) => {
            let _ = rustix::fs::mknodat(CWD, path(*at), FileType::Fifo, mode(0o600), 0);
        }
        Deed::Device(at) => {
            let device = rustix::fs::makedev(300, 70_000);
            let _ = rustix::fs::mknodat(
                CWD,
                path(*at),
                FileType::CharacterDevice,
                mode(0o600),
                device,
            );
        }
        Deed::Link(from, to) => {
            let _ = fs_err::hard_link(path(*from), path(*to));
        }
        Deed::Remove(at) => {
            let path = path(*at);
            let _ = fs_err::remove_file(&path).or_else(|_| fs_err::remove_dir_all(&path));
        }
        Deed::Mode(at, bits) => {
            let path = path(*at);
            if fs_err::symlink_metadata(&path).is_ok_and(|found| !found.is_symlink()) {
                let _ = fs_err::set_permissions(&path, PermissionsExt::from_mode((*bits).into()));
            }
        }
        Deed::Owner(at, owner) => {
            let _ = std::os::unix::fs::lchown(path(*at), Some(*owner), Some(owner / 2));
        }
        Deed::Time(at, seconds, nanoseconds) => {
            let time = rustix::fs::Timespec {
                tv_sec: (*seconds).into(),
                tv_nsec: (*nanoseconds).into(),
            };
            let times = rustix::fs::Timestamps {
                last_access: time,
                last_modification: time,
            };
            let _ = rustix::fs::utimensat(
                CWD,
                path(*at),
                &times,
                rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
            );
        }
        Deed::Attribute(at, value) => {
            let path = path(*at);
            let Some((parent, name)) = path.parent().zip(path.file_name()) else {
                return;
            };
            let Ok(parent) = rustix::fs::open(parent, OFlags::DIRECTORY, Mode::empty()) else {
                return;
            };
            let value = vec![*value; usize::from(*value)];
            let _ = hull_linux::xattr::set_at(parent, name.as_bytes(), b"user.hull", &value);
        }
    }
}

/// Everything about every file below a directory that a layer keeps.
fn everything(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut links: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let mut entries: Vec<PathBuf> = fs_err::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        for path in entries {
            let metadata = fs_err::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_owned();
            let parent = open(path.parent().unwrap());
            let leaf = path.file_name().unwrap().as_bytes();
            let attributes: Vec<_> = hull_linux::xattr::list_at(&parent, leaf)
                .unwrap_or_default()
                .into_iter()
                .map(|key| {
                    let value = hull_linux::xattr::get_at(&parent, leaf, &key).unwrap();
                    (String::from_utf8(key).unwrap(), value)
                })
                .filter(|(key, _)| key == "trusted.overlay.opaque" || !key.starts_with("trusted."))
                .collect();
            let content = if metadata.is_file() {
                fs_err::read(&path).unwrap().len()
            } else {
                0
            };
            let target = fs_err::read_link(&path).ok();
            let whiteout = metadata.mode() & 0o170_000 == 0o020_000 && metadata.rdev() == 0;
            let mode = if whiteout { 0 } else { metadata.mode() };
            let time = if whiteout { 0 } else { metadata.mtime() };
            // overlayfs may make all whiteouts of one file.
            let first = if whiteout {
                name.clone()
            } else {
                let first = links.entry(metadata.ino());
                first.or_insert_with(|| name.clone()).clone()
            };
            found.insert(
                name,
                format!(
                    "{mode:o} {} {} {time} {} {content} {target:?} {attributes:?} {first:?}",
                    metadata.uid(),
                    metadata.gid(),
                    metadata.rdev(),
                ),
            );
            if metadata.is_dir() {
                pending.push(path);
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_layer_that_is_applied_is_the_upper_directory_again(before in deeds(14), after in deeds(25)) {
        let place = Place::new();
        for deed in &before {
            act(&place.path("lower"), deed);
        }
        if place.change(|root| after.iter().for_each(|deed| act(root, deed))) {
            let archive = place.layer();
            unpack(&mut archive.as_slice(), &place.path("applied")).unwrap();
            prop_assert_eq!(everything(&place.path("upper")), everything(&place.path("applied")));
            prop_assert_eq!(place.layer_of("applied"), archive);
        }
    }
}
