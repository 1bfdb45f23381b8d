use super::*;
use crate::blob::digest_of;
use crate::format::{Format, FormatChoice};
use crate::store::{Options, Store};
use crate::unpack::Limits;
use crate::{ImageId, Registration};
use hull_spec::image::media_type;
use std::io::{Read as _, Write as _};
use std::path::Path;

pub(crate) fn store_with(root: &Path, options: Options) -> Store {
    let db = crate::Database::open(root.join("hull.db")).unwrap();
    Store::open_with(root, Arc::new(db), options).unwrap()
}

pub(crate) fn store(root: &Path) -> Store {
    store_with(root, Options::default())
}

/// A store that can mount layers, below `root`.
pub(crate) fn mounting(root: &Path) -> Options {
    Options {
        mounts: Some(root.join("mounts")),
        ..Options::default()
    }
}

/// The same with one format.
pub(crate) fn options(root: &Path, format: Format) -> Options {
    Options {
        format: FormatChoice::Only(format),
        ..mounting(root)
    }
}

/// The formats that can be tested here.
pub(crate) fn formats() -> Vec<Format> {
    let mut formats = vec![Format::Directory];
    formats.extend(can_mount_erofs().then_some(Format::Erofs));
    formats
}

/// What is in a file of a layer.
fn file_of(store: &Store, layer: &Digest, name: &str) -> Vec<u8> {
    use crate::snapshot::{Overlay, Snapshotter as _};
    let snapshots = Overlay::new(store.clone());
    snapshots
        .prepare("look", std::slice::from_ref(layer))
        .unwrap();
    let hull_spec::rootfs::RootFs::Overlay { lower, .. } = snapshots.root_fs("look").unwrap()
    else {
        panic!("one layer is an overlay");
    };
    let content = fs_err::read(lower[0].join(name)).unwrap();
    snapshots.remove("look").unwrap();
    store.close(&[]).unwrap();
    content
}

/// Whether this kernel mounts layers from files, for us, in the directory of temporary files.
pub(crate) fn can_mount_erofs() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let can = kernel_mounts_from(dir.path());
    let format = store_with(dir.path(), mounting(dir.path())).format();
    assert!(
        !can || format.unwrap() == Format::Erofs,
        "it should be used"
    );
    if !can {
        println!("skipped: this kernel cannot mount layers from files here");
    }
    can
}

/// Whether the kernel is at least 6.12 with EROFS in it, and the files are neither in memory nor on an
/// overlay. It is asked, and not the store, which would hide that it does not use what there is.
fn kernel_mounts_from(dir: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const OVERLAY: i64 = 0x794c_7630;
    let uname = rustix::system::uname();
    let mut numbers = uname.release().to_str().unwrap().split(['.', '-']);
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    let known = fs_err::read_to_string("/proc/filesystems").unwrap();
    let below = rustix::fs::statfs(dir).unwrap().f_type;
    number().zip(number()) >= Some((6, 12))
        && known.split_whitespace().any(|word| word == "erofs")
        && ![TMPFS, OVERLAY].contains(&below)
}

/// A tar archive of files.
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type::OCI_LAYER_GZIP.to_owned(),
        digest: digest_of(bytes),
        size: bytes.len() as u64,
        urls: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
        platform: None,
    }
}

fn fetch(store: &Store, blob: &Descriptor, diff_id: &Digest) -> LayerWriter {
    match store.begin_layer(blob, diff_id).unwrap() {
        Layer::Fetch(writer) => writer,
        other => panic!("{other:?}"),
    }
}

/// Brings a layer in.
pub(crate) fn add(store: &Store, tar: &[u8]) -> (Descriptor, Hold) {
    let blob = gzip(tar);
    let blob_of = descriptor(&blob);
    let mut writer = fetch(store, &blob_of, &digest_of(tar));
    writer.write(&blob).unwrap();
    (blob_of, writer.finish().unwrap())
}

