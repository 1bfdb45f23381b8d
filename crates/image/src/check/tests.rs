use super::*;
use crate::ImageId;
use crate::Snapshotter as _;
use crate::blob::digest_of;
use crate::format::Format;
use crate::ingest::tests::{archive, formats, image, options, store, store_with};
use crate::snapshot::Overlay;
use std::path::{Path, PathBuf};

/// All findings, as `problem object: repair`.
fn check(store: &Store, repair: bool) -> Vec<String> {
    let mut found = Vec::new();
    let options = CheckOptions {
        repair,
        young: true,
        users: &[],
        finished: "step-",
    };
    let checked = store.check(options, &mut |report| {
        if let Report::Found(finding) = report {
            let (problem, object) = (finding.problem.as_str(), finding.object);
            found.push(match &finding.repair {
                Repair::None => format!("{problem} {object}"),
                Repair::Done(what) => format!("{problem} {object}: {what}"),
                Repair::Not(why) => format!("{problem} {object}: not: {why}"),
            });
        }
        true
    });
    assert!(checked.unwrap().is_some());
    found
}

fn layers() -> [Vec<u8>; 2] {
    [
        archive(&[("a", b"one"), ("d/b", b"two"), ("a", b"again")]),
        archive(&[("c", &[7; 5000])]),
    ]
}

fn flip(path: &Path) {
    let mut bytes = fs_err::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(path, bytes).unwrap();
}

/// A store with one image, and its directory.
fn subject() -> (tempfile::TempDir, Store, ImageId) {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let id = image(&store, &layers(), &["x:1"]);
    (dir, store, id)
}

/// The parts of the layer `c` is in.
fn upper(store: &Store) -> (PathBuf, PathBuf) {
    let diff_id = digest_of(&layers()[1]);
    let blob = store.layer_blobs(&diff_id).unwrap().remove(0);
    (store.layer_path(&diff_id), store.blob_path(&blob.digest))
}

#[test]
fn a_whole_store_is_left_alone() {
    let (dir, store, _) = subject();
    let diff_ids = layers().map(|layer| digest_of(&layer));
    Overlay::new(store.clone()).prepare("c", &diff_ids).unwrap();
    fs_err::write(dir.path().join("ingest").join("0".repeat(64)), "part").unwrap();
    assert_eq!(check(&store, true), [""; 0]);
    let mut read = 0;
    let checked = store.check(CheckOptions::default(), &mut |report| {
        if let Report::Progress(done, total) = report {
            assert!(read <= done && done <= total);
            read = done;
        }
        true
    });
    let checked = checked.unwrap().unwrap();
    let (images, layers, snapshots) = (checked.images, checked.layers, checked.snapshots);
    assert_eq!((images, layers, snapshots), (1, 2, 1));
    assert!(checked.bytes == read && read > 10_000, "{checked:?}");
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    type Damage = fn(&Path, &Path);
    let damages: [(Damage, &str); 6] = [
        (|files, _| flip(&files.join("c")), "damaged layer"),
        (|_, blob| flip(blob), "damaged layer"),
        (
            |files, _| fs_err::remove_file(files.join("c")).unwrap(),
            "damaged layer",
        ),
        (
            |files, _| fs_err::write(files.join("new"), "x").unwrap(),
            "damaged layer",
        ),
        (
            |files, _| fs_err::remove_dir_all(files).unwrap(),
            "missing layer",
        ),
        (
            |_, blob| fs_err::remove_file(blob).unwrap(),
            "missing layer",
        ),
    ];
    for (number, (damage, expected)) in damages.into_iter().enumerate() {
        let (_dir, store, id) = subject();
        let (files, blob) = upper(&store);
        damage(&files, &blob);
        assert_eq!(check(&store, false), [expected], "{number}");
        assert_eq!(store.resolve("x:1").unwrap(), id, "nothing was done");
        let repaired = check(&store, true);
        let dropped = format!("{expected}: dropped; pull its images again");
        let untagged = "missing image: untagged; pull it again";
        assert_eq!(repaired, [dropped.as_str(), untagged], "{number}");
        assert!(store.resolve("x:1").is_err());
        assert_eq!(check(&store, false), [""; 0], "{number}");
        assert_eq!(image(&store, &layers(), &["x:1"]), id);
        assert_eq!(check(&store, false), [""; 0], "{number}");
    }
}

