//! Layers that try to write outside, or to fill the disk.

use hull_tests::client::Client;
use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer};
use hull_tests::setup::with;
use serde_json::json;
use tar::EntryType::{Link, Regular, Symlink};

#[test]
fn nothing_is_written_outside_the_layer() {
    with(Client::Hull, |s| {
        let outside = s.daemon.path("outside");
        fs_err::create_dir(&outside).unwrap();
        fs_err::write(outside.join("file"), "untouched").unwrap();
        let target = outside.to_str().unwrap();
        let file = format!("{target}/file");
        let up = format!("../../../../../../../..{target}/dotdot");
        let layers = [
            Layer::new().entry(&up, Regular, 0o644, None, b"x"),
            Layer::new().entry(&format!("{target}/absolute"), Regular, 0o644, None, b"x"),
            Layer::new()
                .entry("link", Symlink, 0o777, Some(target), b"")
                .entry("link/through", Regular, 0o644, None, b"x"),
            Layer::new()
                .entry("link", Symlink, 0o777, Some(&file), b"")
                .entry("link", Regular, 0o644, None, b"x"),
            Layer::new().entry(
                "hard",
                Link,
                0o644,
                Some(&format!("../../../../../../../..{file}")),
                b"",
            ),
            Layer::new()
                .entry("link", Symlink, 0o777, Some(target), b"")
                .entry("hard", Link, 0o644, Some("link/file"), b""),
            Layer::new()
                .entry("link", Symlink, 0o777, Some(target), b"")
                .entry("link/.wh.file", Regular, 0o644, None, b""),
        ];
        for (number, layer) in layers.into_iter().enumerate() {
            let image = Image::new(
                &[busybox_layer(), layer.finish()],
                &json!({}),
                Packing::Gzip,
                Family::Oci,
            );
            let (reference, _) = s
                .registry
                .push(s.host, ("hostile", &number.to_string()), &image);
            let pulled = s.run(&["pull", "-q", &reference]);
            if pulled.code == 0 {
                // What is not refused must have stayed inside.
                let _ = s.run(&["run", "--rm", "--network", "none", &reference, "true"]);
            }
            let mut names: Vec<_> = fs_err::read_dir(&outside)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            assert_eq!(names, ["file"], "layer {number}: {pulled:?}");
            assert_eq!(
                fs_err::read_to_string(outside.join("file")).unwrap(),
                "untouched",
                "layer {number}"
            );
        }
        let _ = s.line("run --rm --network none busybox true").ok();
    });
}

#[test]
fn a_layer_that_is_not_what_the_config_says_is_refused() {
    with(Client::Hull, |s| {
        // A layer that is not in the store yet: one that is would not be fetched.
        let layer = Layer::new().file("honest", 0o644, b"honest").finish();
        let honest = Image::new(&[layer], &json!({}), Packing::Gzip, Family::Oci);
        let other =
            hull_tests::image::pack(&Layer::new().file("a", 0o644, b"").finish(), Packing::Gzip);
        let mut manifest: serde_json::Value = serde_json::from_slice(honest.manifest()).unwrap();
        manifest["layers"][0] =
            hull_tests::image::descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &other);
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let host = s.registry.address();
        s.host.within(|| {
            hull_tests::registry::push_blob(host, "swapped", &other);
            hull_tests::registry::push_blob(host, "swapped", honest.blobs().last().unwrap());
            hull_tests::registry::push_manifest(
                host,
                "swapped",
                "1",
                (honest.media_type(), &bytes),
            );
        });
        let pulled = s.run(&["pull", "-q", &format!("{host}/swapped:1")]);
        assert_eq!(pulled.code, 1, "{pulled:?}");
    });
}

#[test]
fn a_bomb_is_refused() {
    with(Client::Hull, |s| {
        // Two gigabytes of zeros in two megabytes of gzip, behind a header that admits to it.
        let mut header = tar::Header::new_gnu();
        let size = 2_u64 << 30;
        header.set_path("bomb").unwrap();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, header.as_bytes()).unwrap();
        std::io::copy(
            &mut std::io::Read::take(std::io::repeat(0), size + 1024),
            &mut gzip,
        )
        .unwrap();
        let blob = gzip.finish().unwrap();
        let config = serde_json::to_vec(&json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [hull_tests::image::digest(b"unknown").to_string()]}})).unwrap();
        let manifest = serde_json::to_vec(&json!({"schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": hull_tests::image::descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [hull_tests::image::descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &blob)]})).unwrap();
        let host = s.registry.address();
        s.host.within(|| {
            hull_tests::registry::push_blob(host, "bomb", &blob);
            hull_tests::registry::push_blob(host, "bomb", &config);
            hull_tests::registry::push_manifest(
                host,
                "bomb",
                "1",
                ("application/vnd.oci.image.manifest.v1+json", &manifest),
            );
        });
        let pulled = s.run(&["pull", "-q", &format!("{host}/bomb:1")]);
        assert_eq!(pulled.code, 1, "{pulled:?}");
        assert!(
            s.run(&["images", "-q", &format!("{host}/bomb")])
                .ok()
                .is_empty()
        );
    });
}