/// Brings an image with these layers in.
pub(crate) fn image(store: &Store, layers: &[Vec<u8>], names: &[&str]) -> ImageId {
    let mut holds = Vec::new();
    let mut blobs = Vec::new();
    for layer in layers {
        let blob = gzip(layer);
        blobs.push(descriptor(&blob));
        match store
            .begin_layer(&descriptor(&blob), &digest_of(layer))
            .unwrap()
        {
            Layer::Present(hold) => holds.push(hold),
            Layer::Fetch(mut writer) => {
                writer.write(&blob).unwrap();
                holds.push(writer.finish().unwrap());
            }
            Layer::InProgress(_) => panic!("nobody else is here"),
        }
    }
    let ids: Vec<Digest> = holds.iter().map(|hold| hold.diff_id().clone()).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "author": names.join(","),
        "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "config": descriptor(&config), "layers": blobs,
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    store
        .register(&Registration {
            index: None,
            manifest: Some((&descriptor(&manifest), &manifest)),
            config: &config,
            names: &names,
            ..Registration::default()
        })
        .unwrap()
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Incompressible, so that a layer is long enough to be cut.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect()
}

#[test]
fn a_layer_arrives_whatever_its_compression() {
    for format in formats() {
        a_layer_arrives_whatever_its_compression_as(format);
    }
}

fn a_layer_arrives_whatever_its_compression_as(format: Format) {
    let tar = archive(&[("a/b", b"content"), ("c", b"")]);
    for blob in [
        gzip(&tar),
        zstd::encode_all(tar.as_slice(), 3).unwrap(),
        tar.clone(),
        // Several members are one stream (RFC 1952, 2.2).
        [gzip(&tar[..700]), gzip(&tar[700..])].concat(),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = store_with(dir.path(), options(dir.path(), format));
        let diff_id = digest_of(&tar);
        let mut writer = fetch(&store, &descriptor(&blob), &diff_id);
        for part in blob.chunks(100) {
            writer.write(part).unwrap();
        }
        let progress = writer.progress();
        let hold = writer.finish().unwrap();
        assert_eq!(progress.unpacked(), progress.total());
        assert_eq!(file_of(&store, hold.diff_id(), "a/b"), b"content");
        assert_eq!(
            fs_err::read(store.blob_path(&digest_of(&blob))).unwrap(),
            blob
        );
        assert_eq!(entries(&dir.path().join("ingest")), Vec::<String>::new());
        assert!(matches!(
            store.begin_layer(&descriptor(&blob), &diff_id).unwrap(),
            Layer::Present(_)
        ));
    }
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    for format in formats() {
        an_interrupted_download_goes_on_where_it_stopped_as(format);
    }
}

fn an_interrupted_download_goes_on_where_it_stopped_as(format: Format) {
    let tar = archive(&[("noise", &noise(300_000))]);
    let blob = gzip(&tar);
    let size = blob.len();
    for cut in [0, 1, 3, 10, 512, size / 2, size - 1, size] {
        let dir = tempfile::tempdir().unwrap();
        {
            let store = store_with(dir.path(), options(dir.path(), format));
            let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
            writer.write(&blob[..cut]).unwrap();
            if cut < size {
                assert!(matches!(writer.finish(), Err(Error::Short { .. })));
            }
        }
        // As after a restart of the daemon: the worker may still hold the old store's lock, so the
        // same database is not opened again here.
        let other = tempfile::tempdir().unwrap();
        fs_err::create_dir(other.path().join("ingest")).unwrap();
        let name = format!("ingest/{}", digest_of(&blob).hex());
        fs_err::copy(dir.path().join(&name), other.path().join(&name)).unwrap();
        let store = store_with(other.path(), options(other.path(), format));
        let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
        assert_eq!(writer.offset(), cut as u64);
        writer.write(&blob[cut..]).unwrap();
        writer.finish().unwrap();
    }
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    for format in formats() {
        a_server_without_ranges_sends_all_again_as(format);
    }
}

fn a_server_without_ranges_sends_all_again_as(format: Format) {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(dir.path(), options(dir.path(), format));
    let tar = archive(&[("a", &noise(5000))]);
    let blob = gzip(&tar);
    let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
    writer.write(&blob[..2000]).unwrap();
    writer.restart().unwrap();
    assert_eq!(writer.offset(), 0);
    writer.write(&blob).unwrap();
    writer.finish().unwrap();
}

