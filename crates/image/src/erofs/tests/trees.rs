//! Arbitrary trees, archived by GNU tar: the mounted index is the tree, and what GNU tar and our
//! unpacker make of the archive.

use super::{Indexed, compare, fsck};
use crate::unpack::tests::{Seen, listing};
use crate::unpack::unpack;
use hull_linux::xattr;
use proptest::prelude::*;
use proptest::sample::Index;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Debug)]
enum What {
    File(usize, u64),
    /// Parts of a sparse file, by gap before and length, in units.
    Sparse(u64, Vec<(u64, u64)>),
    Symlink(Vec<u8>),
    Fifo,
    Device(FileType, u32, u32),
    Directory,
    /// One more name of an earlier file.
    Link(Index),
}

#[derive(Clone, Debug)]
struct Node {
    parent: Index,
    name: Vec<u8>,
    what: What,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

fn what() -> impl Strategy<Value = What> {
    let size = prop_oneof![Just(0), 1..600usize, 4090..4100usize, 0..100_000usize];
    let parts = prop::collection::vec((0..40u64, 1..20u64), 1..12);
    let unit = prop_oneof![Just(4096), Just(512), Just(65_536), Just(1000)];
    let target = prop_oneof![3 => 1..80usize, 1 => 1..1500usize]
        .prop_flat_map(|length| prop::collection::vec(1..=255u8, length));
    prop_oneof![
        4 => (size, any::<u64>()).prop_map(|(size, seed)| What::File(size, seed)),
        2 => (unit, parts).prop_map(|(unit, parts)| What::Sparse(unit, parts)),
        2 => target.prop_map(What::Symlink),
        1 => Just(What::Fifo),
        1 => (1..4096u32, 0..(1u32 << 20))
            .prop_map(|(major, minor)| What::Device(FileType::CharacterDevice, major, minor)),
        1 => (0..4096u32, 0..(1u32 << 20))
            .prop_map(|(major, minor)| What::Device(FileType::BlockDevice, major, minor)),
        5 => Just(What::Directory),
        2 => any::<Index>().prop_map(What::Link),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = (1..=255u8).prop_filter("not a slash", |byte| *byte != b'/');
    let length = prop_oneof![6 => 1..20usize, 1 => 200..=255usize, 1 => Just(255)];
    length
        .prop_flat_map(move |length| prop::collection::vec(byte.clone(), length))
        .prop_filter("a name", |name| {
            !matches!(name.as_slice(), b"." | b"..") && !name.starts_with(b".wh.")
        })
}

fn attributes() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = prop_oneof![
        "user\\.[a-z]{1,200}",
        "trusted\\.[a-z]{1,30}",
        "security\\.[a-z]{1,10}x",
    ];
    let value = prop::collection::vec(any::<u8>(), 1..400);
    let other = (name, value).prop_map(|(name, value)| (name.into_bytes(), value));
    let capability = any::<[u8; 16]>().prop_map(|bits| {
        let value = [&[1, 0, 0, 2], bits.as_slice()].concat();
        (b"security.capability".to_vec(), value)
    });
    let one = prop_oneof![4 => other, 1 => capability];
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(one, 1..4)]
}

fn node() -> impl Strategy<Value = Node> {
    let id =
        || prop_oneof![3 => Just(0u32), 1 => Just(65_535), 1 => Just(65_536), 1 => 0..u32::MAX - 1];
    let seconds = prop_oneof![2 => Just(1_700_000_000i64), 1 => -1_000_000_000..4_000_000_000i64];
    let mtime = (seconds, prop_oneof![Just(0), 0..1_000_000_000u32]);
    (
        any::<Index>(),
        name(),
        what(),
        0..0o10000u32,
        (id(), id()),
        mtime,
        attributes(),
    )
        .prop_map(
            |(parent, name, what, mode, owner, mtime, attributes)| Node {
                parent,
                name,
                what,
                mode,
                owner,
                mtime,
                attributes,
            },
        )
}

fn make(path: &Path, what: &What, files: &[PathBuf]) {
    match what {
        What::File(size, seed) => {
            let mut state = *seed | 1;
            let bytes = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            });
            fs_err::write(path, bytes.take(*size).collect::<Vec<u8>>()).unwrap();
        }
        What::Sparse(unit, parts) => {
            let file = File::create(path).unwrap();
            let mut at = 0;
            for (number, (gap, length)) in (1..=255u8).zip(parts) {
                at += gap * unit;
                let data = vec![number; usize::try_from(length * unit).unwrap()];
                file.write_all_at(&data, at).unwrap();
                at += length * unit;
            }
            file.set_len(at + 12_345).unwrap();
        }
        What::Symlink(target) => {
            std::os::unix::fs::symlink(OsStr::from_bytes(target), path).unwrap();
        }
        What::Fifo => rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::empty(), 0).unwrap(),
        What::Device(kind, major, minor) => {
            let number = rustix::fs::makedev(*major, *minor);
            rustix::fs::mknodat(CWD, path, *kind, Mode::empty(), number).unwrap();
        }
        What::Directory => fs_err::create_dir(path).unwrap(),
        What::Link(of) => fs_err::hard_link(of.get(files), path).unwrap(),
    }
}

