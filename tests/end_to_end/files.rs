//! `cp` and `stats`.

use hull_tests::command;
use hull_tests::setup::{Setup, with_each_client};
use std::os::unix::fs::symlink;
use std::path::Path;

/// A directory for what is copied.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("hull-test-")
        .tempdir()
        .expect("test data")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn read(path: &Path) -> String {
    fs_err::read_to_string(path).expect("test data")
}

/// Runs a shell command in a container that is there for that.
fn inside(s: &Setup<'_>, container: &str, script: &str) -> String {
    let run = s.run(&["exec", container, "sh", "-c", script]);
    run.ok().to_owned()
}

#[test]
fn files_go_in_and_come_out() {
    with_each_client(|s| {
        let dir = scratch();
        let path = |name: &str| dir.path().join(name);
        fs_err::create_dir_all(path("tree/below")).unwrap();
        fs_err::write(path("tree/below/f"), "one").unwrap();
        fs_err::hard_link(path("tree/below/f"), path("tree/g")).unwrap();
        symlink("below/f", path("tree/link")).unwrap();
        let _ = s
            .line("run -d --network none --name cc busybox sleep 1000")
            .ok();
        let _ = inside(s, "cc", "mkdir -p /srv");
        let tree = text(&path("tree"));
        // To what is there, to what is not, and what is in it only.
        let _ = s.run(&["cp", &tree, "cc:/srv"]).ok();
        let _ = s.run(&["cp", &tree, "cc:/tmp/new"]).ok();
        let _ = s.run(&["cp", &format!("{tree}/."), "cc:/tmp"]).ok();
        let found = inside(s, "cc", "cat /srv/tree/g /tmp/new/below/f /tmp/link");
        assert_eq!(found, "oneoneone");
        let refused = s.run(&["cp", &tree, "cc:/tmp/g"]);
        assert!(
            refused.fails(1).contains("cannot copy directory"),
            "{refused:?}"
        );
        let file = text(&path("tree/g"));
        let refused = s.run(&["cp", &file, "cc:/none/"]);
        assert!(
            refused.fails(1).contains("no such directory"),
            "{refused:?}"
        );
        let refused = s.run(&["cp", &file, "cc:/none/x"]);
        assert!(
            refused
                .fails(1)
                .contains("Could not find the file /none in container cc"),
            "{refused:?}"
        );
        come_out(s, dir.path());
    });
}

/// What was put into the container `cc` comes out of it, as what depends on what is where.
fn come_out(s: &Setup<'_>, dir: &Path) {
    let path = |name: &str| dir.join(name);
    let _ = s.run(&["cp", "cc:/srv/tree", &text(&path("out"))]).ok();
    assert_eq!(read(&path("out/below/f")), "one");
    assert!(
        fs_err::symlink_metadata(path("out/link"))
            .expect("it came out")
            .is_symlink()
    );
    let _ = s.run(&["cp", "cc:/srv/tree", &text(&path("out"))]).ok();
    assert_eq!(read(&path("out/tree/below/f")), "one");
    let _ = s
        .run(&["cp", "-L", "cc:/srv/tree/link", &text(&path("file"))])
        .ok();
    assert!(
        fs_err::symlink_metadata(path("file"))
            .expect("it came out")
            .is_file()
    );
    let missing = s.run(&["cp", "cc:/nope", &text(&path("x"))]);
    assert!(
        missing
            .fails(1)
            .contains("Could not find the file /nope in container cc"),
        "{missing:?}"
    );
    let into_nothing = s.run(&["cp", "cc:/srv", &text(&path("none/x"))]);
    assert!(
        into_nothing.fails(1).contains("does not exist"),
        "{into_nothing:?}"
    );
    let both = s.line("cp cc:/a cc:/b");
    assert!(
        both.fails(1).contains("copying between containers"),
        "{both:?}"
    );
}

#[test]
fn archives_stream_through_standard_input_and_output() {
    with_each_client(|s| {
        let _ = s
            .line("run -d --network none -u 5:6 --name cc busybox sleep 1000")
            .ok();
        let run = s.line("cp cc:/etc/passwd -");
        let _ = run.ok();
        let mut archive = tar::Archive::new(run.stdout.as_bytes());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(&*entry.path_bytes(), b"passwd");
        let put = |arguments: &[&str]| {
            let mut cp = s.client.command(&s.daemon);
            command::run(cp.args(arguments), run.stdout.as_bytes())
        };
        let _ = put(&["cp", "-", "cc:/tmp"]).ok();
        let owner = |path: &str| inside(s, "cc", &format!("stat -c %u:%g {path}"));
        assert_eq!(owner("/tmp/passwd"), "0:0");
        // The container's user, where the archive's owner would be another.
        let _ = put(&["cp", "-a", "-", "cc:/tmp"]).ok();
        assert_eq!(owner("/tmp/passwd"), "5:6");
        let refused = put(&["cp", "-", "cc:/tmp/passwd"]);
        assert!(
            refused.fails(1).contains("must be a directory"),
            "{refused:?}"
        );
    });
}