#[test]
fn damage_is_found_and_not_kept() {
    for format in formats() {
        damage_is_found_and_not_kept_as(format);
    }
}

fn damage_is_found_and_not_kept_as(format: Format) {
    let tar = archive(&[("a", &noise(5000))]);
    let blob = gzip(&tar);
    for position in [0, 5, 20, blob.len() / 2, blob.len() - 1] {
        let dir = tempfile::tempdir().unwrap();
        let store = store_with(dir.path(), options(dir.path(), format));
        let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
        let mut damaged = blob.clone();
        damaged[position] ^= 1;
        writer.write(&damaged).unwrap();
        let error = writer.finish().unwrap_err();
        assert!(
            matches!(error, Error::Digest { .. }),
            "{position}: {error:?}"
        );
        let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
        assert_eq!(writer.offset(), 0);
        writer.write(&blob).unwrap();
        writer.finish().unwrap();
    }
}

#[test]
fn lies_are_refused() {
    for format in formats() {
        lies_are_refused_as(format);
    }
}

fn lies_are_refused_as(format: Format) {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(dir.path(), options(dir.path(), format));
    let tar = archive(&[("a", b"1")]);
    let blob = gzip(&tar);

    let wrong = digest_of(b"something else");
    let mut writer = fetch(&store, &descriptor(&blob), &wrong);
    writer.write(&blob).unwrap();
    assert!(matches!(writer.finish(), Err(Error::DiffId { .. })));

    let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
    writer.write(&blob).unwrap();
    let error = writer.write(b"x").unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }));
    drop(writer);

    let garbage = b"neither tar nor gzip".to_vec();
    let mut writer = fetch(&store, &descriptor(&garbage), &digest_of(&garbage));
    writer.write(&garbage).unwrap();
    assert!(matches!(writer.finish(), Err(Error::Unpack { .. })));
    assert_eq!(entries(&dir.path().join("layers")), Vec::<String>::new());
}

#[test]
fn a_bomb_is_refused_early() {
    for format in formats() {
        a_bomb_is_refused_early_as(format);
    }
}

fn a_bomb_is_refused_early_as(format: Format) {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        floor: 1 << 20,
        ratio: 10,
        absolute: 1 << 30,
    };
    let store = store_with(
        dir.path(),
        Options {
            limits,
            ..options(dir.path(), format)
        },
    );
    let zeros = vec![0; 8 << 20];
    let tar = archive(&[("zeros", &zeros)]);
    for blob in [gzip(&tar), zstd::encode_all(tar.as_slice(), 3).unwrap()] {
        let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
        writer.write(&blob).unwrap();
        let error = writer.finish().unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { limit, .. } if limit == 1 << 20),
            "{error:?}"
        );
    }
}

#[test]
fn two_pulls_share_one_download() {
    for format in formats() {
        two_pulls_share_one_download_as(format);
    }
}

fn two_pulls_share_one_download_as(format: Format) {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(dir.path(), options(dir.path(), format));
    let tar = archive(&[("a", b"1")]);
    let blob = gzip(&tar);
    let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
    let Layer::InProgress(waiter) = store
        .begin_layer(&descriptor(&blob), &digest_of(&tar))
        .unwrap()
    else {
        panic!("a second download");
    };
    assert!(!waiter.wait_timeout(Duration::from_millis(1)));
    let waiting = std::thread::spawn(move || while !waiter.wait_timeout(Duration::from_secs(1)) {});
    writer.write(&blob).unwrap();
    let hold = writer.finish().unwrap();
    waiting.join().unwrap();
    assert!(matches!(
        store
            .begin_layer(&descriptor(&blob), hold.diff_id())
            .unwrap(),
        Layer::Present(_)
    ));
}

#[test]
fn a_layer_is_read_back_as_the_archive_it_was() {
    for format in formats() {
        a_layer_is_read_back_as_the_archive_it_was_as(format);
    }
}

