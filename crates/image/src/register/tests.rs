use super::*;
use crate::ingest::tests::{add, archive, descriptor, gzip, store};
use crate::remove::{Removed, User};
use crate::store::Options;
use hull_spec::image::media_type;
use serde_json::json;

/// An index of images, one a platform.
struct Built {
    index: Vec<u8>,
    images: Vec<One>,
}

struct One {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

fn build(text: &str, platforms: &[&str]) -> Built {
    let mut images = Vec::new();
    let mut entries = Vec::new();
    for name in platforms {
        let platform: Platform = name.parse().unwrap();
        let layer = archive(&[("f", format!("{text} {name}").as_bytes())]);
        let config = json!({
            "created": "2026-01-02T03:04:05Z",
            "architecture": &platform.architecture, "os": &platform.os,
            "config": {"Labels": {"of": name}},
            "rootfs": {"type": "layers", "diff_ids": [crate::blob::digest_of(&layer)]},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let manifest = json!({
            "schemaVersion": 2, "config": descriptor(&config), "layers": [descriptor(&gzip(&layer))],
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let mut entry = descriptor(&manifest);
        entry.media_type = media_type::OCI_MANIFEST.to_owned();
        entry.platform = Some(platform);
        entries.push(entry);
        images.push(One {
            manifest,
            config,
            layer,
        });
    }
    let index = json!({"schemaVersion": 2, "manifests": entries});
    Built {
        index: serde_json::to_vec(&index).unwrap(),
        images,
    }
}

impl Built {
    fn digest(&self) -> Digest {
        descriptor(&self.index).digest
    }

    /// Brings one of the images in, as a pull does.
    fn register(&self, store: &Store, number: usize, names: &[&str]) -> ImageId {
        let One {
            manifest,
            config,
            layer,
        } = &self.images[number];
        let known = store.inner.rows.layer(&crate::blob::digest_of(layer));
        let _hold = known.unwrap().is_none().then(|| add(store, layer));
        let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
        let registration = Registration {
            index: Some((&descriptor(&self.index), &self.index)),
            manifest: Some((&descriptor(manifest), manifest)),
            config,
            names: &names,
            ..Registration::default()
        };
        store.register(&registration).unwrap()
    }
}

/// A platform that is not this host's, and the host's.
fn platforms() -> [String; 2] {
    let mut host = Platform::host();
    host.variant = None;
    let host = host.to_string();
    let other = if host == "linux/arm64" {
        "linux/amd64"
    } else {
        "linux/arm64"
    };
    [other.to_owned(), host]
}

fn two(text: &str) -> Built {
    let names = platforms();
    build(text, &[&names[0], &names[1], "linux/s390x"])
}

fn blobs(store: &Store) -> usize {
    fs_err::read_dir(store.root().join("blobs/sha256"))
        .unwrap()
        .count()
}

fn untagged(removed: &[Removed]) -> Vec<String> {
    let name = |row: &Removed| match row {
        Removed::Untagged(name) => Some(name.familiar()),
        Removed::Deleted(_) => None,
    };
    removed.iter().filter_map(name).collect()
}

#[test]
fn platforms_of_a_tag_lie_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let built = two("a");
    let by_digest = format!("a@{}", built.digest());
    let other = built.register(&store, 0, &["a:1", &by_digest]);
    assert_eq!(
        store.resolve("a:1").unwrap(),
        other,
        "there is nothing better"
    );
    let host = built.register(&store, 1, &["a:1", &by_digest]);
    let again = built.register(&store, 0, &["a:1", &by_digest]);
    assert_eq!(again, other);
    assert_eq!(store.resolve("a:1").unwrap(), host);
    assert_eq!(store.resolve(&by_digest).unwrap(), host);

    let find = |platform: &str| store.resolve_for("a:1", Some(&platform.parse().unwrap()));
    assert_eq!(find(&platforms()[0]).unwrap(), other);
    assert_eq!(find(&platforms()[1]).unwrap(), host);
    let error = find("linux/riscv64").unwrap_err().to_string();
    let expected = format!(
        "image with reference a:1 was found but its platform ({}) does not match the specified platform (linux/riscv64)",
        platforms()[1]
    );
    assert_eq!(error, expected);

    let target = store.target(&"a:1".parse().unwrap()).unwrap().unwrap();
    assert_eq!(target.digest, built.digest());
    let listed = store.platforms(&target.digest).unwrap();
    let images: Vec<_> = listed.iter().map(|entry| entry.image.clone()).collect();
    assert_eq!(images, [Some(other.clone()), Some(host.clone()), None]);
    assert_eq!(
        listed[2].manifest.platform,
        Some("linux/s390x".parse().unwrap())
    );

    let summaries = store.summaries();
    let of = |id: &ImageId| summaries.iter().find(|s| s.id == *id).unwrap();
    assert!(of(&other).beside && !of(&host).beside);
    assert_eq!(of(&host).target.as_ref().unwrap().digest, built.digest());
    assert_eq!(of(&host).tags, ["a:1".parse().unwrap()]);
    assert_eq!(
        store.image(&other).unwrap().tags.len(),
        1,
        "it has the name too"
    );
}

#[test]
fn a_name_takes_all_its_platforms_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let built = two("a");
    let by_digest = format!("a@{}", built.digest());
    let other = built.register(&store, 0, &["a:1", &by_digest]);
    let host = built.register(&store, 1, &["a:1", &by_digest]);
    store.tag_as(&"b:1".parse().unwrap(), "a:1").unwrap();
    assert_eq!(blobs(&store), 7, "an index; two manifests, configs, layers");

    let user = |image: &ImageId| {
        [User {
            container: "0123456789abcdef".to_owned(),
            image: image.clone(),
            running: false,
        }]
    };
    let removed = store.remove("a:1", false, &user(&other)).unwrap();
    assert_eq!(untagged(&removed), ["a:1".to_owned(), by_digest]);
    let refused = store.remove("b:1", false, &user(&other)).unwrap_err();
    let text = format!(
        "container 0123456789ab is using its referenced image {}",
        other.short()
    );
    assert!(refused.to_string().ends_with(&text), "{refused}");
    let removed = store.remove("b:1", false, &[]).unwrap();
    for id in [&other, &host] {
        assert!(removed.contains(&Removed::Deleted(id.digest().clone())));
    }
    assert!(store.summaries().is_empty());
    assert_eq!(blobs(&store), 0);
}

#[test]
fn one_platform_goes_and_the_name_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let built = two("a");
    let names: &[&str] = &["a:1", &format!("a@{}", built.digest())];
    let other = built.register(&store, 0, names);
    let host = built.register(&store, 1, names);
    let removed = store
        .remove_platforms("a:1", &[Platform::host()], false, &[])
        .unwrap();
    assert_eq!(removed[0], Removed::Deleted(host.digest().clone()));
    assert_eq!(untagged(&removed), Vec::<String>::new());
    assert_eq!(store.resolve("a:1").unwrap(), other);
    let again = store.remove_platforms("a:1", &[Platform::host()], false, &[]);
    assert!(matches!(again, Err(Error::WrongPlatform { .. })));
    // By its id the one beside goes alone as well.
    let host = built.register(&store, 1, names);
    store.remove(other.short(), false, &[]).unwrap();
    assert_eq!(store.resolve("a:1").unwrap(), host);
    let last = [Platform::host()];
    let removed = store.remove_platforms("a:1", &last, false, &[]).unwrap();
    assert_eq!(untagged(&removed).len(), 2);
    assert_eq!(blobs(&store), 0);
}

#[test]
fn a_moved_tag_leaves_its_old_index_to_the_digest() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (old, new) = (two("old"), two("new"));
    let id = old.register(&store, 1, &["a:1", &format!("a@{}", old.digest())]);
    new.register(&store, 1, &["a:1", &format!("a@{}", new.digest())]);
    assert!(store.image(&id).unwrap().tags.is_empty());
    assert!(store.blob_path(&old.digest()).exists());
    assert!(
        store
            .untag(&format!("a@{}", old.digest()).parse().unwrap())
            .unwrap()
    );
    assert!(!store.blob_path(&old.digest()).exists());
    let image = store.image(&id).unwrap();
    assert!(store.blob_path(&image.manifest.unwrap().digest).exists());
}

#[test]
fn rows_of_the_first_version_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let id = {
        let store = store(dir.path());
        let id = crate::ingest::tests::image(&store, &[archive(&[("a", b"1")])], &["old:1"]);
        let mut row = ImageRow::clone(&store.inner.rows.catalog().images[&id]);
        row.facts = None;
        row.size = None;
        let rows = &store.inner.rows;
        rows.write(|change| {
            change.put_image(&id, &row)?;
            let mut name = change.catalog().names["docker.io/library/old:1"].clone();
            name.target = None;
            change.put_name("docker.io/library/old:1", &name)
        })
        .unwrap();
        id
    };
    let db = crate::Database::open(dir.path().join("hull.db")).unwrap();
    let store = Store::open_with(dir.path(), Arc::new(db), Options::default()).unwrap();
    assert_eq!(store.summaries()[0].facts().architecture, "amd64");
    let target = store.target(&"old:1".parse().unwrap()).unwrap().unwrap();
    let listed = store.platforms(&target.digest).unwrap();
    assert_eq!(listed[0].image, Some(id));
    assert_eq!(
        listed[0].manifest.platform,
        Some("linux/amd64".parse().unwrap())
    );
}

#[test]
fn an_index_must_have_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (one, two) = (two("one"), two("two"));
    let One {
        manifest,
        config,
        layer,
    } = &one.images[0];
    let _hold = add(&store, layer);
    let refused = store.register(&Registration {
        index: Some((&descriptor(&two.index), &two.index)),
        manifest: Some((&descriptor(manifest), manifest)),
        config,
        names: &[],
        ..Registration::default()
    });
    assert!(matches!(refused, Err(Error::WrongManifest(_))));
}
