//! `pull`, `images`, `tag`, `rmi`.

use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer};
use hull_tests::setup::with_each_client;
use serde_json::json;

#[test]
fn pulling_tells_layers_digest_and_status() {
    with_each_client(|s| {
        let own = Layer::new()
            .file("own", 0o644, s.registry.host().as_bytes())
            .finish();
        let image = Image::new(
            &[busybox_layer(), own],
            &json!({}),
            Packing::Zstd,
            Family::Oci,
        );
        let (reference, digest) = s.registry.push(s.host, ("team/tool", "v1"), &image);
        let pulled = s.run(&["pull", &reference]);
        let text = pulled.ok();
        let first = text.lines().next().unwrap();
        assert_eq!(first, "v1: Pulling from team/tool");
        assert!(
            text.contains("Pull complete") || text.contains("Already exists"),
            "{text}"
        );
        assert!(text.contains(&format!("Digest: {digest}")), "{text}");
        assert!(
            text.ends_with(&format!(
                "Status: Downloaded newer image for {reference}\n{reference}"
            )),
            "{text}"
        );
        let again = s.run(&["pull", &reference]);
        assert!(
            again
                .ok()
                .contains(&format!("Status: Image is up to date for {reference}")),
            "{again:?}"
        );
        let by_digest = format!("{}/team/tool@{digest}", s.registry.host());
        assert!(
            s.run(&["pull", &by_digest])
                .ok()
                .contains("Image is up to date")
        );
    });
}

#[test]
fn what_the_registry_lacks_is_said_as_docker_says_it() {
    with_each_client(|s| {
        let host = s.registry.host();
        let tag = s.run(&["pull", &format!("{host}/busybox:nosuch")]);
        assert!(tag.fails(1).contains("manifest unknown"), "{tag:?}");
        let repository = s.run(&["pull", &format!("{host}/nosuch:1")]);
        assert_eq!(repository.code, 1, "{repository:?}");
        let nobody = s.line("pull 127.0.0.1:1/a:b");
        assert!(nobody.fails(1).contains("connection refused"), "{nobody:?}");
        let format = s.line("pull 127.0.0.1:5000/UPPER");
        assert!(
            format.fails(1).contains("invalid reference format"),
            "{format:?}"
        );
    });
}

#[test]
fn tags_come_and_go_and_used_images_stay() {
    with_each_client(|s| {
        let ambiguous = s.line("tag busybox sha256:1");
        assert!(
            ambiguous
                .fails(1)
                .contains("refusing to create an ambiguous tag using digest algorithm as name"),
            "{ambiguous:?}"
        );
        let history = s.line("history --format {{.CreatedSince}}|{{.Size}} busybox");
        for step in history.ok().lines() {
            assert!(step.contains(" ago|") && step.ends_with('B'), "{step}");
        }
        let id = s.line("images -q --no-trunc busybox").ok().to_owned();
        assert!(id.starts_with("sha256:"));
        let _ = s.line("tag busybox other:v2").ok();
        assert_eq!(
            s.line("images --format {{.Repository}}:{{.Tag}} other")
                .ok(),
            "other:v2"
        );
        assert_eq!(s.line("rmi other:v2").ok(), "Untagged: other:v2");
        let _ = s.line("run --name user busybox true");
        let short = id.trim_start_matches("sha256:")[..12].to_owned();
        let refused = s.run(&["rmi", &short]);
        assert!(refused.fails(1).contains("conflict"), "{refused:?}");
        let shown = |name: &str| {
            let filter = format!("name={name}");
            let list = ["ps", "-a", "--format", "{{.Image}}", "-f", &filter];
            s.run(&list).ok().to_owned()
        };
        let _ = s.line("tag busybox moved").ok();
        let _ = s.line("create --name mover moved").ok();
        assert_eq!(
            (shown("user"), shown("mover")),
            ("busybox".to_owned(), "moved".to_owned())
        );
        // A name that is gone is not the container's image any more.
        let _ = s.line("rmi -f moved").ok();
        assert_eq!(shown("mover"), short);
        let _ = s.line("rm user mover").ok();
        let removed = s.run(&["rmi", "-f", &short]);
        assert!(
            removed.ok().contains(&format!("Deleted: {id}")),
            "{removed:?}"
        );
        assert_eq!(s.line("images -q busybox").ok(), "");
        assert!(
            s.line("rmi busybox")
                .fails(1)
                .contains("No such image: busybox")
        );
    });
}

#[test]
fn layers_hide_and_replace_what_is_below() {
    with_each_client(|s| {
        let lower = Layer::new()
            .directory("d", 0o755)
            .file("d/gone", 0o644, b"x")
            .file("d/kept", 0o644, b"kept")
            .directory("o", 0o755)
            .file("o/hidden", 0o644, b"x")
            .file("f", 0o644, b"old")
            .finish();
        let upper = Layer::new()
            .directory("d", 0o755)
            .file("d/.wh.gone", 0o644, b"")
            .directory("o", 0o755)
            .file("o/.wh..wh..opq", 0o644, b"")
            .file("o/new", 0o644, b"new")
            .file("f", 0o4755, b"new")
            .entry("f2", tar::EntryType::Link, 0o4755, Some("f"), &[])
            .finish();
        let image = Image::new(
            &[busybox_layer(), lower, upper],
            &json!({}),
            Packing::Gzip,
            Family::Oci,
        );
        let (reference, _) = s.registry.push(s.host, ("layered", "1"), &image);
        let _ = s.run(&["pull", "-q", &reference]).ok();
        let shown = s.run(&[
            "run",
            "--rm",
            &reference,
            "sh",
            "-c",
            "ls d o; cat f; stat -c '%a %h' /f2",
        ]);
        let words: Vec<&str> = shown.ok().split_whitespace().collect();
        assert_eq!(words, ["d:", "kept", "o:", "new", "new4755", "2"]);
    });
}

#[test]
fn any_number_of_layers_is_mounted() {
    with_each_client(|s| {
        let mut layers = vec![busybox_layer()];
        for number in 0..120 {
            layers.push(
                Layer::new()
                    .directory("n", 0o755)
                    .file(&format!("n/{number}"), 0o644, b"")
                    .finish(),
            );
        }
        let image = Image::new(&layers, &json!({}), Packing::Plain, Family::Oci);
        let (reference, _) = s.registry.push(s.host, ("many", "1"), &image);
        let _ = s.run(&["pull", "-q", &reference]).ok();
        assert_eq!(
            s.run(&["run", "--rm", &reference, "sh", "-c", "ls /n | wc -l"])
                .ok(),
            "120"
        );
    });
}