#[test]
fn archives_are_told_from_what_can_be_made_of_them() {
    if !formats().contains(&Format::Erofs) {
        println!("skipped: this kernel does not mount layers from files");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(dir.path(), options(dir.path(), Format::Erofs));
    let id = image(&store, &layers(), &["x:1"]);
    assert_eq!(check(&store, true), [""; 0]);
    let (files, blob) = upper(&store);
    let index = fs_err::read(files.join("erofs")).unwrap();
    flip(&files.join("erofs"));
    assert_eq!(check(&store, false), ["damaged layer"]);
    assert_eq!(check(&store, true), ["damaged layer: made anew"]);
    assert_eq!(fs_err::read(files.join("erofs")).unwrap(), index);
    fs_err::remove_file(files.join("erofs")).unwrap();
    assert_eq!(check(&store, true), ["missing layer: made anew"]);
    // A compressed form is dropped; the layer does not need it.
    flip(&blob);
    assert_eq!(check(&store, true), ["damaged blob: dropped"]);
    assert_eq!(check(&store, true), [""; 0]);
    assert!(!blob.exists() && store.has_whole(&id));
    flip(&files.join("tar"));
    let dropped = "damaged layer: dropped; pull its images again";
    let untagged = "missing image: untagged; pull it again";
    assert_eq!(check(&store, true), [dropped, untagged]);
    assert_eq!(check(&store, true), [""; 0]);
    assert!(!store.has_whole(&id));
}

#[test]
fn only_who_still_writes_needs_a_work_directory() {
    let (_dir, store, _) = subject();
    let snapshots = Overlay::new(store.clone());
    for key in ["step-1", "0123456789abcdef"] {
        snapshots.prepare(key, &[]).unwrap();
        fs_err::remove_dir_all(store.root().join("snapshots").join(key).join("work")).unwrap();
    }
    let found = check(&store, false);
    assert_eq!(found, ["missing snapshot"]);
}

#[test]
fn what_a_container_uses_stays() {
    let (_dir, store, _) = subject();
    let diff_ids = layers().map(|layer| digest_of(&layer));
    let snapshots = Overlay::new(store.clone());
    snapshots.prepare("0123456789abcdef", &diff_ids).unwrap();
    let (files, _) = upper(&store);
    flip(&files.join("c"));
    let expected = "damaged layer: not: container 0123456789ab uses it: remove it and check again";
    assert_eq!(check(&store, true), [expected]);
    assert!(files.join("c").exists());
    fs_err::remove_dir_all(store.root().join("snapshots/0123456789abcdef")).unwrap();
    let found = check(&store, true);
    assert!(found[1].starts_with("missing snapshot: not: "), "{found:?}");
    snapshots.remove("0123456789abcdef").unwrap();
    assert_eq!(check(&store, true).len(), 2);
    assert_eq!(check(&store, true), [""; 0]);
}

#[test]
fn documents_rows_and_strays_are_seen() {
    let (dir, store, id) = subject();
    flip(&store.blob_path(id.digest()));
    assert_eq!(check(&store, false), ["damaged document"]);
    let repaired = ["damaged document: discarded; pull its image again"];
    assert_eq!(check(&store, true), repaired);
    assert_eq!(check(&store, false), [""; 0]);
    assert_eq!(image(&store, &layers(), &["x:1"]), id);
    // A name whose image is not there.
    let rows = &store.inner.rows;
    rows.write(|change| change.delete_image(&id)).unwrap();
    let found = check(&store, false);
    assert!(found.contains(&"missing name".to_owned()), "{found:?}");
    assert!(check(&store, true).contains(&"missing name: untagged".to_owned()));
    for stray in [
        "layers/x",
        "blobs/sha256/y",
        "snapshots/z",
        "ingest/document-7",
    ] {
        fs_err::write(dir.path().join(stray), "").unwrap();
    }
    assert_eq!(check(&store, false), ["unowned file"; 4]);
    let young = CheckOptions {
        repair: true,
        ..CheckOptions::default()
    };
    let unseen = &mut |report| !matches!(report, Report::Found(_));
    assert!(
        store.check(young, unseen).unwrap().is_some(),
        "they are young"
    );
    assert_eq!(check(&store, true), ["unowned file: removed"; 4]);
    assert_eq!(check(&store, false), [""; 0]);
}

#[test]
fn it_ends_when_nobody_listens() {
    let (_dir, store, _) = subject();
    let mut reports = 0;
    let ended = store.check(CheckOptions::default(), &mut |_| {
        reports += 1;
        reports < 3
    });
    assert_eq!((ended.unwrap(), reports), (None, 3));
}

#[test]
fn what_comes_and_goes_meanwhile_is_no_finding() {
    let (_dir, store, _) = subject();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for round in 0_u32..30 {
                let layer = archive(&[("r", &round.to_le_bytes())]);
                image(&store, &[layers()[0].clone(), layer], &["busy:1"]);
                store.remove("busy:1", true, &[]).unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let mut found = Vec::new();
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let watch = &mut |report| {
                if let Report::Found(finding) = report {
                    found.push(finding);
                }
                true
            };
            store.check(CheckOptions::default(), watch).unwrap();
        }
        busy.join().unwrap();
        assert_eq!(found, []);
    });
}

#[test]
fn what_a_pull_made_good_meanwhile_is_kept() {
    let (_dir, store, id) = subject();
    let check = Check {
        store: &store,
        options: CheckOptions {
            repair: true,
            young: true,
            users: &[],
            finished: "",
        },
        tell: &mut |_| true,
        checked: Checked::default(),
        total: 0,
    };
    let mut finding = Finding::new(Problem::Damaged, "image", id.as_str(), "was damaged");
    check.repair_document(id.digest(), &mut finding);
    assert_eq!(store.resolve("x:1").unwrap(), id);
    assert!(store.has_whole(&id) && finding.removed.is_empty());
}
