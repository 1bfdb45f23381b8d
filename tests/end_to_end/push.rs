//! `push`, `pull --all-tags`, and what a registry says of an image.

use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer};
use hull_tests::setup::{Setup, with_each_client};
use serde_json::{Value, json};

fn pushed(s: &Setup<'_>, packing: Packing, family: Family, name: &str) -> (String, String) {
    let own = Layer::new()
        .file("own", 0o644, s.registry.host().as_bytes())
        .finish();
    let image = Image::new(&[busybox_layer(), own], &json!({}), packing, family);
    let (reference, digest) = s.registry.push(s.host, (name, "v1"), &image);
    (reference, digest.to_string())
}

fn manifest(s: &Setup<'_>, repository: &str, tag: &str) -> Value {
    let (status, body) = s
        .registry
        .get(s.host, &format!("/v2/{repository}/manifests/{tag}"));
    assert_eq!(status, 200, "{repository}:{tag}");
    serde_json::from_slice(&body).expect("a manifest is JSON")
}

#[test]
fn a_pulled_image_keeps_its_digest_and_its_layers_are_mounted() {
    with_each_client(|s| {
        for (packing, family, name) in [
            (Packing::Gzip, Family::Docker, "push/docker"),
            (Packing::Zstd, Family::Oci, "push/oci"),
        ] {
            let (reference, digest) = pushed(s, packing, family, name);
            let _ = s.run(&["pull", "-q", &reference]).ok();
            let other = format!("{}/{name}-copy:v2", s.registry.host());
            let _ = s.run(&["tag", &reference, &other]).ok();
            let text = s.run(&["push", &other]);
            let text = text.ok();
            let repository = other.trim_end_matches(":v2");
            assert!(
                text.starts_with(&format!("The push refers to repository [{repository}]\n")),
                "{text}"
            );
            assert_eq!(text.matches("Preparing").count(), 2, "{text}");
            assert!(text.contains(&format!("Mounted from {name}")), "{text}");
            assert!(
                text.contains(&format!("v2: digest: {digest} size: ")),
                "{text}"
            );
            let again = s.run(&["push", &other]);
            assert_eq!(
                again.ok().matches("Layer already exists").count(),
                2,
                "{again:?}"
            );
            assert_eq!(s.run(&["push", "-q", &other]).ok(), other);
            let digests = s.run(&["inspect", "-f", "{{json .RepoDigests}}", &other]);
            assert!(
                digests.ok().contains(&format!("{repository}@{digest}")),
                "{digests:?}"
            );
        }
    });
}

#[test]
fn a_new_registry_gets_everything_and_other_forms_on_request() {
    with_each_client(|s| {
        let (reference, digest) = pushed(s, Packing::Gzip, Family::Docker, "push/all");
        let _ = s.run(&["pull", "-q", &reference]).ok();
        let second = hull_tests::registry::Registry::start(s.host);
        let name = format!("{}/somewhere/else", second.host());
        for tag in ["1", "2"] {
            let _ = s.run(&["tag", &reference, &format!("{name}:{tag}")]).ok();
        }
        let all = s.run(&["push", "--all-tags", &name]);
        let text = all.ok();
        for tag in ["1", "2"] {
            assert!(
                text.contains(&format!("{tag}: digest: {digest} size: ")),
                "{text}"
            );
        }
        assert!(text.contains(": Pushed"), "{text}");
        // Everything is really there: it comes back into an empty store.
        for tag in ["1", "2"] {
            let _ = s.run(&["rmi", &format!("{name}:{tag}")]).ok();
        }
        let _ = s.run(&["rmi", &reference]).ok();
        let pulled = s.run(&["pull", "--all-tags", &name]);
        let text = pulled.ok();
        assert!(text.contains("1: Pulling from somewhere/else"), "{text}");
        assert!(text.contains("2: Pulling from somewhere/else"), "{text}");
        assert!(
            text.contains(&format!(
                "Status: Downloaded newer image for {name}\n{name}"
            )),
            "{text}"
        );
        let run = s.run(&["run", "--rm", &format!("{name}:2"), "cat", "/own"]);
        assert_eq!(run.ok(), s.registry.host());
        if s.client.is_own() {
            let _ = s
                .run(&["push", "--compression", "zstd", &format!("{name}:1")])
                .ok();
            let (status, body) = second.get(s.host, "/v2/somewhere/else/manifests/1");
            assert_eq!(status, 200);
            let manifest: Value = serde_json::from_slice(&body).unwrap();
            let kind = manifest["layers"][0]["mediaType"].as_str().unwrap();
            assert!(kind.ends_with("tar+zstd"), "{manifest}");
            let _ = s
                .run(&["rmi", "-f", &format!("{name}:1"), &format!("{name}:2")])
                .ok();
            let run = s.run(&["run", "--rm", &format!("{name}:1"), "cat", "/own"]);
            assert_eq!(run.stdout.trim(), s.registry.host(), "{run:?}");
        }
    });
}

#[test]
fn what_cannot_be_pushed_is_said_as_dockerd_says_it() {
    with_each_client(|s| {
        let nothing = s.line("push nosuch");
        assert!(
            nothing
                .fails(1)
                .contains("An image does not exist locally with the tag: nosuch"),
            "{nothing:?}"
        );
        let host = s.registry.host();
        let tag = s.run(&["push", &format!("{host}/busybox:nosuch")]);
        assert!(
            tag.fails(1)
                .contains(&format!("tag does not exist: {host}/busybox:nosuch")),
            "{tag:?}"
        );
        let both = s.run(&["push", "-a", &format!("{host}/busybox:latest")]);
        assert!(
            both.fails(1)
                .contains("tag can't be used with --all-tags/-a"),
            "{both:?}"
        );
        let _ = s.line("tag busybox 127.0.0.1:1/a:b").ok();
        let nobody = s.line("push 127.0.0.1:1/a:b");
        assert!(nobody.fails(1).contains("connection refused"), "{nobody:?}");
    });
}

