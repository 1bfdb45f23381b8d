//! `save`, `load`, `import`, `export`, `commit`, `diff`.

use hull_tests::client::Client;
use hull_tests::command::{self, Finished};
use hull_tests::setup::{Setup, with_each_client};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A directory for archives.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("hull-test-")
        .tempdir()
        .expect("test data")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn entries(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs_err::File::open(path).expect("test data"));
    let entries = archive.entries().expect("test data");
    entries
        .map(|entry| {
            let mut entry = entry.expect("test data");
            let mut data = Vec::new();
            entry.read_to_end(&mut data).expect("test data");
            (
                String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
                data,
            )
        })
        .collect()
}

fn names(path: &Path) -> Vec<String> {
    entries(path).into_iter().map(|(name, _)| name).collect()
}

/// Runs a command with a file on its standard input.
fn fed(s: &Setup<'_>, arguments: &[&str], input: &Path) -> Finished {
    let input = fs_err::read(input).expect("test data");
    command::run(s.client.command(&s.daemon).args(arguments), &input)
}

fn id_of(s: &Setup<'_>, image: &str) -> String {
    let id = s.run(&["image", "inspect", "-f", "{{.Id}}", image]);
    id.ok().to_owned()
}

fn layers(s: &Setup<'_>, image: &str) -> usize {
    let count = s.run(&["image", "inspect", "-f", "{{len .RootFS.Layers}}", image]);
    count.ok().parse().expect("test data")
}

#[test]
fn images_go_into_files_and_come_back() {
    with_each_client(|s| {
        let dir = scratch();
        let path = |name: &str| dir.path().join(name);
        let file = path("busybox.tar");
        let _ = s.line("tag busybox busybox:two").ok();
        let id = id_of(s, "busybox");
        let _ = s
            .run(&["save", "-o", &text(&file), "busybox:latest", "busybox:two"])
            .ok();
        let names = names(&file);
        assert_eq!(&names[..2], ["blobs/", "blobs/sha256/"], "{names:?}");
        let end = &names[names.len() - 4..];
        assert_eq!(
            end,
            ["index.json", "manifest.json", "oci-layout", "repositories"]
        );
        let hex = id.strip_prefix("sha256:").unwrap();
        assert!(names.contains(&format!("blobs/sha256/{hex}")), "{names:?}");
        let read = |name: &str| {
            let all = entries(&file);
            let (_, data) = all.into_iter().find(|(path, _)| path == name).unwrap();
            serde_json::from_slice::<serde_json::Value>(&data).unwrap()
        };
        let item = &read("manifest.json")[0];
        assert_eq!(
            item["RepoTags"],
            serde_json::json!(["busybox:latest", "busybox:two"])
        );
        assert_eq!(item["Config"], format!("blobs/sha256/{hex}"));

        let _ = s.run(&["rmi", "-f", &id]).ok();
        let loaded = s.run(&["load", "-i", &text(&file)]);
        assert_eq!(
            loaded.ok(),
            "Loaded image: busybox:latest\nLoaded image: busybox:two"
        );
        assert_eq!(id_of(s, "busybox:two"), id);
        let ran = s.line("run --rm --network none busybox echo it runs");
        assert_eq!(ran.ok(), "it runs");
        // By id it has no name, and it may come compressed on standard input.
        let _ = s.run(&["save", "-o", &text(&file), &id]).ok();
        let compressed = path("busybox.tar.gz");
        let gzip = format!("gzip -c {} > {}", file.display(), compressed.display());
        assert!(
            std::process::Command::new("sh")
                .args(["-c", &gzip])
                .status()
                .unwrap()
                .success()
        );
        let _ = s.run(&["rmi", "-f", &id]).ok();
        let loaded = fed(s, &["load"], &compressed);
        assert_eq!(loaded.ok(), format!("Loaded image ID: {id}"));
        let _ = s.run(&["tag", &id, "busybox"]).ok();
    });
}