fn set_attributes(path: &Path, node: &Node) {
    let (uid, gid) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let plain = matches!(
        node.what,
        What::File(..) | What::Sparse(..) | What::Directory
    );
    let parent = fs_err::File::open(path.parent().unwrap()).unwrap();
    for (name, value) in &node.attributes {
        if plain || !name.starts_with(b"user.") {
            let at = path.file_name().unwrap().as_bytes();
            xattr::set_at(&parent, at, name, value).unwrap();
        }
    }
    if !matches!(node.what, What::Symlink(_)) {
        let mode = Mode::from_raw_mode(node.mode);
        rustix::fs::chmodat(CWD, path, mode, AtFlags::empty()).unwrap();
    }
    set_time(path, node);
}

fn set_time(path: &Path, node: &Node) {
    let time = Timespec {
        tv_sec: node.mtime.0,
        tv_nsec: node.mtime.1.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn grow(root: &Path, nodes: &[Node]) {
    let mut directories = vec![root.to_owned()];
    let mut files = Vec::new();
    let mut times = Vec::new();
    for node in nodes {
        let path = node
            .parent
            .get(&directories)
            .join(OsStr::from_bytes(&node.name));
        let link = matches!(node.what, What::Link(_));
        let long = path.as_os_str().len() > 3000;
        if long || link && files.is_empty() || path.symlink_metadata().is_ok() {
            continue;
        }
        make(&path, &node.what, &files);
        if !link {
            set_attributes(&path, node);
        }
        if matches!(node.what, What::Directory) {
            directories.push(path.clone());
            times.push((path, node));
        } else if !matches!(node.what, What::Fifo | What::Device(..)) {
            // GNU tar keeps apart what are two names of one device.
            files.push(path);
        }
    }
    // What was put into them changed the directories' times.
    for (path, node) in times {
        set_time(&path, node);
    }
}

fn tar(arguments: &[&OsStr]) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.env("LC_ALL", "C").args(["--sparse", "-P"]);
    if !arguments.contains(&OsStr::new("--format=gnu")) {
        command.args(["--xattrs", "--xattrs-include=*"]);
    }
    let output = command.args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output.stdout
}

/// What GNU's own format does not have.
fn without_extensions(mut tree: BTreeMap<PathBuf, Seen>) -> BTreeMap<PathBuf, Seen> {
    for seen in tree.values_mut() {
        seen.mtime.1 = 0;
        seen.xattrs.clear();
    }
    tree
}

fn check(nodes: &[Node], format: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let [tree, theirs, ours] = ["tree", "theirs", "ours"].map(|name| dir.path().join(name));
    for path in [&tree, &theirs, &ours] {
        fs_err::create_dir(path).unwrap();
    }
    grow(&tree, nodes);
    let mut arguments: Vec<&OsStr> = format.iter().map(OsStr::new).collect();
    arguments.extend([
        OsStr::new("-C"),
        tree.as_os_str(),
        OsStr::new("-cf"),
        OsStr::new("-"),
        OsStr::new("."),
    ]);
    let archive = tar(&arguments);
    let file = dir.path().join("archive");
    fs_err::write(&file, &archive).unwrap();
    tar(&[
        OsStr::new("-C"),
        theirs.as_os_str(),
        OsStr::new("-xpf"),
        file.as_os_str(),
    ]);
    let summary = unpack(&mut &archive[..], &ours).unwrap();
    let indexed = Indexed::new(&archive).unwrap();
    fsck(&indexed);
    assert_eq!(indexed.summary, summary);
    let extended = format.contains(&"--format=posix");
    let kept = |root: &Path| {
        let tree = listing(root);
        if extended {
            tree
        } else {
            without_extensions(tree)
        }
    };
    let expected = kept(&tree);
    compare(&kept(&theirs), &expected);
    compare(&kept(&ours), &expected);
    if let Some(mounted) = indexed.mount() {
        compare(&kept(&mounted.root()), &expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn any_tree_is_what_it_was(
        nodes in prop::collection::vec(node(), 0..40),
        format in prop::sample::select(vec![
            ["--format=gnu", "--sparse"],
            ["--format=posix", "--sparse-version=0.0"],
            ["--format=posix", "--sparse-version=0.1"],
            ["--format=posix", "--sparse-version=1.0"],
        ]),
    ) {
        check(&nodes, &format);
    }
}
