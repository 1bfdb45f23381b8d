//! `hull build`: what is its own, beside what `build.rs` has for all clients.

use hull_tests::client::Client;
use hull_tests::command::{self, Finished};
use hull_tests::setup::{Setup, with};
use std::path::Path;
use tempfile::TempDir;

fn own(test: impl Fn(&mut Setup<'_>)) {
    if Client::available().contains(&Client::Hull) {
        with(Client::Hull, test);
    }
}

fn context(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("hull-test-")
        .tempdir()
        .expect("test data");
    for (name, text) in files {
        put(dir.path(), name, text);
    }
    dir
}

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs_err::create_dir_all(path.parent().expect("test data")).expect("test data");
    fs_err::write(path, text).expect("test data");
}

fn build(s: &Setup<'_>, dir: &Path, arguments: &[&str]) -> Finished {
    feed(s, dir, arguments, &[])
}

/// In the directory.
fn feed(s: &Setup<'_>, dir: &Path, arguments: &[&str], input: &[u8]) -> Finished {
    let mut command = s.client.command(&s.daemon);
    command.current_dir(dir).arg("build").args(arguments);
    command.env("FROM_HERE", "of the environment");
    command::run(&mut command, input)
}

/// Ends in success; what it told of its steps.
fn steps(finished: &Finished) -> &str {
    let _ = finished.ok();
    &finished.stderr
}