#[test]
fn a_registry_is_asked_without_pulling() {
    with_each_client(|s| {
        let (reference, digest) = pushed(s, Packing::Gzip, Family::Docker, "push/asked");
        let reply = s.daemon.get(&format!("/distribution/{reference}/json"));
        assert_eq!(reply.status, 200, "{reply:?}");
        let found = reply.json();
        assert_eq!(found["Descriptor"]["digest"], digest.as_str());
        assert_eq!(found["Platforms"][0]["os"], "linux");
        let host = s.registry.host();
        let missing = s.daemon.get(&format!("/distribution/{host}/nope:9/json"));
        assert_eq!(missing.status, 404, "{missing:?}");
        assert_eq!(
            missing.json()["message"],
            "manifest unknown: manifest unknown"
        );
        let unpushed = manifest(s, "push/asked", "v1");
        assert_eq!(unpushed["schemaVersion"], 2);
    });
}

#[test]
fn an_index_is_pushed_whole_or_with_a_note() {
    with_each_client(|s| {
        let host = s.registry.host();
        let layer = Layer::new().file("host", 0o644, host.as_bytes()).finish();
        let kind = "application/vnd.oci.image.index.v1+json";
        let mut manifests = Vec::new();
        for architecture in ["amd64", "s390x"] {
            let labels = json!({"Labels": {"architecture": architecture}});
            let layers = [layer.clone()];
            let image = Image::new(&layers, &labels, Packing::Gzip, Family::Oci);
            let _ = s
                .registry
                .push(s.host, ("push/parts", architecture), &image);
            let mut entry = hull_tests::image::descriptor(image.media_type(), image.manifest());
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            manifests.push(entry);
        }
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
        let bytes = index.to_string().into_bytes();
        let digest = s.host.within(|| {
            let whole = (kind, bytes.as_slice());
            hull_tests::registry::push_manifest(s.registry.address(), "push/parts", "all", whole)
        });
        let all = format!("{host}/push/parts:all");
        let _ = s.run(&["pull", "-q", &all]).ok();
        // Back to where the other platform is: the index goes whole.
        let again = format!("{host}/push/parts:again");
        let _ = s.run(&["tag", &all, &again]).ok();
        let pushed = s.run(&["push", &again]);
        let line = format!("again: digest: {digest} size: {}", bytes.len());
        assert!(pushed.ok().contains(&line), "{pushed:?}");
        assert_eq!(manifest(s, "push/parts", "again"), index);
        if s.client.is_own() {
            let same = s.run(&["push", "--compression", "gzip", &again]);
            assert!(same.ok().contains(&line), "{same:?}");
            let other = s.run(&["push", "--compression", "zstd", &again]);
            assert!(
                other.fails(1).contains("push one platform with --platform"),
                "{other:?}"
            );
            assert_eq!(manifest(s, "push/parts", "again"), index);
        }
        // Elsewhere it is not: one platform goes, and that is said.
        let second = hull_tests::registry::Registry::start(s.host);
        let elsewhere = format!("{}/parts:1", second.host());
        let _ = s.run(&["tag", &all, &elsewhere]).ok();
        let pushed = s.run(&["push", &elsewhere]);
        let own = manifests[0]["digest"].as_str().expect("a digest");
        assert!(
            pushed.ok().contains(&format!("1: digest: {own} size: ")),
            "{pushed:?}"
        );
        assert!(
            pushed
                .stdout
                .contains("only the available single-platform image was pushed"),
            "{pushed:?}"
        );
    });
}

#[test]
fn a_guarded_registry_wants_a_user_and_layers_that_are_not_kept_are_compressed() {
    with_each_client(|s| {
        let guarded = s.registry.guarded(s.host);
        let image = format!("{}/push/guarded:1", guarded.host());
        let _ = s.run(&["tag", "busybox", &image]).ok();
        let anonymous = s.run(&["push", &image]);
        assert!(
            anonymous.fails(1).contains("no basic auth credentials"),
            "{anonymous:?}"
        );
        let host = guarded.host();
        let login = ["login", "-u", "alice", "--password-stdin", host.as_str()];
        let _ = s.client.feed(&s.daemon, &login, b"secret\n").ok();
        assert!(s.run(&["push", &image]).ok().contains("1: digest: sha256:"));
        if !s.client.is_own() {
            return;
        }
        // Nothing compressed is kept by this daemon: what it pushes was compressed by it.
        let other = hull_tests::daemon::Daemon::start(s.host, &["--keep-compressed-layers=false"]);
        let run = |arguments: &[&str]| s.client.run(&other, arguments);
        let (reference, _) = pushed(s, Packing::Zstd, Family::Oci, "push/dropped");
        let _ = run(&["pull", "-q", &reference]).ok();
        let second = hull_tests::registry::Registry::start(s.host);
        let copy = format!("{}/copy:1", second.host());
        let _ = run(&["tag", &reference, &copy]).ok();
        assert!(run(&["push", &copy]).ok().contains(": Pushed"));
        let (_, body) = second.get(s.host, "/v2/copy/manifests/1");
        let found: Value = serde_json::from_slice(&body).expect("a manifest is JSON");
        assert_eq!(
            found["layers"][0]["mediaType"],
            "application/vnd.oci.image.layer.v1.tar+gzip"
        );
        let _ = s.run(&["run", "--rm", &copy, "cat", "/own"]).ok();
    });
}