fn a_layer_is_read_back_as_the_archive_it_was_as(format: Format) {
    let tar = archive(&[("a/b", b"content"), ("c", &noise(600_000))]);
    for blob in [gzip(&tar), tar.clone()] {
        let dir = tempfile::tempdir().unwrap();
        let store = store_with(dir.path(), options(dir.path(), format));
        let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
        writer.write(&blob).unwrap();
        let hold = writer.finish().unwrap();
        let mut archive = store.layer_archive(hold.diff_id()).unwrap();
        assert_eq!(archive.len(), Some(tar.len() as u64));
        let mut read = Vec::new();
        archive.read_to_end(&mut read).unwrap();
        assert!(read == tar);
        let blobs = store.layer_blobs(hold.diff_id()).unwrap();
        assert_eq!(blobs, [descriptor(&blob)]);

        let other = zstd::encode_all(tar.as_slice(), 1).unwrap();
        let file = dir.path().join("ingest/other");
        fs_err::write(&file, &other).unwrap();
        for _ in 0..2 {
            store
                .add_layer_blob(hold.diff_id(), &descriptor(&other), &file)
                .unwrap();
            fs_err::write(&file, &other).unwrap();
        }
        assert_eq!(store.layer_blobs(hold.diff_id()).unwrap().len(), 2);
        drop((hold, archive));
        store.prune_layers().unwrap();
        assert!(!store.blob_path(&digest_of(&blob)).exists());
        assert!(!store.blob_path(&digest_of(&other)).exists());
    }
}

#[test]
fn a_local_layer_needs_no_blob() {
    for format in formats() {
        a_local_layer_needs_no_blob_as(format);
    }
}

fn a_local_layer_needs_no_blob_as(format: Format) {
    let tar = archive(&[("a/b", b"content"), ("c", &noise(600_000))]);
    let (id, other) = (digest_of(&tar), digest_of(b"other"));
    for source in [
        tar.clone(),
        gzip(&tar),
        zstd::encode_all(tar.as_slice(), 3).unwrap(),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = store_with(dir.path(), options(dir.path(), format));
        let error = store.import_layer(&mut source.as_slice(), Some(&other));
        assert!(matches!(error, Err(Error::DiffId { .. })), "{error:?}");
        for expected in [None, Some(&id), None] {
            let layer = store
                .import_layer(&mut source.as_slice(), expected)
                .unwrap();
            assert_eq!(*layer.hold.diff_id(), id);
            assert_eq!(layer.size, tar.len() as u64);
        }
        let mut read = Vec::new();
        let mut archive = store.layer_archive(&id).unwrap();
        archive.read_to_end(&mut read).unwrap();
        assert!(read == tar);
        assert!(store.layer_blobs(&id).unwrap().is_empty());
        assert_eq!(entries(&dir.path().join("ingest")), Vec::<String>::new());
        drop(archive);
        store.prune_layers().unwrap();
        assert_eq!(entries(&dir.path().join("layers")), Vec::<String>::new());
        assert_eq!(
            entries(&dir.path().join("blobs/sha256")),
            Vec::<String>::new()
        );
    }
}

#[test]
fn a_local_bomb_is_refused() {
    for format in formats() {
        a_local_bomb_is_refused_as(format);
    }
}

fn a_local_bomb_is_refused_as(format: Format) {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        floor: 1 << 20,
        ratio: 10,
        absolute: 1 << 30,
    };
    let store = store_with(
        dir.path(),
        Options {
            limits,
            ..options(dir.path(), format)
        },
    );
    let bomb = gzip(&archive(&[("zeros", &vec![0; 8 << 20])]));
    let error = store.import_layer(&mut bomb.as_slice(), None);
    assert!(matches!(error, Err(Error::TooLarge { .. })), "{error:?}");
    let damaged = &gzip(&archive(&[("a", &noise(9000))]))[..5000];
    let error = store.import_layer(&mut { damaged }, None);
    assert!(matches!(error, Err(Error::Decompress { .. })), "{error:?}");
    assert_eq!(entries(&dir.path().join("layers")), Vec::<String>::new());
}

