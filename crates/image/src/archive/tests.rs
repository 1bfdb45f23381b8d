use super::*;
use crate::Registration;
use crate::ingest::tests::{archive, store};
use crate::store::Store;
use hull_spec::Reference;
use proptest::prelude::*;
use std::io::{Read as _, Write as _};

fn config(layers: &[&[u8]], architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| format!("\"{}\"", crate::blob::digest_of(layer)))
        .collect();
    format!(
        r#"{{"architecture":"{architecture}","os":"linux","created":"2026-11-21T18:43:39.5Z","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    )
    .into_bytes()
}

/// An image of these layers with these names.
fn image(store: &Store, layers: &[&[u8]], names: &[&str]) -> crate::ImageId {
    let holds: Vec<_> = layers
        .iter()
        .map(|layer| store.import_layer(&mut &**layer, None).unwrap())
        .collect();
    let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
    let id = store
        .register(&Registration {
            config: &config(layers, "amd64"),
            names: &names,
            ..Registration::default()
        })
        .unwrap();
    drop(holds);
    id
}

fn selected(id: &crate::ImageId, names: &[&str]) -> Selected {
    Selected {
        images: vec![id.clone()],
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
    }
}

fn load(store: &Store, bytes: &[u8]) -> Result<Vec<Loaded>, Error> {
    store.load(&mut &bytes[..], LoadOptions::default(), &mut |_| {})
}