#[test]
fn containers_that_do_not_run_have_files_too() {
    with_each_client(|s| {
        let dir = scratch();
        let path = |name: &str| dir.path().join(name);
        fs_err::create_dir(path("bound")).unwrap();
        fs_err::create_dir(path("fixed")).unwrap();
        fs_err::write(path("f"), "data").unwrap();
        let file = text(&path("f"));
        let bound = format!("{}:/deep/bound", text(&path("bound")));
        let fixed = format!("{}:/fixed:ro", text(&path("fixed")));
        let _ = s
            .run(&[
                "create",
                "--network",
                "none",
                "--name",
                "cc",
                "-v",
                &bound,
                "-v",
                &fixed,
                "busybox",
                "cat",
                "/tmp/f",
                "/deep/bound/f",
            ])
            .ok();
        let _ = s.run(&["cp", &file, "cc:/tmp/f"]).ok();
        let _ = s.run(&["cp", &file, "cc:/deep/bound/"]).ok();
        assert_eq!(read(&path("bound/f")), "data");
        let refused = s.run(&["cp", &file, "cc:/fixed/"]);
        assert!(
            refused
                .fails(1)
                .contains("mounted volume is marked read-only"),
            "{refused:?}"
        );
        assert_eq!(s.line("start -a cc").ok(), "datadata");
        fs_err::write(path("bound/f"), "changed").unwrap();
        let _ = s.run(&["cp", "cc:/deep", &text(&path("out"))]).ok();
        assert_eq!(read(&path("out/bound/f")), "changed");
        let _ = s
            .line("run -d --read-only --network none --name rr busybox sleep 1000")
            .ok();
        let refused = s.run(&["cp", &file, "rr:/tmp/"]);
        assert!(
            refused
                .fails(1)
                .contains("container rootfs is marked read-only"),
            "{refused:?}"
        );
    });
}

/// Whatever the container does to its own links meanwhile, the host's files stay as they are.
#[test]
fn links_that_change_lead_nowhere() {
    with_each_client(|s| {
        let dir = scratch();
        let path = |name: &str| dir.path().join(name);
        fs_err::create_dir(path("outside")).unwrap();
        fs_err::write(path("outside/f"), "host").unwrap();
        fs_err::write(path("f"), "guest").unwrap();
        let outside = text(&path("outside"));
        let script = format!(
            "mkdir -p /a /inside{outside}; echo inner > /inside{outside}/f; ready=1; echo ready > /ready; \
             while :; do rm -rf /a; ln -s {outside} /a; rm -f /a; ln -s ../../../../../../{outside} /a; rm -f /a; mkdir /a; done"
        );
        let _ = s
            .script("run -d --network none --name cc busybox", &script)
            .ok();
        let file = text(&path("f"));
        for _ in 0..20 {
            // Whether it works depends on what is there at that moment.
            let _ = s.run(&["cp", &file, "cc:/a/f"]);
            let _ = s.run(&["cp", "cc:/a/f", &text(&path("out"))]);
            assert_eq!(read(&path("outside/f")), "host");
            if path("out").is_file() {
                assert_ne!(read(&path("out")), "host");
                fs_err::remove_file(path("out")).unwrap();
            }
            assert_eq!(fs_err::read_dir(path("outside")).unwrap().count(), 1);
        }
    });
}

#[test]
fn uses_are_told_once_and_again() {
    with_each_client(|s| {
        let _ = s
            .line("run -d -m 32m --network none --name cc busybox sleep 1000")
            .ok();
        let _ = s.line("create --name idle busybox true").ok();
        let told = s.run(&[
            "stats",
            "--no-stream",
            "--format",
            "{{.Name}} {{.PIDs}} {{.MemUsage}}",
            "cc",
            "idle",
        ]);
        let mut lines: Vec<&str> = told.ok().lines().collect();
        lines.sort_unstable();
        assert!(
            lines[0].starts_with("cc 1 ") && lines[0].ends_with("/ 32MiB"),
            "{lines:?}"
        );
        assert_eq!(lines[1], "idle 0 0B / 0B");
        let table = s.line("stats --no-stream");
        let titles = table.ok().lines().next().unwrap().to_owned();
        assert!(titles.starts_with("CONTAINER ID   NAME"), "{titles}");
        assert_eq!(table.ok().lines().count(), 2, "{table:?}");
        let get = |query: &str| s.daemon.get(&format!("/containers/cc/stats?{query}"));
        let single = get("stream=0&one-shot=1").json();
        assert_eq!(single["preread"], "0001-01-01T00:00:00Z");
        assert!(
            single["memory_stats"]["usage"].as_u64().unwrap() > 0,
            "{single}"
        );
        assert_eq!(get("stream=1&one-shot=1").status, 400);
        let daemon = &s.daemon;
        std::thread::scope(|scope| {
            // It ends with the container.
            let stream = scope.spawn(move || daemon.get("/containers/idle/stats"));
            let _ = s.line("rm idle").ok();
            let reply = stream.join().unwrap();
            assert!(matches!(reply.status, 200 | 404), "{reply:?}");
        });
    });
}