#[test]
fn a_full_disk_is_named_and_harms_nothing() {
    for format in formats() {
        // A mount namespace of its own would take every thread of the test with it; the mount is small
        // and is taken away below.
        let dir = tempfile::tempdir().unwrap();
        let Some(disk) = small_disk(dir.path()) else {
            return;
        };
        let result = std::panic::catch_unwind(|| fill(&disk, options(dir.path(), format)));
        rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::DETACH).unwrap();
        result.unwrap();
    }
}

/// Twelve megabytes of ext4: a file system that the kernel mounts layers from.
fn small_disk(dir: &Path) -> Option<std::path::PathBuf> {
    let (image, disk) = (dir.join("image"), dir.join("disk"));
    fs_err::create_dir(&disk).unwrap();
    fs_err::File::create(&image)
        .unwrap()
        .set_len(12 << 20)
        .unwrap();
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        let done = std::process::Command::new(program).args(arguments).output();
        done.is_ok_and(|done| done.status.success())
    };
    let (image, disk_name) = (image.as_os_str(), disk.as_os_str());
    let made = run("mkfs.ext4", &["-q".as_ref(), "-m0".as_ref(), image])
        && run("mount", &["-o".as_ref(), "loop".as_ref(), image, disk_name]);
    if !made {
        println!("skipped: cannot make and mount a small disk");
    }
    made.then_some(disk)
}

fn fill(disk: &Path, options: Options) {
    let store = store_with(disk, options);
    let tar = archive(&[("noise", &noise(9 << 20))]);
    let packed = zstd::encode_all(archive(&[("zeros", &vec![7; 30 << 20])]).as_slice(), 1).unwrap();
    let zeros = digest_of(&archive(&[("zeros", &vec![7; 30 << 20])]));
    let mut writer = fetch(&store, &descriptor(&packed), &zeros);
    let error = match writer.write(&packed) {
        Ok(()) => writer.finish().unwrap_err(),
        Err(error) => {
            drop(writer);
            error
        }
    };
    assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
    assert!(error.to_string().contains("no space left on device"));
    let error = store
        .import_layer(&mut packed.as_slice(), None)
        .unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");

    let blob = [tar.as_slice(), &noise(5 << 20)].concat();
    let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&tar));
    let error = writer.write(&blob).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
    drop(writer);

    // The trash is emptied in the background: the space comes back.
    let small = archive(&[("a", b"1")]);
    let blob = gzip(&small);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let mut writer = fetch(&store, &descriptor(&blob), &digest_of(&small));
        if writer.write(&blob).and_then(|()| writer.finish()).is_ok() {
            break;
        }
        assert!(std::time::Instant::now() < deadline);
    }
}

/// Makes a layer's row one of a boot before this one.
fn as_after_power_loss(store: &Store, layer: &Digest) {
    store
        .inner
        .rows
        .write(|change| {
            let mut row = change.layer(layer)?.unwrap();
            row.unsettled = Some("another boot/1".to_owned());
            change.put_layer(layer, &row)
        })
        .unwrap();
}