#[test]
fn files_secrets_and_arguments_come_from_the_client_and_only_changes_are_sent() {
    own(|s| {
        let dockerfile = "FROM busybox\nARG FROM_HERE\nCOPY --from=other /more /more\nCOPY . /all\n\
            RUN --mount=type=secret,id=one --mount=type=secret,id=two,env=TWO \
            cd /all && find . | sort && cat /run/secrets/one && echo \"$TWO $FROM_HERE\" && cat /more\n";
        let dir = context(&[
            ("Dockerfile", dockerfile),
            (".dockerignore", "ignored\nd/*\n!d/kept\n"),
            ("ignored/file", "x"),
            ("d/left-out", "x"),
            ("d/kept", "x"),
            ("secret", "a secret"),
            ("elsewhere/more", "more text\n"),
        ]);
        fs_err::os::unix::fs::symlink("d/kept", dir.path().join("link")).expect("test data");
        let arguments = [
            "-t",
            "own",
            "--build-arg",
            "FROM_HERE",
            "--secret",
            "id=one,src=secret",
            "--secret",
            "id=two,env=FROM_HERE",
            "--build-context",
            "other=elsewhere",
            "--iidfile",
            "id",
            "--metadata-file",
            "metadata",
            ".",
        ];
        let built = build(s, dir.path(), &arguments);
        let told = steps(&built);
        for part in [
            " ./d/kept\n",
            " ./link\n",
            "a secret",
            "of the environment of the environment",
            "more text",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(
            !told.contains("left-out") && !told.contains("./ignored"),
            "{told}"
        );
        assert!(built.stdout.is_empty(), "{built:?}");
        let id = fs_err::read_to_string(dir.path().join("id")).expect("an id");
        let named = s.run(&["image", "inspect", "-f", "{{.Id}}", "own"]);
        assert_eq!(named.ok(), id);
        let metadata = fs_err::read(dir.path().join("metadata")).expect("metadata");
        let metadata: serde_json::Value = serde_json::from_slice(&metadata).expect("JSON");
        assert_eq!(metadata["image.name"], "docker.io/library/own:latest");
        let secret = s.run(&["history", "--no-trunc", "own"]);
        assert!(!secret.ok().contains("a secret"));
        // The files that were written are part of the context too; not so with these written elsewhere.
        let _ = build(s, dir.path(), &arguments).ok();
        fs_err::remove_file(dir.path().join("id")).expect("an id");
        let arguments = [&arguments[..10], &["."]].concat();
        let again = build(s, dir.path(), &arguments);
        assert!(steps(&again).contains("a secret"), "{again:?}");
        let cached = build(s, dir.path(), &arguments);
        assert!(steps(&cached).contains("CACHED"), "{cached:?}");
        assert!(!steps(&cached).contains("a secret"), "{cached:?}");
    });
}

#[test]
fn results_go_to_directories_and_archives() {
    own(|s| {
        let dockerfile = "FROM busybox AS made\nRUN mkdir -p /d/e && echo text > /d/e/file && ln -s e/file /d/link\n\
            FROM scratch\nCOPY --from=made /d /\n";
        let dir = context(&[("Dockerfile", dockerfile)]);
        let _ = build(s, dir.path(), &["-o", "out", "."]).ok();
        let file = fs_err::read_to_string(dir.path().join("out/e/file")).expect("a file");
        assert_eq!(file, "text\n");
        let link = fs_err::read_link(dir.path().join("out/link")).expect("a link");
        assert_eq!(link, Path::new("e/file"));
        let _ = build(s, dir.path(), &["-o", "type=tar,dest=out.tar", "."]).ok();
        let archive = build(s, dir.path(), &["-q", "-o", "-", "."]);
        let mut listed = std::process::Command::new("tar");
        let listed = command::run(listed.arg("tf").arg(dir.path().join("out.tar")), &[]);
        assert!(listed.ok().contains("e/file"), "{listed:?}");
        assert!(archive.ok().contains("text\n"), "{archive:?}");
        // Nowhere to write it.
        fs_err::write(dir.path().join("plain"), "").expect("test data");
        let failed = build(s, dir.path(), &["-o", "plain/below", "."]);
        assert!(!failed.fails(1).is_empty());
    });
}

#[test]
fn dockerfiles_and_contexts_come_from_standard_input() {
    own(|s| {
        let dir = context(&[("file", "of the context\n")]);
        let text = b"FROM busybox\nCOPY file /\nRUN cat /file\n";
        let built = feed(s, dir.path(), &["-f", "-", "."], text);
        assert!(steps(&built).contains("of the context"), "{built:?}");
        let alone = feed(s, dir.path(), &["-"], b"FROM busybox\nRUN echo al''one\n");
        assert!(steps(&alone).contains(" alone\n"), "{alone:?}");
        put(
            dir.path(),
            "Dockerfile",
            "FROM busybox\nCOPY . /x\nRUN cat /x/file\n",
        );
        let mut archive = std::process::Command::new("tar");
        archive.args(["cf", "context.tar", "file", "Dockerfile"]);
        let _ = command::run(archive.current_dir(dir.path()), &[]).ok();
        let bytes = fs_err::read(dir.path().join("context.tar")).expect("an archive");
        let built = feed(s, Path::new("/"), &["-"], &bytes);
        assert!(steps(&built).contains("of the context"), "{built:?}");
    });
}

#[test]
fn what_fails_shows_its_lines_and_opens_a_shell_in_what_it_has_left() {
    own(|s| {
        let dockerfile = "FROM busybox\nENV NAME=value\nWORKDIR /work\nRUN echo left > file; echo said; exit 3\n";
        let dir = context(&[("Dockerfile", dockerfile)]);
        let failed = build(s, dir.path(), &["."]);
        let told = failed.fails(1);
        for part in [
            "Dockerfile:4\n",
            "   4 | >>> RUN echo left",
            "did not complete successfully: exit code: 3",
            " > [3/3] RUN echo left",
            " said\n",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let script = b"cat file; echo $NAME; pwd; exit 7\n";
        let shell = feed(s, dir.path(), &["--on-fail", "shell", "."], script);
        assert_eq!(shell.code, 1, "{shell:?}");
        assert_eq!(shell.stdout, "left\nvalue\n/work\n", "{shell:?}");
        let left = s.run(&["image", "ls", "-q", "--filter", "dangling=true"]);
        assert_eq!(left.ok(), "");
        assert_eq!(s.line("ps -aq").ok(), "");
        put(dir.path(), "Dockerfile", "FROM busybox\nRUNN true\n");
        let wrong = build(s, dir.path(), &["."]);
        assert!(wrong.fails(1).contains("   2 | >>> RUNN true"), "{wrong:?}");
    });
}

#[test]
fn checks_and_lists_are_no_builds() {
    own(|s| {
        let dir = context(&[(
            "Dockerfile",
            "# the first\nFROM busybox AS one\nCMD echo x\n",
        )]);
        let checked = build(s, dir.path(), &["--check", "."]);
        assert_eq!(checked.code, 1, "{checked:?}");
        assert!(
            checked.stdout.contains("1 warning has been found"),
            "{checked:?}"
        );
        assert!(
            checked.stdout.contains("JSONArgsRecommended"),
            "{checked:?}"
        );
        let targets = build(s, dir.path(), &["--call", "targets", "."]);
        assert!(targets.ok().contains("one"), "{targets:?}");
        let json = build(s, dir.path(), &["--call=outline,format=json", "."]);
        let json: serde_json::Value = serde_json::from_str(json.ok()).expect("JSON");
        assert_eq!(json["name"], "one");
        let warned = build(s, dir.path(), &["."]);
        assert!(steps(&warned).contains("1 warning found"), "{warned:?}");
        let raw = build(s, dir.path(), &["--progress", "rawjson", "."]);
        let documents: Vec<serde_json::Value> = steps(&raw)
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert!(
            documents
                .iter()
                .any(|document| document["vertexes"].is_array())
        );
        for wrong in [
            &["--progress", "x", "."][..],
            &["-o", "type=x", "."],
            &["nowhere"],
        ] {
            assert!(!build(s, dir.path(), wrong).fails(1).is_empty());
        }
    });
}

#[test]
fn a_build_is_drawn_on_a_terminal_and_ends_with_its_client() {
    own(|s| {
        let dir = context(&[("Dockerfile", "FROM busybox\nRUN echo be''gun; sleep 1000\n")]);
        let path = dir.path().to_str().expect("a path");
        let words = ["build", "--progress", "tty", path];
        // The process is gone with the step's container: nothing can be waited for but that.
        let seen = s.client.converse(&s.daemon, &words, &[("# begun", "\x03")]);
        assert_ne!(seen.code, 0, "{seen:?}");
        assert!(seen.stdout.contains("[+] Building"), "{seen:?}");
        put(dir.path(), "Dockerfile", "FROM busybox\nRUN echo quick\n");
        let words = ["build", "-t", "drawn", path];
        let seen = s.client.converse(&s.daemon, &words, &[]);
        assert_eq!(seen.code, 0, "{seen:?}");
        assert!(seen.stdout.contains("FINISHED"), "{seen:?}");
        let _ = s.line("run --rm drawn true").ok();
    });
}

#[test]
fn what_builds_keep_is_shown_and_removed() {
    own(|s| {
        let dir = context(&[("Dockerfile", "FROM busybox\nRUN echo x > /x\n")]);
        let mut command = s.client.command(&s.daemon);
        command.args(["buildx", "build", "-q"]).arg(dir.path());
        let id = command::run(&mut command, &[]);
        assert!(id.ok().starts_with("sha256:"), "{id:?}");
        let shown = s.line("builder du");
        assert!(shown.ok().contains("Total:"), "{shown:?}");
        let none = s.line("builder du --filter type=exec.cachemount");
        assert!(none.ok().contains("Total:\t\t0B"), "{none:?}");
        let _ = s.run(&["rmi", id.ok()]).ok();
        let gone = s.line("builder prune -af");
        assert!(gone.ok().contains("Total reclaimed space:"), "{gone:?}");
        let again = build(s, dir.path(), &["."]);
        assert!(!steps(&again).contains("CACHED"), "{again:?}");
    });
}
