//! Images for several platforms: `pull --platform`, `images --tree`, `inspect`, `history` and `rmi` with a
//! platform, and what is no image.

use hull_spec::Platform;
use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer, descriptor, index};
use hull_tests::registry::{push_blob, push_manifest};
use hull_tests::setup::{Setup, with_each_client};
use serde_json::{Value, json};

/// An architecture that is not this machine's.
fn other() -> &'static str {
    match Platform::host().architecture.as_str() {
        "s390x" => "riscv64",
        _ => "s390x",
    }
}

/// An image of this machine's platform and of another.
fn both() -> [(String, Image); 2] {
    let host = Platform::host().architecture;
    [other().to_owned(), host].map(|architecture| {
        let own = Layer::new()
            .file("platform", 0o644, architecture.as_bytes())
            .finish();
        let layers = [busybox_layer(), own];
        let config = json!({"Cmd": ["cat", "/platform"]});
        let kind = (Packing::Gzip, Family::Oci);
        let image = Image::of(&architecture, &layers, &config, kind);
        (architecture, image)
    })
}

/// Pushes them below one tag.
fn push(s: &Setup<'_>, images: &[(String, Image); 2]) -> (String, String) {
    let entries: Vec<_> = images
        .iter()
        .map(|(name, image)| (name.as_str(), image))
        .collect();
    let (kind, bytes) = index(&entries);
    let digest = s.host.within(|| {
        let address = s.registry.address();
        for (architecture, image) in images {
            for blob in image.blobs() {
                push_blob(address, "several", blob);
            }
            let manifest = (image.media_type(), image.manifest());
            push_manifest(address, "several", architecture, manifest);
        }
        push_manifest(address, "several", "1", (kind, &bytes))
    });
    let reference = format!("{}/several:1", s.registry.host());
    (reference, digest.to_string())
}

fn api(s: &Setup<'_>, target: &str) -> Value {
    let reply = s.daemon.get(target);
    assert_eq!(reply.status, 200, "{target}: {reply:?}");
    reply.json()
}

fn id(s: &Setup<'_>, name: &str) -> String {
    s.run(&["image", "inspect", "-f", "{{.Id}}", name])
        .ok()
        .to_owned()
}

#[test]
fn platforms_of_a_tag_live_side_by_side() {
    with_each_client(|s| {
        let images = both();
        let [(_, foreign), (host, own)] = &images;
        let (reference, digest) = push(s, &images);
        let platform = format!("linux/{}", other());
        let pulled = s.run(&["pull", "--platform", &platform, &reference]);
        assert!(
            pulled.ok().contains(&format!("Digest: {digest}")),
            "{pulled:?}"
        );
        assert_eq!(id(s, &reference), foreign.id().to_string());
        let created = s.run(&["create", "--name", "foreign", &reference]);
        let warning = format!("platform ({platform}) does not match the detected host platform");
        assert!(created.stderr.contains(&warning), "{created:?}");
        let _ = s.line("rm foreign").ok();
        let again = s.run(&["pull", &reference]);
        assert!(
            again.ok().contains("Status: Downloaded newer image"),
            "{again:?}"
        );
        assert_eq!(id(s, &reference), own.id().to_string());
        let ran = s.run(&["run", "--rm", &reference]);
        assert_eq!(ran.ok(), host, "{ran:?}");
        let known = s.run(&["pull", "--platform", &platform, &reference]);
        assert!(known.ok().contains("Image is up to date"), "{known:?}");

        listed_and_removed(s, &images, (&reference, &digest));
    });
}

/// One row for the name in lists, platforms when asked for, and they go one by one.
fn listed_and_removed(s: &Setup<'_>, images: &[(String, Image); 2], name: (&str, &str)) {
    let [(_, foreign), (host, own)] = images;
    let (reference, digest) = name;
    let platform = format!("linux/{}", other());
    let listed = s.run(&["images", "-q", "--no-trunc", reference]);
    assert_eq!(listed.ok(), own.id().to_string(), "one row for a name");
    let listed = api(s, "/v1.51/images/json?manifests=1");
    let row = listed
        .as_array()
        .expect("the answer has it")
        .iter()
        .find(|row| row["RepoTags"][0] == reference);
    let row = row.expect("the answer has it");
    assert_eq!(row["Descriptor"]["digest"], digest);
    assert_eq!(
        row["RepoDigests"],
        json!([format!("{}@{digest}", reference.trim_end_matches(":1"))])
    );
    let manifests = row["Manifests"].as_array().expect("the answer has it");
    assert!(manifests.len() == 2 && manifests.iter().all(|m| m["Available"] == true));
    assert_eq!(
        manifests[0]["ImageData"]["Platform"]["architecture"],
        other()
    );
    let tree = s.run(&["images", "--tree", reference]);
    assert!(tree.ok().contains(&format!("├─ {platform} ")), "{tree:?}");
    // The manifest's digest, which the tree shows, is as good as an id.
    let manifest = manifests[0]["ID"].as_str().expect("the answer has it");
    assert_eq!(
        id(s, &manifest["sha256:".len()..][..12]),
        foreign.id().to_string()
    );

    let missing = s.run(&["history", "--platform", "linux/mips64le", reference]);
    let text = format!(
        "image with reference {reference} was found but its platform (linux/{host}) does not match the specified platform (linux/mips64le)"
    );
    if !missing.stderr.contains("unknown flag") {
        assert!(missing.fails(1).contains(&text), "{missing:?}");
    }
    let one = s.daemon.ask("DELETE", &format!(
            "/v1.51/images/{reference}?platforms=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22{host}%22%7D"
        ), &[]);
    assert_eq!(one.json()[0]["Deleted"], own.id().to_string(), "{one:?}");
    assert_eq!(id(s, reference), foreign.id().to_string());
    let rest = s.run(&["rmi", reference]);
    assert!(
        rest.ok().contains(&format!("Deleted: {}", foreign.id())),
        "{rest:?}"
    );
}

