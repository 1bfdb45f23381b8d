use super::*;
use crate::Snapshotter as _;
use crate::blob::digest_of;
use crate::ingest::tests::{archive, descriptor, gzip, image, store_with};
use crate::snapshot::Overlay;
use crate::store::Options;
use std::sync::Arc;
use std::time::SystemTime;

/// What the tests' engine knows, and was told.
#[derive(Clone, Debug, Default)]
struct Engine(Arc<Mutex<(Vec<User>, Vec<Removed>)>>);

impl Keeper for Engine {
    fn users(&self) -> Vec<User> {
        lock2(&self.0).0.clone()
    }

    fn evicted(&self, removed: &[Removed]) {
        lock2(&self.0).1.extend_from_slice(removed);
    }
}

fn lock2<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Engine {
    fn uses(&self, image: &ImageId) {
        lock2(&self.0).0.push(User {
            container: "c".repeat(64),
            image: image.clone(),
            running: false,
        });
    }

    /// The names that were evicted.
    fn untagged(&self) -> Vec<String> {
        let removed = &lock2(&self.0).1;
        let name = |row: &Removed| match row {
            Removed::Untagged(name) => Some(name.familiar()),
            Removed::Deleted(_) => None,
        };
        removed.iter().filter_map(name).collect()
    }
}

/// 300 kB that do not compress: an image of it takes twice that, and a little.
fn layer(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let noise: Vec<u8> = (0..300_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        })
        .collect();
    archive(&[("noise", &noise)])
}

fn wanted(layer: &[u8]) -> (Digest, Descriptor) {
    (digest_of(layer), descriptor(&gzip(layer)))
}

fn subject(budget: u64) -> (tempfile::TempDir, Store, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        budget: Some(budget),
        ..Options::default()
    };
    let store = store_with(dir.path(), options);
    let engine = Engine::default();
    store.set_keeper(Box::new(engine.clone()));
    (dir, store, engine)
}

fn total(store: &Store) -> u64 {
    store.disk_usage().unwrap().total
}

#[test]
fn the_image_used_the_longest_ago_goes() {
    let (_dir, store, engine) = subject(2_600_000);
    let a = image(&store, &[layer(1)], &["a:1"]);
    image(&store, &[layer(2)], &["b:1"]);
    image(&store, &[layer(3)], &["c:1"]);
    assert_eq!(engine.untagged(), [""; 0]);
    store.touch(&a).unwrap();
    // Three images take 1.9 MB; a fourth of 300 kB is likely to take 1.3.
    let fourth = layer(4);
    let room = store.room(&[wanted(&fourth)]).unwrap();
    assert_eq!(engine.untagged(), ["b:1"]);
    assert!(total(&store) + room.reserved <= 2_600_000);
    image(&store, &[fourth], &["d:1"]);
    drop(room);
    assert_eq!(*lock(&store.inner.budget.reserved), 0);
    // A new name makes an image new.
    let c = store.resolve("c:1").unwrap();
    store.tag(&"c:2".parse().unwrap(), &c).unwrap();
    let _room = store.room(&[wanted(&layer(5))]).unwrap();
    assert_eq!(engine.untagged(), ["b:1", "a:1"]);
}

#[test]
fn nothing_goes_for_what_is_likely_not_to_stay() {
    let (dir, store, engine) = subject(2_000_000);
    image(&store, &[layer(1)], &["a:1"]);
    let mut large = wanted(&layer(2));
    large.1.size = 1_000_000;
    let room = store.room(&[large]).unwrap();
    assert_eq!(engine.untagged(), [""; 0]);
    drop(room);
    let partial = dir.path().join("ingest").join(digest_of(b"x").hex());
    fs_err::write(&partial, b"some").unwrap();
    store.prune_downloads().unwrap();
    assert!(!partial.exists());
}

#[test]
fn containers_and_pulls_keep_what_they_need() {
    let (_dir, store, engine) = subject(2_000_000);
    let base = layer(1);
    image(&store, std::slice::from_ref(&base), &["base:1"]);
    let used = image(&store, &[layer(2)], &["used:1"]);
    engine.uses(&used);
    image(&store, &[layer(3)], &["free:1"]);
    // The base of what is being pulled is the oldest, and stays.
    let room = store.room(&[wanted(&base), wanted(&layer(4))]).unwrap();
    assert_eq!(engine.untagged(), ["free:1"]);
    drop(room);
    // What cannot fit evicts nothing.
    let mut huge = wanted(&layer(5));
    huge.1.size = 1_500_000;
    let error = store.room(&[huge]).unwrap_err().to_string();
    let expected = "no room within the disk budget of 2MB: 1.5MB are needed, and ";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(engine.untagged(), ["free:1"]);
    assert!(store.resolve("base:1").is_ok() && store.resolve("used:1").is_ok());
    // A snapshot's layers stay even when its image has no name any more.
    let snapshots = Overlay::new(store.clone());
    snapshots.prepare("c", &[digest_of(&base)]).unwrap();
    let mut large = wanted(&layer(6));
    large.1.size = 800_000;
    let error = store.room(&[large]).map(drop);
    assert!(matches!(error, Err(Error::NoRoom { .. })), "{error:?}");
}

