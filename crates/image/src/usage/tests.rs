use super::*;
use crate::ingest::tests::{archive, image, store};
use std::process::Command;

/// What `du` says of some directories together.
fn du(root: &Path, dirs: &[&str]) -> u64 {
    let mut command = Command::new("du");
    command.args(["-s", "-c", "-x", "--block-size=1"]);
    let out = command.args(dirs).current_dir(root).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let text = String::from_utf8(out.stdout).unwrap();
    let total = text.lines().last().and_then(|line| line.split('\t').next());
    total.unwrap().parse().unwrap()
}

/// Waits until nothing is left in the trash.
fn settle(root: &Path) {
    while fs_err::read_dir(root.join("trash"))
        .unwrap()
        .next()
        .is_some()
    {
        std::thread::yield_now();
    }
}

#[test]
fn totals_are_those_of_du() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let big = vec![7; 300_000];
    let base = archive(&[("base", &big), ("small", b"1")]);
    let one = archive(&[("one", &big[..100_000])]);
    let two = archive(&[("d/two", &big[..50_000])]);
    let first = image(&store, &[base.clone(), one.clone()], &["a:1", "a:2"]);
    let second = image(&store, &[base, two], &["b:1"]);
    fs_err::write(dir.path().join("ingest").join("0".repeat(64)), &big).unwrap();
    settle(dir.path());
    let usage = store.disk_usage().unwrap();
    assert_eq!(usage.total, du(dir.path(), &["layers", "blobs", "ingest"]));
    assert_eq!(store.disk_usage().unwrap(), usage, "a second look agrees");
    let (one, two) = (usage.images[&first], usage.images[&second]);
    assert!(
        one.shared >= 300_000 && one.shared == two.shared,
        "{usage:?}"
    );
    let unique = |image: ImageUsage| image.size - image.shared;
    assert!(unique(one) > 100_000 && unique(two) > 50_000, "{usage:?}");
    // What a removal frees is what was unique.
    let before = store.files().unwrap();
    store.remove("b:1", false, &[]).unwrap();
    assert_eq!(store.freed_since(&before), unique(two));
    settle(dir.path());
    let after = store.disk_usage().unwrap();
    assert_eq!(after.images[&first].shared, 0);
    assert_eq!(after.total, du(dir.path(), &["layers", "blobs", "ingest"]));
}

#[test]
fn hard_links_count_once_and_holes_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs_err::write(&file, vec![1; 65536]).unwrap();
    fs_err::hard_link(&file, dir.path().join("link")).unwrap();
    let sparse = fs_err::File::create(dir.path().join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    assert_eq!(taken(dir.path()).unwrap(), du(dir.path(), &["."]));
    assert!(taken(dir.path()).unwrap() < 200_000);
    assert!(taken(&dir.path().join("none")).is_err());
}
