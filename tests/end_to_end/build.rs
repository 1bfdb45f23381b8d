//! `build`, by the classic endpoint.

use hull_tests::command::{self, Finished};
use hull_tests::setup::{Setup, with_each_client};

/// Builds with a context of these files; `None` where the client cannot build.
fn build(s: &Setup<'_>, files: &[(&str, &str)], arguments: &[&str]) -> Option<Finished> {
    if s.client.is_own() {
        return None;
    }
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
    Some(command::run(&mut command, &[]))
}

/// Whether the step ran that says so.
fn said(out: &str) -> bool {
    out.lines().any(|line| line == "said")
}

const STAGES: &str = "ARG BASE=busybox\nFROM $BASE AS made\nARG WHAT=nothing\nWORKDIR /work\n\
    RUN echo \"made of $WHAT\" > made && echo said\nFROM busybox\nENV GREETING=hello\nCOPY --from=made /work/made /made\n\
    COPY d /d\nRUN cat /made /d/file > /both\nCMD [\"sh\", \"-c\", \"echo $GREETING; cat /both\"]\n";

#[test]
fn a_dockerfile_becomes_an_image_and_what_is_known_is_not_done_again() {
    with_each_client(|s| {
        let files = |text: &'static str| [("Dockerfile", STAGES), ("d/file", text)];
        let arguments = ["-t", "built", "--build-arg", "WHAT=wood", "--label", "a=b"];
        let Some(built) = build(s, &files("from the context\n"), &arguments) else {
            return;
        };
        let out = built.ok();
        assert!(
            said(out) && out.contains("Successfully tagged built:latest"),
            "{out}"
        );
        let run = s.line("run --rm built");
        assert_eq!(run.ok(), "hello\nmade of wood\nfrom the context");
        let label = s.run(&["image", "inspect", "-f", "{{.Config.Labels.a}}", "built"]);
        assert_eq!(label.ok(), "b");
        // Nothing has changed: the files' times do not count.
        let again = build(s, &files("from the context\n"), &arguments).expect("as before");
        let out = again.ok();
        assert!(!said(out) && out.contains("Using cache"), "{out}");
        // Another file: what is before it is known.
        let other = build(s, &files("other\n"), &arguments).expect("as before");
        assert!(!said(other.ok()));
        assert_eq!(s.line("run --rm built").ok(), "hello\nmade of wood\nother");
        let anew = build(s, &files("other\n"), &["-t", "built", "--no-cache"]).expect("as before");
        assert!(said(anew.ok()));
        assert_eq!(
            s.line("run --rm built").ok(),
            "hello\nmade of nothing\nother"
        );
        let quiet = build(s, &files("other\n"), &["-q"]).expect("as before");
        assert!(quiet.ok().starts_with("sha256:"), "{}", quiet.ok());
    });
}

#[test]
fn a_build_that_fails_says_why() {
    with_each_client(|s| {
        let Some(failed) = build(s, &[("Dockerfile", "FROM busybox\nRUN exit 3\n")], &[]) else {
            return;
        };
        let said = failed.fails(3);
        assert!(
            said.contains("The command '/bin/sh -c exit 3' returned a non-zero code: 3"),
            "{said}"
        );
        let cases = [
            (
                "FROM busybox\nCOPY nope /\n",
                "stat nope: file does not exist",
            ),
            ("FROM busybox\nRUNN true\n", "unknown instruction: RUNN"),
        ];
        for (text, why) in cases {
            let failed = build(s, &[("Dockerfile", text)], &[]).expect("as before");
            let said = failed.fails(1);
            assert!(said.contains(why), "{said}");
        }
        let missing = build(
            s,
            &[("other", "FROM busybox\n")],
            &["-f", "other", "--target", "x"],
        );
        let said = missing.expect("as before");
        assert!(said.fails(1).contains('x'));
    });
}