#[test]
fn what_is_no_image_is_refused_in_dockerds_words() {
    with_each_client(|s| {
        let address = s.registry.address();
        let oci = "application/vnd.oci.image.manifest.v1+json";
        let artifact = |tag: &str, config: &str, layer: &str| {
            let manifest = json!({
                "schemaVersion": 2, "mediaType": oci,
                "config": descriptor(config, b"{}"), "layers": [descriptor(layer, b"{}")],
            });
            let manifest = serde_json::to_vec(&manifest).expect("the answer has it");
            s.host.within(|| {
                push_blob(address, "artifact", b"{}");
                push_manifest(address, "artifact", tag, (oci, &manifest));
            });
            s.run(&["pull", &format!("{}/artifact:{tag}", s.registry.host())])
        };
        let helm = "application/vnd.cncf.helm.config.v1+json";
        let refused = artifact("helm", helm, "application/vnd.oci.image.layer.v1.tar");
        assert!(
            refused
                .fails(1)
                .contains(&format!("unsupported media type {helm}")),
            "{refused:?}"
        );
        let refused = artifact(
            "text",
            "application/vnd.oci.image.config.v1+json",
            "text/plain",
        );
        assert!(
            refused
                .fails(1)
                .contains("unsupported media type text/plain"),
            "{refused:?}"
        );
        let nowhere = s.line("pull --platform linux/ busybox");
        assert!(
            nowhere.fails(1).contains("is an invalid component of"),
            "{nowhere:?}"
        );
        let images = both();
        let (reference, _) = push(s, &images);
        let none = s.run(&["pull", "--platform", "linux/mips64le", &reference]);
        let text = "no matching manifest for linux/mips64le in the manifest list entries";
        assert!(none.fails(1).contains(text), "{none:?}");
    });
}

#[test]
fn lists_are_filtered_as_by_dockerd() {
    with_each_client(|s| {
        let layer = Layer::new().file("f", 0o644, b"f").finish();
        let config = json!({"Labels": {"of": "test", "empty": ""}});
        let image = Image::new(&[layer], &config, Packing::Gzip, Family::Oci);
        let (reference, digest) = s.registry.push(s.host, ("filtered", "1"), &image);
        let _ = s.run(&["pull", "-q", &reference]).ok();
        let names = |filter: &str| {
            let run = s.run(&[
                "images",
                "--format",
                "{{.Repository}}:{{.Tag}}",
                "-f",
                filter,
            ]);
            let mut names: Vec<String> = run.ok().lines().map(str::to_owned).collect();
            names.sort();
            names
        };
        let only = vec![reference.clone()];
        for filter in [
            "label=of=test",
            "label=empty",
            "reference=*/filtered",
            "reference=*/filter[a-f]d:1",
        ] {
            assert_eq!(names(filter), only, "{filter}");
        }
        for filter in [
            "label=of=x",
            "reference=filtered",
            "dangling=true",
            "until=2020-01-01",
        ] {
            assert!(names(filter).is_empty(), "{filter}");
        }
        assert!(names("until=1h").contains(&reference));
        for (filter, text) in [
            ("dangling=maybe", "invalid filter 'dangling=[maybe]'"),
            (
                "until=x",
                "failed to parse value as time or duration: \"x\"",
            ),
            ("reference=[a", "syntax error in pattern"),
            ("before=nosuch", "No such image: nosuch:latest"),
            ("is-official=true", "invalid filter 'is-official'"),
        ] {
            let refused = s.run(&["images", "-f", filter]);
            assert!(refused.fails(1).contains(text), "{refused:?}");
        }
        counted(s, &reference, &digest.to_string());
    });
}

fn counted(s: &Setup<'_>, reference: &str, digest: &str) {
    let by_digest = format!("{}@{digest}", reference.trim_end_matches(":1"));
    let listed = api(s, "/v1.51/images/json?shared-size=1");
    let row = listed
        .as_array()
        .expect("the answer has it")
        .iter()
        .find(|row| row["RepoTags"][0] == reference);
    let row = row.expect("the answer has it");
    assert_eq!(
        (&row["SharedSize"], &row["Containers"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(row["RepoDigests"], json!([by_digest]));
    let bad = s
        .daemon
        .get(&format!("/v1.51/images/{reference}/json?platform=linux"));
    assert_eq!(bad.status, 400);
    assert!(bad.text().contains(
        "failed to parse platform: invalid character 'l' looking for beginning of value"
    ));
}