/// Knows of no container when it is asked first, and of one from then on.
#[derive(Debug)]
struct Late(Mutex<usize>, ImageId, Engine);

impl Keeper for Late {
    fn users(&self) -> Vec<User> {
        let mut asked = lock2(&self.0);
        *asked += 1;
        if *asked == 2 {
            self.2.uses(&self.1);
        }
        self.2.users()
    }

    fn evicted(&self, removed: &[Removed]) {
        self.2.evicted(removed);
    }
}

#[test]
fn a_container_that_comes_late_keeps_its_image() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        budget: Some(2_600_000),
        ..Options::default()
    };
    let store = store_with(dir.path(), options);
    let a = image(&store, &[layer(1)], &["a:1"]);
    image(&store, &[layer(2)], &["b:1"]);
    image(&store, &[layer(3)], &["c:1"]);
    let engine = Engine::default();
    store.set_keeper(Box::new(Late(Mutex::new(0), a, engine.clone())));
    let _room = store.room(&[wanted(&layer(4))]).unwrap();
    assert_eq!(engine.untagged(), ["b:1"]);
}

#[test]
fn a_new_name_needs_no_room() {
    let (_dir, store, engine) = subject(1_000_000);
    engine.uses(&image(&store, &[layer(1)], &["a:1"]));
    let _arriving = crate::ingest::tests::add(&store, &layer(2));
    assert!(matches!(store.fit(), Err(Error::NoRoom { .. })));
    let id = store.resolve("a:1").unwrap();
    let config = store.image(&id).unwrap().config_bytes;
    let named = store.register(&crate::Registration {
        config: &config,
        names: &["b:1".parse().unwrap()],
        ..crate::Registration::default()
    });
    assert_eq!(named.unwrap(), id);
}

#[test]
fn pulls_at_the_same_time_share_the_room() {
    let (_dir, store, _) = subject(2_000_000);
    let ask = |seed, size| {
        let (layer, blob) = wanted(&layer(seed));
        store.room(&[(layer, Descriptor { size, ..blob })])
    };
    let first = ask(1, 300_000).unwrap();
    let second = ask(2, 300_000).unwrap();
    assert_eq!(first.reserved, 1_200_000);
    assert!(second.reserved < 800_000, "it gets what there is");
    assert!(matches!(ask(3, 300_000), Err(Error::NoRoom { .. })));
    drop(first);
    assert!(ask(3, 300_000).is_ok());
}

#[test]
fn an_image_that_became_larger_than_it_said_is_refused_or_makes_room() {
    let (_dir, store, engine) = subject(1_500_000);
    image(&store, &[layer(1)], &["a:1"]);
    image(&store, &[layer(2)], &["b:1"]);
    // Zeros compress to nothing, and unpack to a megabyte.
    let zeros = archive(&[("zeros", &vec![0; 1_000_000])]);
    let blob = gzip(&zeros);
    assert!(blob.len() < 10_000);
    let ask = [(digest_of(&zeros), descriptor(&blob))];
    let room = store.room(&ask).unwrap();
    assert_eq!(engine.untagged(), [""; 0]);
    image(&store, &[zeros], &["z:1"]);
    drop(room);
    assert_eq!(engine.untagged(), ["a:1", "b:1"]);
    assert!(total(&store) <= 1_500_000);
    let z = store.resolve("z:1").unwrap();
    engine.uses(&z);
    let error = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        image(
            &store,
            &[archive(&[("more", &vec![1; 1_000_000])])],
            &["m:1"],
        )
    }));
    assert!(error.is_err() && store.resolve("m:1").is_err());
    assert!(store.fit().is_ok());
    assert!(total(&store) <= 1_500_000, "what was refused is gone");
}

#[test]
fn downloads_go_first_and_old_ones_in_any_case() {
    let (dir, store, engine) = subject(2_000_000);
    image(&store, &[layer(1)], &["a:1"]);
    let part = |seed: u32| {
        let name = digest_of(&seed.to_le_bytes());
        dir.path().join("ingest").join(name.hex())
    };
    fs_err::write(part(1), vec![1; 700_000]).unwrap();
    let room = store.room(&[wanted(&layer(2))]).unwrap();
    assert!(!part(1).exists());
    assert_eq!(engine.untagged(), [""; 0]);
    drop(room);
    for (seed, hours) in [(2, 25), (3, 1)] {
        fs_err::write(part(seed), "part").unwrap();
        let file = fs_err::OpenOptions::new().append(true).open(part(seed));
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        file.unwrap().file().set_modified(then).unwrap();
    }
    drop(store.room(&[]).unwrap());
    assert!(!part(2).exists() && part(3).exists());
}

#[test]
fn numbers_are_for_people() {
    for (bytes, text) in [
        (0, "0B"),
        (999, "999B"),
        (1_000, "1kB"),
        (1_550, "1.5kB"),
        (50_000_000_000, "50GB"),
    ] {
        assert_eq!(Bytes(bytes).to_string(), text);
    }
}