#[test]
fn what_the_power_took_is_found_and_fetched_again() {
    if !can_mount_erofs() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = || options(dir.path(), Format::Erofs);
    let tar = archive(&[("a/b", &noise(300_000))]);
    let id = digest_of(&tar);
    let store = store_with(dir.path(), options());
    let (blob, hold) = add(&store, &tar);
    drop(hold);
    let file = |name: &str| dir.path().join("layers").join(id.hex()).join(name);
    let row = |store: &Store| store.inner.rows.layer(&id).unwrap();

    // The index is made again from the archive, and a damaged blob is not kept.
    as_after_power_loss(&store, &id);
    fs_err::write(file("erofs"), b"").unwrap();
    fs_err::write(store.blob_path(&blob.digest), b"").unwrap();
    store.resume_settling().unwrap();
    assert_eq!(file_of(&store, &id, "a/b"), noise(300_000));
    assert!(store.layer_blobs(&id).unwrap().is_empty());

    // An archive that is not what it was is not a layer.
    as_after_power_loss(&store, &id);
    fs_err::write(file("tar"), &tar[..100_000]).unwrap();
    store.resume_settling().unwrap();
    assert!(row(&store).is_none() && !file("tar").exists());
    add(&store, &tar);
    assert_eq!(file_of(&store, &id, "a/b"), noise(300_000));

    // What was written during this boot is whole, and settled sooner or later.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while row(&store).unwrap().unsettled.is_some() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn compressed_forms_are_dropped_on_demand() {
    if !can_mount_erofs() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        drop_compressed: true,
        ..options(dir.path(), Format::Erofs)
    };
    let store = store_with(dir.path(), options);
    let tar = archive(&[("a", b"1")]);
    let (blob, hold) = add(&store, &tar);
    assert!(!store.blob_path(&blob.digest).exists());
    assert!(store.layer_blobs(hold.diff_id()).unwrap().is_empty());
    assert_eq!(entries(&dir.path().join("ingest")), Vec::<String>::new());
    let mut read = Vec::new();
    let mut archive = store.layer_archive(hold.diff_id()).unwrap();
    archive.read_to_end(&mut read).unwrap();
    assert!(read == tar);
}

#[test]
fn a_layer_that_cannot_be_verified_does_not_keep_the_store_shut() {
    if !can_mount_erofs() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(dir.path(), options(dir.path(), Format::Erofs));
    let add = |name: &str| {
        let (blob, hold) = add(&store, &archive(&[(name, b"1")]));
        (blob.digest, hold.diff_id().clone())
    };
    let ((lost_blob, lost), (_, full)) = (add("lost"), add("full"));
    let row = |layer: &Digest| store.inner.rows.layer(layer).unwrap();
    // Reading a directory fails as reading from a broken disk does.
    let tar = store.layer_path(&lost).join("tar");
    fs_err::remove_file(&tar).unwrap();
    fs_err::create_dir(&tar).unwrap();
    // And this as writing to a full one.
    fs_err::create_dir(store.layer_path(&full).join("erofs.new")).unwrap();
    for layer in [&lost, &full] {
        as_after_power_loss(&store, layer);
    }
    store.resume_settling().unwrap();
    assert!(row(&lost).is_none() && !store.layer_path(&lost).exists());
    assert!(!store.blob_path(&lost_blob).exists());
    assert_eq!(row(&full).unwrap().unsettled.unwrap(), "another boot/1");
}

/// A stream that tells when it is read, and brings nothing as long as it is wanted.
struct Stalled {
    read: std::sync::mpsc::Sender<()>,
    until: Arc<(Mutex<bool>, Condvar)>,
}

impl std::io::Read for Stalled {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        let _ = self.read.send(());
        let over = lock(&self.until.0);
        let over = self.until.1.wait_while(over, |over| !*over);
        drop(over.unwrap());
        Err(std::io::Error::other("nothing came"))
    }
}

#[test]
fn stalled_streams_keep_no_pull_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (read, reads) = std::sync::mpsc::channel();
    let until = Arc::new((Mutex::new(false), Condvar::new()));
    let streams: Vec<_> = (0..Places::count())
        .map(|_| {
            let (store, read, until) = (store.clone(), read.clone(), Arc::clone(&until));
            std::thread::spawn(move || {
                let mut stalled = Stalled { read, until };
                assert!(store.import_layer(&mut stalled, None).is_err());
            })
        })
        .collect();
    for _ in &streams {
        reads.recv().unwrap();
    }
    let (done, pulled) = std::sync::mpsc::channel();
    let pull = std::thread::spawn(move || {
        add(&store, &archive(&[("a", b"1")]));
        let _ = done.send(());
    });
    let came = pulled.recv_timeout(Duration::from_secs(120));
    *lock(&until.0) = true;
    until.1.notify_all();
    for thread in streams {
        thread.join().unwrap();
    }
    pull.join().unwrap();
    came.expect("the pull waited for the streams");
}