#[test]
fn archives_that_are_none_are_refused_and_change_nothing() {
    with_each_client(|s| {
        let dir = scratch();
        let file = dir.path().join("file");
        let before = s.line("images -aq --no-trunc").ok().to_owned();
        for content in [&b"garbage"[..], &[0; 1024], &[0x1f, 0x8b, 8, 0]] {
            fs_err::write(&file, content).unwrap();
            let refused = s.run(&["load", "-i", &text(&file)]);
            assert_eq!(refused.code, 1, "{refused:?}");
        }
        assert_eq!(s.line("images -aq --no-trunc").ok(), before);
        let none = s.run(&["save", "-o", &text(&file), "nosuch"]);
        assert!(none.fails(1).contains("No such image: nosuch"), "{none:?}");
        let output = s.run(&["save", "-o", &text(dir.path()), "busybox"]);
        assert!(output.fails(1).contains("directory"), "{output:?}");
        let missing = s.line("load -i /nosuch");
        assert!(
            missing
                .fails(1)
                .contains("open /nosuch: no such file or directory"),
            "{missing:?}"
        );
        let none = s.line("export nosuch");
        assert!(
            none.fails(1).contains("No such container: nosuch"),
            "{none:?}"
        );
        let other = s.run(&[
            "save",
            "--platform",
            "linux/s390x",
            "-o",
            &text(&file),
            "busybox",
        ]);
        let message = "no suitable export target found for platform linux/s390x";
        assert!(other.fails(1).contains(message), "{other:?}");
    });
}

/// A container that has done a bit of everything and ended.
fn changed(s: &Setup<'_>) {
    let script = "echo hi >/new; rm /bin/cat; mkdir -p /etc/d/e; echo >/etc/d/e/f; \
                  ln /new /hard; mv /bin/ls /bin/ls2; exit 3";
    let ran = s.script(
        "run --network none --name box -e A=B --label l=m busybox",
        script,
    );
    assert_eq!(ran.code, 3, "{ran:?}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story")]
