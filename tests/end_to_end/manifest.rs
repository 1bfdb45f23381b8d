//! `manifest`. Docker's own client asks registries itself and sees none on the test's host: only Hull's.

use hull_tests::client::Client;
use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer};
use hull_tests::setup::{Setup, with};
use serde_json::{Value, json};

fn with_hull(test: impl Fn(&mut Setup<'_>)) {
    if hull_tests::host::reference().is_none() {
        with(Client::Hull, test);
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn image(name: &str) -> Image {
    let own = Layer::new().file("name", 0o644, name.as_bytes()).finish();
    Image::new(
        &[busybox_layer(), own],
        &json!({}),
        Packing::Gzip,
        Family::Docker,
    )
}

#[test]
fn an_index_is_put_together_pushed_and_pulled() {
    with_hull(|s| {
        let (one, first) = s.registry.push(s.host, ("team/one", "1"), &image("one"));
        let (two, second) = s.registry.push(s.host, ("team/two", "1"), &image("two"));
        let server = s.registry.host();
        let list = format!("{server}/team/list:1");
        let created = s.run(&["manifest", "create", &list, &one]);
        assert_eq!(created.ok(), format!("Created manifest list {list}"));
        let _ = s.run(&["manifest", "create", "--amend", &list, &two]).ok();
        let other = match std::env::consts::ARCH {
            "aarch64" => "s390x",
            _ => "arm64",
        };
        let arch = format!("--arch={other}");
        let _ = s
            .run(&["manifest", "annotate", &arch, "--variant=v8", &list, &two])
            .ok();
        let shown = parse(s.run(&["manifest", "inspect", &list]).ok());
        assert_eq!(shown["manifests"][1]["digest"], second.as_str());
        assert_eq!(shown["manifests"][1]["platform"]["variant"], "v8");
        let member = parse(s.run(&["manifest", "inspect", "-v", &list, &two]).ok());
        assert_eq!(member["Descriptor"]["platform"]["architecture"], other);

        let pushed = s.run(&["manifest", "push", "--purge", &list]);
        let lines: Vec<&str> = pushed.ok().lines().collect();
        assert_eq!(
            lines[0],
            format!("Pushed ref {server}/team/list@{first} with digest: {first}")
        );
        assert_eq!((lines.len(), &lines[2][..7]), (3, "sha256:"));
        assert!(
            s.run(&["manifest", "rm", &list])
                .fails(1)
                .contains("No such manifest")
        );
        let remote = parse(s.run(&["manifest", "inspect", &list]).ok());
        assert_eq!(remote, shown);
        let verbose = parse(s.run(&["manifest", "inspect", "-v", &list]).ok());
        assert_eq!(verbose[0]["SchemaV2Manifest"]["schemaVersion"], 2);
        assert_eq!(verbose[1]["Descriptor"]["platform"]["variant"], "v8");
        // The index is whole: its blobs are in the new repository.
        let name = s.run(&["run", "--rm", &list, "cat", "/name"]);
        assert_eq!(name.ok(), "one");
    });
}

#[test]
fn mistakes_are_told_as_by_docker() {
    with_hull(|s| {
        let (one, _) = s.registry.push(s.host, ("team/one", "1"), &image("one"));
        let server = s.registry.host();
        let list = format!("{server}/team/list:1");
        let missing = s.run(&[
            "manifest",
            "create",
            &list,
            &one,
            &format!("{server}/team/none:1"),
        ]);
        assert_eq!(
            missing.fails(1),
            format!("no such manifest: {server}/team/none:1\n")
        );
        assert_eq!(
            s.run(&["manifest", "push", &list]).fails(1),
            format!("No such manifest: {list}\n")
        );
        let _ = s.run(&["manifest", "create", &list, &one]).ok();
        let again = s.run(&["manifest", "create", &list, &one]);
        assert!(again.fails(1).contains("refusing to amend"), "{again:?}");
        let odd = s.run(&["manifest", "annotate", "--arch=odd", &list, &one]);
        assert!(
            odd.fails(1).contains("unsupported os/arch combination"),
            "{odd:?}"
        );
        let other = format!("{server}/team/none:1");
        let none = s.run(&["manifest", "annotate", "--arch=arm64", &list, &other]);
        assert!(none.fails(1).contains("does not exist in"), "{none:?}");
    });
}

#[test]
fn an_index_is_not_made_of_other_registries_and_needs_the_users_word() {
    with_hull(|s| {
        let (one, _) = s.registry.push(s.host, ("one", "1"), &image("one"));
        let guarded = s.registry.guarded(s.host);
        let server = guarded.host();
        let list = format!("{server}/list:1");
        let _ = s.run(&["manifest", "create", &list, &one]).ok();
        let login = ["login", "-u", "alice", "--password-stdin", server.as_str()];
        let _ = s.client.feed(&s.daemon, &login, b"secret").ok();
        let refused = s.run(&["manifest", "push", &list]);
        assert!(
            refused.fails(1).contains("from a different registry"),
            "{refused:?}"
        );
        let _ = s.run(&["manifest", "rm", &list]).ok();
        let own = format!("{server}/one:1");
        let _ = s.run(&["manifest", "create", &list, &own]).ok();
        let _ = s.run(&["manifest", "push", &list]).ok();
        let _ = s.run(&["logout", &server]).ok();
        let nobody = s.run(&["manifest", "push", &list]);
        assert!(
            nobody.fails(1).contains("no basic auth credentials"),
            "{nobody:?}"
        );
    });
}
