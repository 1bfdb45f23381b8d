use super::removal::chain_ids;
use super::*;
use crate::Snapshotter as _;
use crate::blob::digest_of;
use crate::ingest::tests::{archive, image, store};
use crate::snapshot::Overlay;

fn rows(removed: &[Removed]) -> Vec<String> {
    removed
        .iter()
        .map(|row| match row {
            Removed::Untagged(name) => format!("Untagged: {}", name.familiar()),
            Removed::Deleted(digest) => format!("Deleted: {}", digest.short()),
        })
        .collect()
}

fn user(image: &ImageId, running: bool) -> User {
    User {
        container: "0123456789abcdef".to_owned(),
        image: image.clone(),
        running,
    }
}

#[test]
fn names_are_found_as_docker_finds_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let digest = digest_of(b"index");
    let name = format!("debian@{digest}");
    let id = image(&store, &[archive(&[("a", b"1")])], &["debian:12", &name]);
    for text in [
        "debian:12",
        "docker.io/library/debian:12",
        &name,
        &format!("debian:12@{digest}"),
        id.as_str(),
        id.digest().hex(),
        id.short(),
        &id.as_str()[..12],
    ] {
        assert_eq!(store.resolve(text).unwrap(), id, "{text}");
    }
    for (text, error) in [
        ("debian", "No such image: debian:latest"),
        ("team/none:1", "No such image: team/none:1"),
        (
            "Debian",
            "invalid reference format: repository name (library/Debian) must be lowercase",
        ),
    ] {
        assert_eq!(store.resolve(text).unwrap_err().to_string(), error);
    }
    let found = store.image(&id).unwrap();
    assert_eq!(found.tags, ["debian:12".parse().unwrap()]);
    assert_eq!(found.repo_digests, [name.parse().unwrap()]);
    assert_eq!((found.size, found.layer_sizes), (1, vec![1]));
    assert_eq!(store.summaries().len(), 1);
}

#[test]
fn the_last_name_takes_the_image_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let base = archive(&[("base", b"1")]);
    let top = archive(&[("top", b"2")]);
    let digest = digest_of(b"manifest");
    let one = image(
        &store,
        &[base.clone(), top.clone()],
        &["a:1", "b:1", &format!("a@{digest}")],
    );
    let two = image(&store, std::slice::from_ref(&base), &["c"]);

    let removed = store.remove("a:1", false, &[]).unwrap();
    assert_eq!(
        rows(&removed),
        ["Untagged: a:1".to_owned(), format!("Untagged: a@{digest}")]
    );
    let removed = store.remove("b:1", false, &[]).unwrap();
    let chain = chain_ids(&[digest_of(&base), digest_of(&top)]);
    assert_eq!(
        rows(&removed),
        [
            "Untagged: b:1".to_owned(),
            format!("Deleted: {}", one.short()),
            format!("Deleted: {}", chain[1].short()),
        ]
    );
    assert!(!store.layer_path(&digest_of(&top)).exists());
    assert!(store.layer_path(&digest_of(&base)).exists());
    assert!(!store.blob_path(one.digest()).exists());

    store.remove(two.short(), false, &[]).unwrap();
    assert!(!store.layer_path(&digest_of(&base)).exists());
    assert_eq!(
        store.remove("c", false, &[]).unwrap_err().to_string(),
        "No such image: c:latest"
    );
}

#[test]
fn conflicts_read_as_dockers() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let id = image(&store, &[archive(&[("a", b"1")])], &["a:1"]);
    let short = id.short();
    let error = |text: &str, force, running| {
        store
            .remove(text, force, &[user(&id, running)])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("a:1", false, false),
        format!(
            "conflict: unable to remove repository reference \"a:1\" (must force) - container 0123456789ab is using its referenced image {short}"
        )
    );
    assert_eq!(
        error(short, false, false),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"
        )
    );
    assert_eq!(
        error(short, true, true),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"
        )
    );
    store.tag(&"b:1".parse().unwrap(), &id).unwrap();
    assert_eq!(
        store.remove(short, false, &[]).unwrap_err().to_string(),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        )
    );
    // A failed removal changed nothing.
    assert_eq!(store.image(&id).unwrap().tags.len(), 2);
    assert_eq!(
        store
            .remove(short, true, &[user(&id, false)])
            .unwrap()
            .len(),
        4
    );
}