/// An archive of these entries; a name with `->` is a link.
fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        if let Some((name, target)) = name.split_once("->") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
            continue;
        }
        header.set_size(data.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn entries(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            (
                String::from_utf8(entry.path_bytes().into_owned()).unwrap(),
                data,
            )
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    crate::blob::digest_of(bytes).hex().to_owned()
}

fn layer_count(store: &Store) -> usize {
    fs_err::read_dir(store.root().join("layers"))
        .unwrap()
        .count()
}

fn nothing_left(store: &Store) {
    assert_eq!(layer_count(store), 0);
    assert_eq!(
        fs_err::read_dir(store.root().join("ingest"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        fs_err::read_dir(store.root().join("blobs/sha256"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn an_archive_is_what_dockerd_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let base = archive(&[("a", b"1")]);
    let top = archive(&[("b", b"2")]);
    let names = ["h4a:1", "reg.example/h4/b:x"];
    let one = image(&store, &[&base, &top], &names);
    let two = image(&store, &[&base], &["bb:latest"]);
    let mut out = Vec::new();
    let images = [selected(&one, &names), selected(&two, &["bb:latest"])];
    store.save(&images, &mut out).unwrap();
    let entries = entries(&out);
    let paths: Vec<&str> = entries.iter().map(|(path, _)| path.as_str()).collect();
    let mut sorted = paths.clone();
    sorted.sort_unstable();
    assert_eq!(paths, sorted);
    assert_eq!(
        paths.len(),
        2 + 2 + 2 + 2 + 4,
        "layers are there once: {paths:?}"
    );
    let text = |name: &str| {
        let (_, data) = entries.iter().find(|(path, _)| path == name).unwrap();
        String::from_utf8(data.clone()).unwrap()
    };
    assert_eq!(text("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#);
    let (base, top) = (hex(&base), hex(&top));
    assert_eq!(
        text("repositories"),
        format!(
            "{{\"bb\":{{\"latest\":\"{base}\"}},\"h4a\":{{\"1\":\"{top}\"}},\"reg.example/h4/b\":{{\"x\":\"{top}\"}}}}\n"
        )
    );
    let source = |hex: &str, size: usize| {
        format!(
            r#""sha256:{hex}":{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":{size},"digest":"sha256:{hex}"}}"#
        )
    };
    let size = entries
        .iter()
        .find(|(path, _)| path.ends_with(&base))
        .unwrap()
        .1
        .len();
    assert!(text("manifest.json").ends_with(&format!(
        "{{\"Config\":\"blobs/sha256/{}\",\"RepoTags\":[\"bb:latest\"],\"Layers\":[\"blobs/sha256/{base}\"],\"LayerSources\":{{{}}}}}]\n",
        two.digest().hex(),
        source(&base, size),
    )));
    let index = text("index.json");
    assert!(index.starts_with(r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:"#));
    assert!(index.contains(r#""annotations":{"io.containerd.image.name":"docker.io/library/h4a:1","org.opencontainers.image.ref.name":"1"}"#), "{index}");
}

#[test]
fn what_is_saved_loads_and_saves_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    let base = archive(&[("a", b"1")]);
    let top = archive(&[("b", b"2")]);
    let id = image(&first, &[&base, &top], &["x:1", "x:2"]);
    let images = [selected(&id, &["x:1", "x:2"])];
    let mut out = Vec::new();
    first.save(&images, &mut out).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let second = store(dir.path());
    let mut told = Vec::new();
    let options = LoadOptions::default();
    let loaded = second
        .load(&mut &out[..], options, &mut |step| told.push(step))
        .unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].id, id);
    let names: Vec<String> = loaded[0].names.iter().map(Reference::familiar).collect();
    assert_eq!(names, ["x:1", "x:2"]);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|step| step.current == step.total));
    let mut again = Vec::new();
    second.save(&images, &mut again).unwrap();
    assert_eq!(again, out);
    // Again: nothing is new, and nobody is told of layers.
    told.clear();
    second
        .load(&mut &out[..], options, &mut |step| told.push(step))
        .unwrap();
    assert_eq!(told, []);
    // A name that moves is told.
    let other = image(&second, &[&base], &["x:1"]);
    let loaded = load(&second, &out).unwrap();
    let replaced = &loaded[0].replaced;
    assert_eq!(replaced.len(), 1);
    assert_eq!(replaced[0].1, other);
}

#[test]
fn archives_of_all_ages_are_read() {
    let base = archive(&[("a", b"1")]);
    let top = archive(&[("b", b"2")]);
    let config = config(&[&base, &top, &base], "amd64");
    let manifest = br#"[{"Config":"c.json","RepoTags":["old:1"],"Layers":["one/layer.tar","two/layer.tar","three/layer.tar"]}]"#;
    // Links come before and after what they point at, the manifest first or last.
    let legacy: [&[(&str, &[u8])]; 2] = [
        &[
            ("c.json", &config),
            ("one/VERSION", b"1.0"),
            ("one/json", b"{}"),
            ("one/layer.tar", &base),
            ("two/layer.tar", &top),
            ("three/layer.tar->../one/layer.tar", b""),
            ("manifest.json", manifest),
        ],
        &[
            ("manifest.json", manifest),
            ("c.json", &config),
            ("one/layer.tar->../three/layer.tar", b""),
            ("./two/layer.tar", &top),
            ("three/layer.tar", &base),
        ],
    ];
    for entries in legacy {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let loaded = load(&store, &tar_of(entries)).unwrap();
        assert_eq!(loaded[0].names[0].familiar(), "old:1");
        assert_eq!(store.image(&loaded[0].id).unwrap().layers.len(), 3);
    }
}

/// An OCI layout of two platforms in an index, layers compressed.
fn layout(store_names: bool) -> (Vec<u8>, String) {
    let layer = archive(&[("a", b"1")]);
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&layer).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(layer.as_slice(), 1).unwrap();
    let mut blobs: Vec<Vec<u8>> = vec![gzip.clone(), zstd.clone()];
    let mut children = Vec::new();
    for (architecture, layer_blob, kind) in [("amd64", gzip, "gzip"), ("arm64", zstd, "zstd")] {
        let config = config(&[&layer], architecture);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+{kind}","digest":"sha256:{}","size":{}}}]}}"#,
            hex(&config),
            config.len(),
            hex(&layer_blob),
            layer_blob.len(),
        );
        children.push(format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{}","size":{},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
            hex(manifest.as_bytes()), manifest.len(),
        ));
        blobs.extend([config, manifest.into_bytes()]);
    }
    let inner = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        children.join(",")
    );
    let annotation = if store_names {
        r#","annotations":{"org.opencontainers.image.ref.name":"multi:3"}"#
    } else {
        ""
    };
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:{}","size":{}{annotation}}}]}}"#,
        hex(inner.as_bytes()),
        inner.len(),
    );
    let digest = hex(inner.as_bytes());
    blobs.push(inner.into_bytes());
    let mut named: Vec<(String, Vec<u8>)> = blobs
        .into_iter()
        .map(|blob| (format!("blobs/sha256/{}", hex(&blob)), blob))
        .collect();
    named.push(("index.json".to_owned(), index.into_bytes()));
    let entries: Vec<(&str, &[u8])> = named
        .iter()
        .map(|(name, data)| (name.as_str(), data.as_slice()))
        .collect();
    (tar_of(&entries), digest)
}

#[test]
fn layouts_are_read_with_all_their_platforms() {
    let (bytes, digest) = layout(true);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let loaded = load(&store, &bytes).unwrap();
    assert_eq!(loaded.len(), 2);
    let name: Reference = "multi:3".parse().unwrap();
    let target = store.target(&name).unwrap().unwrap();
    assert_eq!(target.digest.hex(), digest);
    let platforms = store.platforms(&target.digest).unwrap();
    assert_eq!(platforms.iter().filter(|p| p.image.is_some()).count(), 2);
    // The layer is one, and both its compressed forms are kept for pushes.
    let layer = &store.image(&loaded[0].id).unwrap().layers[0];
    let blobs = store.layer_blobs(layer).unwrap();
    assert_eq!(blobs.len(), 2);
    assert!(
        blobs
            .iter()
            .all(|blob| store.blob_path(&blob.digest).exists())
    );
    assert_eq!(
        fs_err::read_dir(dir.path().join("ingest")).unwrap().count(),
        0
    );

    // Saved as a whole, read as a whole.
    let images: Vec<_> = loaded.iter().map(|image| image.id.clone()).collect();
    let mut out = Vec::new();
    let names = vec![name.clone()];
    store.save(&[Selected { images, names }], &mut out).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let other = crate::ingest::tests::store(dir.path());
    assert_eq!(load(&other, &out).unwrap().len(), 2);
    let target = other.target(&name).unwrap().unwrap();
    assert_eq!(
        other
            .platforms(&target.digest)
            .unwrap()
            .iter()
            .filter(|p| p.image.is_some())
            .count(),
        2
    );
}

#[test]
fn compressed_layers_are_dropped_on_demand() {
    let (bytes, _) = layout(true);
    for format in crate::ingest::tests::formats() {
        let dir = tempfile::tempdir().unwrap();
        let options = crate::Options {
            drop_compressed: true,
            ..crate::ingest::tests::options(dir.path(), format)
        };
        let store = crate::ingest::tests::store_with(dir.path(), options);
        let loaded = load(&store, &bytes).unwrap();
        let layer = &store.image(&loaded[0].id).unwrap().layers[0];
        let blobs = store.layer_blobs(layer).unwrap();
        assert!(blobs.iter().all(|blob| blob.digest == *layer), "{blobs:?}");
        let kept = fs_err::read_dir(dir.path().join("ingest")).unwrap();
        assert_eq!(kept.count(), 0);
        let mut read = Vec::new();
        let mut tar = store.layer_archive(layer).unwrap();
        tar.read_to_end(&mut read).unwrap();
        assert!(read == archive(&[("a", b"1")]));
    }
}

#[test]
fn one_platform_can_be_chosen() {
    let (bytes, _) = layout(false);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let load = |platform: &str| {
        let platform = platform.parse().unwrap();
        let options = LoadOptions {
            platform: Some(&platform),
        };
        store.load(&mut &bytes[..], options, &mut |_| {})
    };
    let error = load("linux/s390x").unwrap_err().to_string();
    assert_eq!(error, "no image in the archive is for platform linux/s390x");
    nothing_left(&store);
    let loaded = load("linux/arm64").unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(
        store.image(&loaded[0].id).unwrap().config.architecture,
        "arm64"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn hostile_archives_are_refused_and_leave_nothing() {
    let layer = archive(&[("a", b"1")]);
    let config = config(&[&layer], "amd64");
    let manifest = br#"[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l.tar"]}]"#;
    let wrong = format!("blobs/sha256/{}", "0".repeat(64));
    let wrong_manifest = format!(r#"[{{"Config":"c.json","Layers":["{wrong}"]}}]"#);
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let mut zeros = std::io::repeat(0).take(3 << 20);
        std::io::copy(&mut zeros, &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (
            b"garbage".to_vec(),
            "invalid archive: the archive ends in the middle",
        ),
        (Vec::new(), "it has neither manifest.json nor index.json"),
        (tar_of(&[("repositories", b"{}")]), "before Docker 1.10"),
        (
            tar_of(&[("manifest.json", b"[{\"Config\":")]),
            "invalid archive: manifest.json",
        ),
        (
            tar_of(&[("manifest.json", manifest)]),
            "image config \"c.json\" is not in it",
        ),
        (
            tar_of(&[("manifest.json", manifest), ("c.json", &config)]),
            "layer \"l.tar\" is not in it",
        ),
        (
            tar_of(&[
                ("manifest.json", manifest),
                ("c.json", b"{}"),
                ("l.tar", &layer),
            ]),
            "invalid archive: c.json",
        ),
        (tar_of(&[("../x", b"{}")]), "\"../x\" is outside"),
        (
            tar_of(&[("a->/etc/passwd", b"")]),
            "\"/etc/passwd\" is outside",
        ),
        (tar_of(&[("a->../b", b"")]), "\"../b\" is outside"),
        (
            tar_of(&[
                ("manifest.json", manifest),
                ("c.json->d.json", b""),
                ("d.json->c.json", b""),
            ]),
            "\"c.json\" leads round in circles",
        ),
        (
            tar_of(&[
                ("l.tar", &layer),
                (
                    "manifest.json",
                    br#"[{"Config":"../../etc/passwd","Layers":[]}]"#,
                ),
            ]),
            "\"../../etc/passwd\" is outside",
        ),
        (
            tar_of(&[
                ("l.tar", &layer),
                ("c.json", &config),
                (
                    "manifest.json",
                    br#"[{"Config":"c.json","Layers":["l.tar","l.tar"]}]"#,
                ),
            ]),
            "layers length mismatch: expected 1, got 2",
        ),
        (
            tar_of(&[
                ("l.tar", &archive(&[("other", b"")])),
                ("c.json", &config),
                ("manifest.json", manifest),
            ]),
            "invalid diffID for layer 0",
        ),
        (
            tar_of(&[
                ("c.json", &config),
                (&wrong, &layer),
                ("manifest.json", wrong_manifest.as_bytes()),
            ]),
            "unpacks to diffID",
        ),
        (tar_of(&[(&wrong, &gzipped(&layer))]), "has digest"),
        (tar_of(&[(&wrong, b"{}")]), "has digest sha256:44136fa355b3"),
        (
            tar_of(&[
                ("l.tar", &layer),
                ("c.json", &config),
                (
                    "manifest.json",
                    br#"[{"Config":"c.json","RepoTags":["BAD"],"Layers":["l.tar"]}]"#,
                ),
            ]),
            "invalid tag \"BAD\"",
        ),
        (
            tar_of(&[
                ("l.tar", &layer),
                ("c.json", &config),
                (
                    "manifest.json",
                    br#"[{"Config":"c.json","RepoTags":["x"],"Layers":["l.tar"]}]"#,
                ),
            ]),
            "invalid tag \"x\"",
        ),
        (
            tar_of(&[
                ("l.tar", &bomb),
                ("c.json", &config),
                ("manifest.json", manifest),
            ]),
            "l",
        ),
    ];
    for (bytes, message) in cases {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let error = load(&store, &bytes).unwrap_err();
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text = format!("{text}: {source}");
        }
        assert!(text.contains(message), "{text} (wanted {message})");
        nothing_left(&store);
        assert!(store.summaries().is_empty());
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Why an archive of entries cannot be loaded; `kind` is that of all its headers.
fn refusal(entries: impl Iterator<Item = (tar::EntryType, String, Vec<u8>)>) -> String {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(0);
        if kind == tar::EntryType::Symlink {
            let target = String::from_utf8(data).unwrap();
            builder.append_link(&mut header, name, target).unwrap();
        } else {
            header.set_size(data.len() as u64);
            builder
                .append_data(&mut header, name, data.as_slice())
                .unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let error = load(&store, &builder.into_inner().unwrap()).unwrap_err();
    nothing_left(&store);
    error.to_string()
}

#[test]
fn names_may_not_fill_the_memory() {
    let long = |length: usize| "n/".repeat(length / 2);
    let link = |name: String| (tar::EntryType::Symlink, name, b"x".to_vec());
    let error = refusal([link(long(4098))].into_iter());
    assert!(error.contains("more than 4096 bytes"), "{error}");
    let links = (0..9000).map(|number| {
        let (kind, name, _) = link(format!("{number}{}", long(4000)));
        (kind, name, long(4000).into_bytes())
    });
    let error = refusal(links);
    assert!(error.contains("documents and names are larger"), "{error}");
}

#[test]
fn documents_may_not_refer_to_each_other_without_end() {
    let kind = tar::EntryType::Regular;
    let index_of = |digest: &str, size: usize| {
        let one = format!(
            r#"{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:{digest}","size":{size}}}"#
        );
        let all = vec![one; 500].join(",");
        format!(r#"{{"schemaVersion":2,"manifests":[{all}]}}"#).into_bytes()
    };
    let mut entries = Vec::new();
    let mut document = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
    for _ in 0..3 {
        let digest = hex(&document);
        let next = index_of(&digest, document.len());
        entries.push((kind, format!("blobs/sha256/{digest}"), document));
        document = next;
    }
    entries.push((kind, "index.json".to_owned(), document));
    let error = refusal(entries.into_iter());
    assert!(error.contains("refer to too many others"), "{error}");
}

#[test]
fn all_images_of_an_archive_are_registered_or_none() {
    let (one, two) = (archive(&[("a", b"1")]), archive(&[("b", b"2")]));
    let (first, second) = (config(&[&one], "amd64"), config(&[&two], "amd64"));
    let manifest = br#"[{"Config":"1.json","RepoTags":["x:1"],"Layers":["1.tar"]},{"Config":"2.json","RepoTags":["x:2"],"Layers":["2.tar"]}]"#;
    let bytes = tar_of(&[
        ("1.tar", &one),
        ("2.tar", &two),
        ("1.json", &first),
        ("2.json", &second),
        ("manifest.json", manifest),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    // The second image's layer is gone.
    let layer = store.import_layer(&mut one.as_slice(), None).unwrap();
    let names: Vec<Reference> = vec!["x:1".parse().unwrap()];
    let of = |config| Registration {
        config,
        names: &names,
        ..Registration::default()
    };
    let error = store.register_all_of(&[of(&first), of(&second)]);
    error.unwrap_err();
    assert!(store.summaries().is_empty());
    drop(layer);
    store.prune_layers().unwrap();
    nothing_left(&store);
    let loaded = load(&store, &bytes).unwrap();
    assert_eq!(loaded.len(), 2);
    assert!(loaded.iter().all(|loaded| loaded.replaced.is_empty()));
    let id = loaded[1].id.clone();
    store.tag(&names[0], &id).unwrap();
    let loaded = load(&store, &bytes).unwrap();
    assert_eq!(loaded[0].replaced, [(names[0].clone(), id)]);
}

#[test]
fn the_last_of_entries_with_one_name_counts() {
    let layer = archive(&[("a", b"1")]);
    let config = config(&[&layer], "amd64");
    let manifest = br#"[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l.tar"]}]"#;
    let other = archive(&[("z", b"2")]);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let bytes = tar_of(&[
        ("c.json", b"{}"),
        ("l.tar", &other),
        ("manifest.json", manifest),
        ("c.json", &config),
        ("l.tar", &layer),
    ]);
    load(&store, &bytes).unwrap();
    assert_eq!(layer_count(&store), 1);
}

#[test]
fn compressed_input_is_recognised() {
    let plain = b"any bytes at all, repeated, repeated, repeated".to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    // Made by xz 5.4: the crate is built without its encoder.
    let xz: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46,
    ];
    for bytes in [
        plain.clone(),
        gzip.finish().unwrap(),
        bzip2.finish().unwrap(),
        zstd::stream::encode_all(plain.as_slice(), 1).unwrap(),
    ] {
        let mut read = Vec::new();
        decompressed(bytes.as_slice())
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, plain);
    }
    assert!(
        decompressed(xz)
            .unwrap()
            .read_to_end(&mut Vec::new())
            .is_err(),
        "it is cut"
    );
    let mut empty = Vec::new();
    decompressed(&b""[..])
        .unwrap()
        .read_to_end(&mut empty)
        .unwrap();
    assert_eq!(empty, b"");
}

#[test]
fn a_pipe_ends_when_either_end_leaves() {
    let (mut writer, mut reader) = pipe();
    let wrote = std::thread::spawn(move || {
        let piece = vec![5; 100_000];
        (0..100)
            .try_for_each(|_| writer.write_all(&piece))
            .and_then(|()| writer.flush())
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    wrote.join().unwrap().unwrap();
    assert_eq!(all.len(), 10_000_000);
    let (mut writer, reader) = pipe();
    drop(reader);
    let error = writer.write_all(&vec![0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    let (writer, mut reader) = pipe();
    writer.fail(std::io::Error::other("half"));
    assert!(reader.read_to_end(&mut all).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    /// A good archive with bytes changed, cut or doubled: an error or an image, and never a leftover.
    #[test]
    fn damaged_archives_do_no_harm(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let (mut bytes, _) = layout(true);
        for (at, value) in &edits {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if edits.len() % 2 == 0 {
            let cut = cut.index(bytes.len());
            bytes.truncate(cut);
        }
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        match load(&store, &bytes) {
            Ok(loaded) => {
                for image in &loaded {
                    store.image(&image.id).unwrap();
                }
            }
            Err(_) => nothing_left(&store),
        }
    }
}

/// Takes bytes, and removes an image before the first of them.
struct Removing<'a>(&'a Store, Vec<u8>);

impl std::io::Write for Removing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.1.is_empty() {
            self.0.remove("a:1", false, &[]).unwrap();
            self.0.prune_layers().unwrap();
        }
        self.1.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_being_saved_stays_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let layers = [archive(&[("a", b"1")]), archive(&[("b", b"2")])];
    let id = image(&store, &[&layers[0], &layers[1]], &["a:1"]);
    let mut out = Removing(&store, Vec::new());
    store.save(&[selected(&id, &["a:1"])], &mut out).unwrap();
    let saved = out.1;
    assert!(store.resolve("a:1").is_err());
    store.prune_layers().unwrap();
    assert_eq!(layer_count(&store), 0);
    assert_eq!(load(&store, &saved).unwrap().len(), 1);
}