fn changes_are_listed_exported_and_committed() {
    with_each_client(|s| {
        changed(s);
        let diff = s.line("diff box");
        let mut lines: Vec<&str> = diff.ok().lines().collect();
        lines.sort_unstable();
        let mut expected = [
            "C /bin",
            "A /bin/ls2",
            "D /bin/cat",
            "D /bin/ls",
            "C /etc",
            "A /etc/d",
            "A /etc/d/e",
            "A /etc/d/e/f",
            "A /hard",
            "A /new",
        ];
        expected.sort_unstable();
        assert_eq!(lines, expected);

        let dir = scratch();
        let file = dir.path().join("tree.tar");
        let _ = s.run(&["export", "-o", &text(&file), "box"]).ok();
        let names = names(&file);
        assert!(
            names.contains(&"bin/ls2".to_owned()) && !names.contains(&"bin/ls".to_owned()),
            "{names:?}"
        );

        let made = s.run(&[
            "commit",
            "-a",
            "me",
            "-m",
            "hello",
            "-c",
            "CMD cat /new",
            "-c",
            "ENV X=$A",
            "box",
            "made:1",
        ]);
        assert!(made.ok().starts_with("sha256:"), "{made:?}");
        let field = |format: &str| {
            s.run(&["image", "inspect", "-f", format, "made:1"])
                .ok()
                .to_owned()
        };
        assert_eq!(
            field("{{.Author}} {{.Comment}} {{json .Config.Cmd}}"),
            r#"me hello ["/bin/sh","-c","cat /new"]"#
        );
        assert!(field("{{json .Config.Env}}").contains(r#""X=B""#));
        assert_eq!(field("{{json .Config.Labels}}"), r#"{"l":"m"}"#);
        assert_eq!(
            field("{{len .RootFS.Layers}}"),
            (layers(s, "busybox") + 1).to_string()
        );
        let check = "[ ! -e /bin/ls ] && [ /new -ef /hard ] && busybox ls /etc/d/e";
        let ran = s.script("run --rm --network none made:1", check);
        assert_eq!(ran.ok(), "f");
        let bad = s.run(&["commit", "-c", "RUN x", "box"]);
        assert!(
            bad.fails(1).contains("RUN is not a valid change command"),
            "{bad:?}"
        );
        let bad = s.line("commit nosuch");
        assert!(
            bad.fails(1).contains("No such container: nosuch"),
            "{bad:?}"
        );
        // Without its image a container is not all that an image needs.
        let _ = s.line("create --name orphan made:1").ok();
        let _ = s.line("rmi -f made:1").ok();
        assert_eq!(s.line("commit orphan lost").code, 1);
        assert_eq!(s.line("images -q lost").ok(), "");
    });
}

#[test]
fn a_running_container_is_paused_for_its_commit() {
    with_each_client(|s| {
        let _ = s
            .line("run -d --network none --name runner busybox sleep 1000")
            .ok();
        assert_eq!(s.line("diff runner").ok(), "");
        let id = s.line("commit runner untouched").ok().to_owned();
        assert_eq!(
            layers(s, &id),
            layers(s, "busybox"),
            "an empty layer is none"
        );
        assert_eq!(s.inspect("runner", "/State/Status"), "running");
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let events = s.run(&[
            "events",
            "--since",
            "1",
            "--until",
            &until,
            "--filter",
            "container=runner",
            "--format",
            "{{.Action}}",
        ]);
        let actions: Vec<&str> = events.ok().lines().collect();
        assert!(
            actions.ends_with(&["pause", "unpause", "commit"])
                || actions.ends_with(&["pause", "commit", "unpause"]),
            "{actions:?}"
        );
    });
}

#[test]
fn file_systems_are_imported() {
    with_each_client(|s| {
        changed(s);
        let dir = scratch();
        let file = dir.path().join("tree.tar");
        let _ = s.run(&["export", "-o", &text(&file), "box"]).ok();
        let made = s.run(&[
            "import",
            "-c",
            "CMD [\"cat\", \"/new\"]",
            "-m",
            "from afar",
            &text(&file),
            "in:1",
        ]);
        let id = made.ok().to_owned();
        assert!(id.starts_with("sha256:"), "{made:?}");
        assert_eq!(id_of(s, "in:1"), id);
        let field = |format: &str| {
            s.run(&["image", "inspect", "-f", format, "in:1"])
                .ok()
                .to_owned()
        };
        assert_eq!(
            field("{{.Comment}} {{len .RootFS.Layers}} {{.Os}}"),
            "from afar 1 linux"
        );
        let check = "[ ! -e /bin/ls ] && busybox ls /etc/d/e";
        let ran = s.script("run --rm --network none in:1", check);
        assert_eq!(ran.ok(), "f");
        let piped = fed(s, &["import", "-", "in:2"], &file);
        assert!(piped.ok().starts_with("sha256:"), "{piped:?}");
        let platform = s.run(&["import", "--platform", "linux/arm64", &text(&file), "in:3"]);
        assert!(platform.ok().starts_with("sha256:"), "{platform:?}");
        let architecture = s.line("image inspect -f {{.Architecture}} in:3");
        assert_eq!(architecture.ok(), "arm64");
        for (arguments, message) in [
            (
                vec!["import", "/nosuch"],
                "open /nosuch: no such file or directory",
            ),
            (
                vec!["import", "-c", "RUN x", &text(&file)],
                "RUN is not a valid change command",
            ),
            (
                vec!["import", &text(&file), "BAD"],
                "repository name (library/BAD) must be lowercase",
            ),
            (vec!["import", "http://127.0.0.1:1/x"], "connection refused"),
        ] {
            let refused = s.run(&arguments);
            let said = refused.fails(1).to_lowercase();
            assert!(said.contains(&message.to_lowercase()), "{refused:?}");
        }
    });
}

/// Saved by one, loaded by another program, both ways, where there is one.
#[test]
fn other_programs_read_and_write_the_same() {
    with_each_client(|s| {
        if s.client != Client::Hull || !hull_tests::can_run("skopeo", command::exists("skopeo")) {
            return;
        }
        let dir = scratch();
        let path = |name: &str| dir.path().join(name);
        let file = path("ours.tar");
        let _ = s.run(&["save", "-o", &text(&file), "busybox"]).ok();
        let copy = |from: &str, to: &PathBuf, form: &str| {
            let to = format!("{form}:{}:other/{form}:1", to.display());
            let words = ["copy", "--insecure-policy", from, &to];
            command::run(std::process::Command::new("skopeo").args(words), &[])
                .ok()
                .to_owned()
        };
        let ours = format!("docker-archive:{}", file.display());
        for form in ["docker-archive", "oci-archive"] {
            let theirs = path(form);
            let _ = copy(&ours, &theirs, form);
            let loaded = s.run(&["load", "-i", &text(&theirs)]);
            assert_eq!(loaded.ok(), format!("Loaded image: other/{form}:1"));
            let ran = s.run(&[
                "run",
                "--rm",
                "--network",
                "none",
                &format!("other/{form}:1"),
                "echo",
                form,
            ]);
            assert_eq!(ran.ok(), form);
        }
    });
}