#[test]
fn a_snapshot_keeps_its_layers() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let tar = archive(&[("a", b"1")]);
    let id = image(&store, std::slice::from_ref(&tar), &["a"]);
    let snapshots = Overlay::new(store.clone());
    snapshots.prepare("c1", &[digest_of(&tar)]).unwrap();
    store.remove("a", true, &[user(&id, false)]).unwrap();
    assert!(store.layer_path(&digest_of(&tar)).exists());
    snapshots.remove("c1").unwrap();
    assert_eq!(store.prune_layers().unwrap(), 1);
    assert!(!store.layer_path(&digest_of(&tar)).exists());
}

#[test]
fn what_came_again_is_not_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let tar = archive(&[("a", b"1")]);
    let (blob, hold) = crate::ingest::tests::add(&store, &tar);
    let old = digest_of(b"another form of the layer");
    fs_err::write(store.blob_path(&old), "old").unwrap();
    // A removal that lost its way between its rows and its files, while a pull was faster.
    store.discard(Leftovers {
        blobs: vec![blob.digest.clone(), old.clone()],
        layers: vec![hold.diff_id().clone()],
    });
    assert!(store.layer_path(hold.diff_id()).exists());
    assert!(store.blob_path(&blob.digest).exists());
    assert!(!store.blob_path(&old).exists());
}

#[test]
fn an_image_of_which_a_container_is_made_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let tar = archive(&[("a", b"1")]);
    let id = image(&store, std::slice::from_ref(&tar), &["a:1"]);
    let pin = store.pin_image(&id).unwrap();
    for text in ["a:1", id.short()] {
        let error = store.remove(text, false, &[]).unwrap_err();
        assert!(matches!(error, Error::SoftConflict { .. }), "{error:?}");
    }
    assert!(store.remove_idle(&id).is_err());
    drop(pin);
    // Whoever reads it only keeps its layers.
    let held = store.hold_image(&id).unwrap();
    assert!(store.remove_idle(&id).is_err());
    store.remove("a:1", false, &[]).unwrap();
    assert!(store.layer_path(&digest_of(&tar)).exists());
    drop(held);
    assert!(store.pin_image(&id).is_err() && store.inner.holds().is_empty());
}

#[test]
fn opening_removes_what_no_row_owns() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let db = std::sync::Arc::new(crate::Database::open(root.join("hull.db")).unwrap());
    let store = Store::open(root, db.clone()).unwrap();
    let kept = archive(&[("a", b"1")]);
    let id = image(&store, std::slice::from_ref(&kept), &["a"]);
    let partial = digest_of(b"partial");
    for stray in [
        format!("layers/{}", partial.hex()),
        "snapshots/gone".to_owned(),
        format!("ingest/{}.tree-0", partial.hex()),
    ] {
        fs_err::create_dir_all(root.join(stray).join("below")).unwrap();
    }
    for file in [
        format!("blobs/sha256/{}", partial.hex()),
        format!("ingest/{}", partial.hex()),
        "ingest/document-1".to_owned(),
    ] {
        fs_err::write(root.join(file), b"x").unwrap();
    }
    drop(store);
    let store = Store::open(root, db).unwrap();
    let names = |dir: &str| fs_err::read_dir(root.join(dir)).unwrap().count();
    assert_eq!(names("layers"), 1);
    assert_eq!(names("snapshots"), 0);
    assert_eq!(names("blobs/sha256"), 3);
    assert_eq!(names("ingest"), 1, "what can be continued stays");
    assert_eq!(store.image(&id).unwrap().size, 1);
}

#[test]
fn a_lost_layer_can_be_pulled_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = std::sync::Arc::new(crate::Database::open(dir.path().join("hull.db")).unwrap());
    let store = Store::open(dir.path(), db.clone()).unwrap();
    let tar = archive(&[("a", b"1")]);
    image(&store, std::slice::from_ref(&tar), &["a"]);
    fs_err::remove_dir_all(store.layer_path(&digest_of(&tar))).unwrap();
    drop(store);
    let store = Store::open(dir.path(), db).unwrap();
    image(&store, std::slice::from_ref(&tar), &["a"]);
    assert!(store.layer_path(&digest_of(&tar)).join("a").exists());
}
