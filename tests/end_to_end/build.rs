//! `build`: Docker's client by the classic endpoint, Hull's by its own.

use hull_tests::command::{self, Finished};
use hull_tests::setup::{Setup, with_each_client};

/// Builds with a context of these files. Hull's client tells of its steps on standard error: that is taken for its
/// output.
fn build(s: &Setup<'_>, files: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let dir = tempfile::Builder::new()
        .prefix("hull-test-")
        .tempdir()
        .expect("test data");
    for (name, text) in files {
        let path = dir.path().join(name);
        fs_err::create_dir_all(path.parent().expect("test data")).expect("test data");
        fs_err::write(path, text).expect("test data");
    }
    let mut command = s.client.command(&s.daemon);
    command
        .env("DOCKER_BUILDKIT", "0")
        .arg("build")
        .args(arguments)
        .arg(dir.path());
    let mut finished = command::run(&mut command, &[]);
    if s.client.is_own() && !arguments.contains(&"-q") {
        finished.stdout.clone_from(&finished.stderr);
    }
    finished
}

/// Whether the step ran that says so.
fn said(out: &str) -> bool {
    // Of Hull's client: the step's number, seconds, the line.
    let of_own = |line: &str| line.starts_with('#') && line.split(' ').skip(2).eq(["said"]);
    out.lines().any(|line| line == "said" || of_own(line))
}

const STAGES: &str = "ARG BASE=busybox\nFROM $BASE AS made\nARG WHAT=nothing\nWORKDIR /work\n\
    RUN echo \"made of $WHAT\" > made && echo said\nFROM busybox\nENV GREETING=hello\nCOPY --from=made /work/made /made\n\
    COPY d /d\nRUN cat /made /d/file > /both\nCMD [\"sh\", \"-c\", \"echo $GREETING; cat /both\"]\n";

#[test]
fn a_dockerfile_becomes_an_image_and_what_is_known_is_not_done_again() {
    with_each_client(|s| {
        let files = |text: &'static str| [("Dockerfile", STAGES), ("d/file", text)];
        let arguments = ["-t", "built", "--build-arg", "WHAT=wood", "--label", "a=b"];
        let built = build(s, &files("from the context\n"), &arguments);
        let out = built.ok();
        let tagged = match s.client.is_own() {
            true => "naming to docker.io/library/built:latest done",
            false => "Successfully tagged built:latest",
        };
        assert!(said(out) && out.contains(tagged), "{out}");
        let run = s.line("run --rm built");
        assert_eq!(run.ok(), "hello\nmade of wood\nfrom the context");
        let label = s.run(&["image", "inspect", "-f", "{{.Config.Labels.a}}", "built"]);
        assert_eq!(label.ok(), "b");
        // Nothing has changed: the files' times do not count.
        let again = build(s, &files("from the context\n"), &arguments);
        let out = again.ok();
        let cached = match s.client.is_own() {
            true => "CACHED",
            false => "Using cache",
        };
        assert!(!said(out) && out.contains(cached), "{out}");
        // Another file: what is before it is known.
        let other = build(s, &files("other\n"), &arguments);
        assert!(!said(other.ok()));
        assert_eq!(s.line("run --rm built").ok(), "hello\nmade of wood\nother");
        let anew = build(s, &files("other\n"), &["-t", "built", "--no-cache"]);
        assert!(said(anew.ok()));
        assert_eq!(
            s.line("run --rm built").ok(),
            "hello\nmade of nothing\nother"
        );
        let quiet = build(s, &files("other\n"), &["-q"]);
        assert!(quiet.ok().starts_with("sha256:"), "{}", quiet.ok());
    });
}

#[test]
fn a_build_that_fails_says_why() {
    with_each_client(|s| {
        let failed = build(s, &[("Dockerfile", "FROM busybox\nRUN exit 3\n")], &[]);
        let (code, why, missing) = match s.client.is_own() {
            true => (
                1,
                "process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3",
                "\"/nope\": not found",
            ),
            false => (
                3,
                "The command '/bin/sh -c exit 3' returned a non-zero code: 3",
                "stat nope: file does not exist",
            ),
        };
        let said = failed.fails(code);
        assert!(said.contains(why), "{said}");
        let cases = [
            ("FROM busybox\nCOPY nope /\n", missing),
            ("FROM busybox\nRUNN true\n", "unknown instruction: RUNN"),
        ];
        for (text, why) in cases {
            let failed = build(s, &[("Dockerfile", text)], &[]);
            let said = failed.fails(1);
            assert!(said.contains(why), "{said}");
        }
        let missing = build(
            s,
            &[("other", "FROM busybox\n")],
            &["-f", "other", "--target", "x"],
        );
        assert!(missing.fails(1).contains('x'));
    });
}

/// Without further words: by buildx where the client has it, else by BuildKit's protocol of before Docker 23, or the classic
/// builder of after.
#[test]
fn the_clients_own_choice_of_builder_works() {
    with_each_client(|s| {
        if s.client.is_own() {
            return;
        }
        let dir = tempfile::tempdir().expect("test data");
        let write =
            |name: &str, text: &str| fs_err::write(dir.path().join(name), text).expect("test data");
        write(
            "Dockerfile",
            "FROM busybox\nARG A\nCOPY file /\nRUN echo \"$A\" >>/file\nCMD [\"cat\", \"/file\"]\n",
        );
        write("file", "sent\n");
        let build = |arguments: &[&str]| {
            let mut command = s.client.command(&s.daemon);
            command.env_remove("DOCKER_BUILDKIT").arg("build");
            command.args(arguments).arg(dir.path());
            command::run(&mut command, &[])
        };
        let _ = build(&["-t", "chosen", "--build-arg", "A=argument"]).ok();
        assert_eq!(s.line("run --rm chosen").ok(), "sent\nargument");
        let id = s.run(&["image", "inspect", "-f", "{{.Id}}", "chosen"]);
        let quiet = build(&["-q", "-t", "chosen", "--build-arg", "A=argument"]);
        assert_eq!(quiet.ok(), id.ok());
        write("Dockerfile", "FROM busybox\nRUN exit 7\n");
        let failed = build(&[]);
        assert_ne!(failed.code, 0);
        let said = format!("{}{}", failed.stdout, failed.stderr);
        assert!(said.contains("exit 7"), "{said}");
    });
}
